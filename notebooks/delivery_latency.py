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
# # How long does a message take?
#
# **Question.** How does the network a device is on decide what its user sees as delivery latency, from the
# application's `send()` to the first showing on the recipient's device? How much of it is the path, and how much is
# time the recipient was away?
#
# **Method.** The same chat on five networks, every network with the same seeds; about once a minute all connections are
# reset. Medians across seeds with 95 % intervals; no interval is taken within a run, since the latencies of
# one run are not independent.

# %%
# ruff: noqa: B018 (the last line of a cell is what it shows)
import os

import matplotlib.pyplot as plt
import numpy as np

from zentalk_sim.experiment import run, sweep
from zentalk_sim.report.style import BLUE, LINES, VERMILLION

SMALL = os.environ.get("NOTEBOOK_SIZE") == "small"
SEEDS = "1-3" if SMALL else "1-10"
WORKERS = 0 if SMALL else None

# %%
NETWORKS = ["fibre", "wifi", "lte", "3g", "satellite"]
chat = {
    "name": "delivery_latency",
    "duration": "60s" if SMALL else "4m",
    "warm_up": "10s",
    "population": {"devices": 10 if SMALL else 200, "contacts": 5},
    "workload": {"start": {"ramp": "5s"}, "messages": {"rate_per_device": "10/min"}},
    # A reset of all connections about once a minute, so that some messages meet a device that is away.
    "faults": [{"at": f"{at}s", "do": "reset_connections"} for at in ([30] if SMALL else [40, 90, 140, 190])],
}
study = sweep.run(
    chat, seeds=SEEDS, vary={"population.networks": [f"{{{name}: 1}}" for name in NETWORKS]}, workers=WORKERS
)
study

# %% [markdown]
# ## Medians and intervals
#
# A tidy table: a row per network and statistic.

# %%
table = study.intervals.query("metric == 'delivery_latency_ms' and statistic in ('p50', 'p99')").copy()
table["network"] = table["population.networks"].str.strip("{}").str.partition(":")[0]
table[["network", "statistic", "n", "median", "low", "high"]].round(1)

# %%
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for statistic, colour, shift in (("p50", BLUE, -0.08), ("p99", VERMILLION, 0.08)):
    rows = table[table["statistic"] == statistic].set_index("network").loc[NETWORKS]
    spread = [rows["median"] - rows["low"], rows["high"] - rows["median"]]
    places = np.arange(len(rows)) + shift
    axes.errorbar(places, rows["median"], yerr=spread, fmt="o", capsize=4, color=colour, label=statistic)
axes.set_xticks(range(len(NETWORKS)), NETWORKS)
axes.set_yscale("log")
axes.set_ylabel("delivery latency (ms)")
axes.legend()
plt.close(figure)  # so that Jupyter shows it once, as the cell's value
figure

# %% [markdown]
# ## One run in full
#
# The copies of one run, by how they came: a push while the recipient was connected, or a fetch after it was away.

# %%
one = run({**chat, "population": {**chat["population"], "networks": {"lte": 1}}}, seed=1)
copies = one.messages
copies["latency_ms"] = (copies["shown_us"] - copies["sent_us"]) / 1000
copies.groupby("via")["latency_ms"].describe().round(1)

# %%
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for (via, group), (colour, dash) in zip(copies.dropna(subset=["latency_ms"]).groupby("via"), LINES, strict=False):
    values = np.sort(group["latency_ms"].to_numpy(dtype=float))
    axes.step(values, np.arange(1, len(values) + 1) / len(values) * 100, color=colour, ls=dash, label=via)
axes.set_xscale("log")
axes.set_xlabel("delivery latency (ms)")
axes.set_ylabel("share of copies shown (%)")
axes.legend()
plt.close(figure)  # so that Jupyter shows it once, as the cell's value
figure

# %% [markdown]
# ## Conclusion
#
# The median is the path: twice the one-way latency of the network, once up and once down, and little else. The 99th
# percentile is another matter: where connections are lost about once a minute, it is set on a fast network by the
# devices that were away when the message was sent (backoff, handshakes and a fetch), so that it grows far less than the
# path does.

# %%
p50 = table[table["statistic"] == "p50"].set_index("network")["median"]
p99 = table[table["statistic"] == "p99"].set_index("network")["median"]
print(
    f"Conclusion: the median goes from {p50['fibre']:.0f} ms on fibre to {p50['satellite']:.0f} ms by satellite "
    f"(×{p50['satellite'] / p50['fibre']:.0f}), the 99th percentile from {p99['fibre']:.0f} ms to "
    f"{p99['satellite']:.0f} ms (×{p99['satellite'] / p99['fibre']:.1f})."
)
assert p50["fibre"] < p50["lte"] < p50["satellite"]
assert p99["satellite"] / p99["fibre"] < p50["satellite"] / p50["fibre"]
