# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # When the outgoing queue overflows
#
# **Question.** A client without a connection keeps what its user writes in a bounded queue and rejects what comes when
# the queue is full. How long an outage does a queue bear, and how many messages are lost beyond it?
#
# **Method.** Every device writes at a steady mean rate, *r* = 0.5 messages a second; the only relay node stops for
# *D*. The client knows at once (close code 1001), so that while it is away, for *D* and the wait until its next
# attempt, about *r·D* messages come into a queue of *Q* = 50. Where that is more than *Q*, the rest should be
# rejected: about *r·D′ − Q* per device, *D′* being the time the device was really away. The send limit is off: it
# would slow the draining of the queue afterwards, which is another question.

# %%
# ruff: noqa: B018 (the last line of a cell is what it shows)
import os

import matplotlib.pyplot as plt
import numpy as np

from zentalk_sim.experiment import run, sweep
from zentalk_sim.report.style import BLUE, VERMILLION
from zentalk_sim.report.sweep_statistics import interval_words

SMALL = os.environ.get("NOTEBOOK_SIZE") == "small"
SEEDS = "1-3" if SMALL else "1-10"
WORKERS = 0 if SMALL else None
DEVICES = 10 if SMALL else 60

QUEUE, RATE_PER_S = 50, 0.5
OUTAGES_S = [60, 140] if SMALL else [30, 60, 90, 100, 110, 120, 140]

# %%
outage = {
    "name": "queue_overflow",
    "duration": "4m",
    "relay": {"limits": {"send_message": "off"}, "ingress": {"enabled": False}},
    "population": {"devices": DEVICES, "contacts": 5, "networks": {"lan": 1}},
    "client": {"queue": {"max_messages": QUEUE}},
    "workload": {"start": {"ramp": "5s"}, "messages": {"rate_per_device": f"{60 * RATE_PER_S:g}/min"}},
    "faults": [{"at": "20s", "do": "stop_node", "node": 0, "for": "30s"}],
}
study = sweep.run(outage, seeds=SEEDS, vary={"faults.0.for": [f"{s}s" for s in OUTAGES_S]}, workers=WORKERS)
study

# %% [markdown]
# ## Rejected messages per device, measured and expected
#
# The expectation takes the measured mean time away, since backoff adds to the outage: the longer it lasted, the longer
# the wait for the next attempt (up to 30 s).

# %%
rejected = study.intervals.query("metric == 'messages.rejected'").set_index("faults.0.for")
away_s = study.intervals.query("metric == 'reconnect_time_s' and statistic == 'mean'").set_index("faults.0.for")
table = rejected[["median", "low", "high"]] / DEVICES
table.insert(0, "outage_s", OUTAGES_S)
table.insert(1, "away_s", away_s["median"])


# %%
def expected_rejections(away: float) -> float:
    """Mean of max(0, N − Q) for N Poisson with mean r · away."""
    mean = RATE_PER_S * away
    number = np.arange(0, int(mean + 12 * np.sqrt(mean) + 20))
    log_p = number * np.log(mean) - mean - np.concatenate([[0.0], np.cumsum(np.log(number[1:]))])
    return float((np.exp(log_p) * np.clip(number - QUEUE, 0, None)).sum())


table["expected"] = [expected_rejections(away) for away in table["away_s"]]
table.round(2)

# %%
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
spread = [table["median"] - table["low"], table["high"] - table["median"]]
axes.errorbar(table["away_s"], table["median"], yerr=spread, fmt="o", capsize=4, color=BLUE, label="simulated")
grid = np.linspace(table["away_s"].min(), table["away_s"].max(), 100)
axes.plot(grid, [expected_rejections(away) for away in grid], color=VERMILLION, ls="--", label="E max(0, N − Q)")
axes.set_xlabel("mean time a device was away (s)")
axes.set_ylabel("messages rejected per device")
axes.legend()
plt.close(figure)  # so that Jupyter shows it once, as the cell's value
figure

# %% [markdown]
# ## What happened to the messages of one run

# %%
one = run({**outage, "faults": [{**outage["faults"][0], "for": f"{OUTAGES_S[-1]}s"}]}, seed=1)
one.messages["outcome"].value_counts().to_frame("messages")

# %% [markdown]
# ## Conclusion
#
# The queue bears an outage of *Q / r*; the backoff's last wait counts as outage. Beyond it one message is rejected for
# each that is written, visibly to the application, and none is lost without a word: what was queued is sent and shown.

# %%
last = table.iloc[-1]
print(
    f"Conclusion: a queue of {QUEUE} at {RATE_PER_S}/s bears {QUEUE / RATE_PER_S:.0f} s; an outage of "
    f"{last['outage_s']:.0f} s keeps devices away for {last['away_s']:.0f} s and costs {last['median']:.1f} "
    f"[{last['low']:.1f}, {last['high']:.1f}; {interval_words(study.seeds)}] messages each, where "
    f"{last['expected']:.1f} were expected."
)
assert table.iloc[0]["median"] < 1
assert abs(last["median"] - last["expected"]) < 0.15 * last["expected"] + 2
assert (study.cells["messages.failed"] == 0).all()
