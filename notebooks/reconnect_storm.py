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
# # A reconnect storm, and what jitter does for it
#
# **Question.** A relay restarts and all its devices come back at once. How soon are they back under each backoff
# policy, how many attempts does it take, and how much jitter is enough?
#
# **Method.** One node whose TLS handshakes cost so much CPU that the return of all devices takes seconds at best, and
# whose accept backlog is short, so that attempts are lost and repeated. The node stops in good order (every connection
# is closed with 1001) and is back after ten seconds. Each policy meets the same seeds.

# %%
# ruff: noqa: B018 (the last line of a cell is what it shows)
import os

import matplotlib.pyplot as plt
import pandas as pd

from zentalk_sim.experiment import run, sweep
from zentalk_sim.report.style import BLUE, LINES, VERMILLION

SMALL = os.environ.get("NOTEBOOK_SIZE") == "small"
SEEDS = "1-3" if SMALL else "1-10"
WORKERS = 0 if SMALL else None
DEVICES = 20 if SMALL else 500

# %%
storm = {
    "name": "storm",
    "duration": "100s" if SMALL else "150s",
    "relay": {
        "ingress": {
            "accept_backlog": max(4, DEVICES // 8),
            "workers": 1,
            # All handshakes together take about ten seconds of the only worker, whatever the size.
            "costs": {"tls": f"{10_000 // DEVICES}ms", "auth": "2ms"},
        },
    },
    "population": {"devices": DEVICES, "contacts": 5, "networks": {"wifi": 1}},
    "workload": {"start": {"ramp": "25s"}, "messages": {"rate_per_device": "0.5/min"}},
    "faults": [{"at": "40s", "do": "stop_node", "node": 0, "for": "10s"}],
}
POLICIES = ["spec", "none", "equal", "full", "decorrelated"]
study = sweep.run(storm, seeds=SEEDS, vary={"client.backoff.policy": POLICIES}, workers=WORKERS)
study

# %% [markdown]
# ## Time back, and attempts per device

# %%
wanted = ["reconnect_time_s", "connections.attempted"]
table = study.intervals.query("metric in @wanted and statistic in ('p50', 'p99', 'value')")
table = table.rename(columns={"client.backoff.policy": "policy"})
table[["policy", "metric", "statistic", "median", "low", "high"]].round(2)

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")


def bars(axes, rows, colour, label, scale=1.0):
    """Medians with intervals, a place for every policy."""
    rows = rows.set_index("policy").loc[POLICIES]
    spread = [(rows["median"] - rows["low"]) / scale, (rows["high"] - rows["median"]) / scale]
    axes.errorbar(POLICIES, rows["median"] / scale, yerr=spread, fmt="o", capsize=4, color=colour, label=label)


for statistic, colour in (("p50", BLUE), ("p99", VERMILLION)):
    bars(left, table[table["statistic"] == statistic], colour, statistic)
left.set_ylabel("reconnect time (s)")
left.set_ylim(bottom=0)
left.legend()
bars(right, table[table["metric"] == "connections.attempted"], BLUE, "attempts", DEVICES)
right.set_ylabel("attempts per device, whole run")
right.set_ylim(bottom=0)
plt.close(figure)  # so that Jupyter shows it once, as the cell's value
figure

# %% [markdown]
# ## Attempts per second, in one run of each

# %%
figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
for policy, (colour, dash) in zip(POLICIES, LINES, strict=True):
    one = run({**storm, "client": {"backoff": {"policy": policy}}}, seed=1)
    start_s = (one.connections["start_us"] - one.start_us) / 1e6
    per_second = pd.Series(1, index=start_s.astype(float).astype(int)).groupby(level=0).sum()
    per_second = per_second.reindex(range(35, 90), fill_value=0)
    axes.step(per_second.index, per_second, where="post", color=colour, ls=dash, label=policy)
axes.axvspan(40, 50, color="#d9d9d9", zorder=0)
axes.set_xlabel("simulated time (s); the node is down in the shaded stretch")
axes.set_ylabel("attempts per second")
axes.legend()
plt.close(figure)  # so that Jupyter shows it once, as the cell's value
figure

# %% [markdown]
# ## How much jitter
#
# The specification's policy waits `d = min(30 s, 1 s · 2ᵏ)` and up to 10 % more. What if that share were another?

# %%
JITTER = [0.0, 0.1, 0.5, 1.0]
jitter = sweep.run(storm, seeds=SEEDS, vary={"client.backoff.jitter": JITTER}, workers=WORKERS)
by_jitter = jitter.intervals.query("metric == 'reconnect_time_s' and statistic in ('p50', 'p99')")
by_jitter.pivot(index="client.backoff.jitter", columns="statistic", values=["median", "low", "high"]).round(2)

# %% [markdown]
# ## Conclusion
#
# Trying again without waiting (`none`) spends its ten attempts before the node is back, and gives up: with an outage
# of any length it is no policy at all. The specification's doubling with 10 % jitter keeps the devices in step: they
# knock in waves, those who find no place wait twice as long, and between the waves the worker has nothing to do.
# Policies that spread the whole wait (`full`, `decorrelated`) use that time.

# %%
attempts = table[table["metric"] == "connections.attempted"].set_index("policy")["median"] / DEVICES
p99 = table[table["statistic"] == "p99"].set_index("policy")["median"]
gave_up = study.intervals.query("metric == 'clients.gave_up'").set_index("client.backoff.policy")["median"]
print(
    f"Conclusion: 99 % of the devices are back after {p99['spec']:.1f} s with the specification's policy, "
    f"{p99['full']:.1f} s with full and {p99['decorrelated']:.1f} s with decorrelated jitter; attempts per device: "
    + ", ".join(f"{policy} {attempts[policy]:.1f}" for policy in POLICIES)
    + f"; devices that gave up without any wait: {gave_up['none']:.0f} of {DEVICES}."
)
assert (attempts >= 2).all()
assert attempts["none"] > attempts["spec"]
