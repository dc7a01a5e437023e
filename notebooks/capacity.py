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
# # How many devices does a node carry?
#
# **Question.** At how many devices does the 99th percentile of delivery latency break one second, and can that be
# foretold from the cost of a frame?
#
# **Method.** One node with one worker; every frame costs *c* = 20 ms of its CPU (a slow worker makes a small
# simulation: what counts is the load, the product of devices, rate and cost). Each device sends six messages a minute,
# and a message makes two frames for the relay to read, MESSAGE_SEND and the recipient's MESSAGE_RECEIVED; a PONG comes
# every 30 s. That is *f* = 2 · 0.1 + 1/30 = 0.233 frames a second and device, and the node is full at
# *N* = 1 / (*f·c*). Below, it is a queue with one server and constant service (M/D/1), whose waiting grows as
# *ρ* / (1 − *ρ*).

# %%
# ruff: noqa: B018 (the last line of a cell is what it shows)
import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from zentalk_sim.experiment import run, sweep
from zentalk_sim.report.style import BLUE, VERMILLION

SMALL = os.environ.get("NOTEBOOK_SIZE") == "small"
SEEDS = "1-3" if SMALL else "1-8"
WORKERS = 0 if SMALL else None
COST_S = 0.1 if SMALL else 0.02
SIZES = [20, 60] if SMALL else [60, 100, 140, 170, 190, 210, 230, 260]
LIMIT_MS = 1000.0
DERIVED = 1 / ((2 * 6 / 60 + 1 / 30) * COST_S)

# %%
node = {
    "name": "capacity",
    "duration": "90s" if SMALL else "6m",
    "warm_up": "30s" if SMALL else "1m",
    "relay": {
        "ingress": {"workers": 1, "costs": {"tls": "5ms", "auth": "2ms", "frame": f"{COST_S * 1000:g}ms"}},
        "limits": {"send_message": "off"},
    },
    "population": {"devices": SIZES[0], "contacts": 10, "networks": {"lan": 1}},
    "workload": {"start": {"ramp": "20s"}, "messages": {"rate_per_device": "6/min"}},
}
study = sweep.run(node, seeds=SEEDS, vary={"population.devices": SIZES}, workers=WORKERS)
study

# %% [markdown]
# ## The load at each size, from the time series of one run

# %%
rows = []
for devices in SIZES:
    one = run({**node, "population": {**node["population"], "devices": devices}}, seed=1)
    series = one.timeseries
    series["at_s"] = (series["t_us"] - one.start_us) / 1e6
    steady = series[(series["metric"] == "cpu.utilisation") & (series["at_s"] > one.results.warm_up_us / 1e6)]
    rows.append({"devices": devices, "utilisation": steady["value"].mean()})
load = pd.DataFrame(rows).set_index("devices")
below = load[load["utilisation"] < 0.9]
full_at = float((below.index.to_numpy(dtype=float) / below["utilisation"]).mean())
load.round(3)

# %% [markdown]
# ## Latency by size

# %%
latency = study.intervals.query("metric == 'delivery_latency_ms' and statistic in ('p50', 'p99')")
latency = latency.rename(columns={"population.devices": "devices"})
latency[["devices", "statistic", "n", "median", "low", "high"]].round(1)

# %%
figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
for statistic, colour in (("p50", BLUE), ("p99", VERMILLION)):
    found = latency[latency["statistic"] == statistic].set_index("devices")
    spread = [found["median"] - found["low"], found["high"] - found["median"]]
    axes.errorbar(found.index, found["median"], yerr=spread, fmt="o-", capsize=4, color=colour, label=statistic)
axes.axhline(LIMIT_MS, color="#5f5f5f", lw=0.9, ls="--")
axes.axvline(full_at, color="#5f5f5f", lw=0.9, ls=":")
axes.annotate("full, from the load", (full_at, axes.get_ylim()[0]), xytext=(4, 8), textcoords="offset points")
axes.set_yscale("log")
axes.set_xlabel("devices")
axes.set_ylabel("delivery latency (ms)")
axes.legend()
plt.close(figure)  # so that Jupyter shows it once, as the cell's value
figure

# %% [markdown]
# ## Conclusion
#
# A size is carried if the whole interval of its 99th percentile lies below one second. The knee stands just before the
# size at which the worker is full, and is sharp: a tenth more devices turn a fraction of a second into many seconds,
# and what queues then grows as long as the run lasts. Plan for a load of two thirds, not for nine tenths.

# %%
p99 = latency[latency["statistic"] == "p99"].set_index("devices")
carried = p99[p99["high"].fillna(p99["median"]) < LIMIT_MS]
largest = int(carried.index.max()) if len(carried) else 0
broken = p99.drop(index=carried.index)
print(
    f"Conclusion: {largest} devices are carried (p99 {p99.loc[largest, 'median']:.0f} ms at a load of "
    f"{load.loc[largest, 'utilisation']:.2f}); "
    + (f"{int(broken.index.min())} are not (p99 {broken['median'].iloc[0]:.0f} ms). " if len(broken) else "")
    + f"The worker is full at {full_at:.0f} by the measured load, at {DERIVED:.0f} as derived."
)
assert largest
assert np.isclose(full_at, DERIVED, rtol=0.1)
assert np.isclose(load["utilisation"].iloc[0], SIZES[0] / full_at, rtol=0.1)
assert len(broken)
assert largest < full_at * 1.05
