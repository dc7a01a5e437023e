"""What docs/validation.md says besides its figures."""

from __future__ import annotations

INTRODUCTION = """\
# Validation

What the simulator says is checked against what can be known without it: closed forms of queueing theory, of loss
chains and of the protocol's own timers, a published study, and the same client and relay cores over real sockets.
Each row drives the very component an experiment uses, not a copy of it.

Measured figures are means with 99 % confidence intervals *over seeds* (Student's t, one value a seed: values within
a run depend on each other). A check agrees if theory lies in the 99.9 % interval **and** that interval is narrow, so
that agreement says something; exact statements are compared to the microsecond, distributions by Kolmogorov and
Smirnov's distance at 99.9 %. Seeds are fixed: a check gives the same answer at every run.

{tally}

`pytest tests/validation` runs a short form of every check, `ZENTALK_SOAK=1 pytest tests/validation` the long form,
and `python -m tests.validation.document` measures in the long form and writes this page.
"""

SECTIONS = {
    "Queues: a node's ingress": """\
Poisson arrivals at the `Ingress` of a relay node, one queue before its CPU workers. S is the mean service time,
ρ the load of one worker, *a* the offered load in Erlang.

- M/M/1: Wq/S = ρ/(1 − ρ). M/D/1: half of that (Pollaczek–Khinchine).
- M/M/1/K: an arrival finds K in the system with probability (1 − ρ)ρᴷ/(1 − ρᴷ⁺¹). One is in service, so K = 10 is a
  backlog of 9; an arrival that finds it full is the SYN the ingress drops.
- Erlang B: B = (aᶜ/c!)/Σₖ aᵏ/k!, whatever the distribution of service. Erlang C: B/(1 − ρ(1 − B)) of the arrivals
  wait, on average S/(c − a) each.

A node's backlog is at least 1, so Erlang B's system without any waiting is asked of the workers alone: an arrival
counts as blocked where none is free.""",
    "Links: loss and recovery": """\
The loss models as a link uses them, and a link whose only repair is the retransmission timer. In the chain's bad
state everything is lost and in the good one nothing, unless said otherwise: the long-run loss is
(p·(1 − h) + r·(1 − k))/(p + r), the mean stay in the bad state 1/r segments.

With timeouts alone, R = RTO, doubling: a segment lost n times in a row is late by R·(2ⁿ − 1), and n times are lost
with probability pⁿ(1 − p), so the mean is R·((1 − p)/(1 − 2p) − 1) = R·p/(1 − 2p). (Below p = 1/4 the variance is
finite, so that an interval makes sense. The timer's bound of 120 s and the give-up take less than 10⁻⁸ off it.)
The short form takes the share of late frames as known, p, which makes its estimate of the mean half as wide:
a timer that does not double, R·p/(1 − p) = 10.5 ms, fails it alone.""",
    "Heartbeat: a peer that falls silent": """\
R-8.1: an answered PING is followed by the next 30 s after its *sending*. That one and two more go unanswered; each
waits 10 s, and 30 s pass from a time-out to the next PING. So the relay drops the connection 30 + 10 + 30 + 10 + 30 +
10 = 120 s after it sent the last PING that was answered.

A peer that falls silent at an instant unrelated to the PINGs does so uniformly within the 30 s after the last one it
answered. Without latency detection therefore takes a time **uniform on [90 s, 120 s], mean 105 s**.

What latency changes: with d from relay to peer, a PING is answered if it *arrives* before the silence, so that the
last answered one was sent between d and d + 30 s before it: uniform on [90 − d, 120 − d], mean 105 − d. The way back
does not count, as long as the round trip stays below the 10 s time-out. A d that varies widens the range by its own
spread and leaves the mean at 105 − E[d]. On every network of the profiles d is below a second: it hardly shows. What
does show is a path that repairs itself: a partition shorter than the detection time is not detected, and TCP gives up
(924 s by default) long after the heartbeat. A peer whose host answers with RST is noticed at the next PING.""",
    "The send limit (R-10.1)": """\
A greedy sender sends until it is refused and again at the very instant that the refusal names (`reset_at`), through
the relay core. With 60 a minute and a burst of 10 both conditions hold for the k-th message of a minute (k = 0 … 59)
from max(0, k − 9) s on: ten at once, one a second to 60 at 50 s, then a pause until those ten leave the window, by
which time the bucket is full again. Where the window never binds, b + rt are admitted by the time t: the k-th at
(k − b + 1)/r.""",
    "Backoff (R-11.2)": """\
The specification's table "Reconnection Strategy", through a client core all of whose attempts fail: the wait before
attempt k + 1 is d = min(30, 2ᵏ) s and a jitter uniform on [0, d/10]. After ten failures it gives up. A client that
heeds the relay's own delay (`server_directed`) waits that long and up to d more.""",
    "A storm through the whole simulator": """\
An experiment with everything random taken out, run as any other: all connections are reset at one instant, and the
backoff has no jitter, so that all SYNs come 1 s later together. c workers take a TLS handshake of S after the other:
the k-th device waits ⌈k/c⌉·S. Around that a connection takes four round trips: SYN, TLS 1.3, the upgrade with the
challenge behind it, authentication. Compared device by device, to the microsecond.""",
    "Backoff: the published jitter study": """\
M. Brooker, [Exponential Backoff And Jitter](https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/)
(AWS Architecture Blog, 2015), whose simulator is public (`aws-samples/aws-arch-backoff-simulator`): N clients each
update one row once under optimistic concurrency. Its network and contention are modelled anew in a hundred lines;
the waits come from the policies that a simulated client uses (`client.backoff.policy`): `spec` with jitter 0 for
plain exponential backoff, `decorrelated`, `equal`, `full` and `none`. The exponent is 1 at the first backoff, as in
the study's program.

With no backoff and no variance the clients move in step and each round of four hops lets one through: exactly
40·N ms and N(N + 1)/2 calls. The study shows plots of averages of 100 runs; its figures are known roughly, and
agreement is within 5 %.

What it says for a relay: jitter halves the work, and exponential backoff *without* jitter takes at least nine times as
long as any with it, since its clients stay in step. The specification's jitter of a tenth is close to none;
`experiments/jitter_study.yaml` asks what that does to reconnecting.""",
}

FACES = """\
The same small experiment on both faces: twenty devices on a link of lognormal latency (median 30 ms, σ 0.5, least
10 ms, one way), two and a half messages a second each for {duration:g} s; *reset* besides aborts every connection in
the middle. Live it is played by `zsim run --live`: by the draws of seed {seed} the same users send the same to the same
people, the same client cores run over loopback sockets against a mock relay, and the same link is laid over them.
Messages sent between {settled:g} s and {end:g} s count. Simulated figures are pooled over {seeds} seeds; live ones are
one run on the machine that wrote this page.

The simulator was told of no processing time at all. What the live face takes longer is what several passes through
an event loop, real cryptography and a busy machine cost: a few milliseconds, which shift a distribution without
changing its shape. For *steady* the distance is therefore given twice; its limit supposes independent messages, which
those of one run are not quite.

No test asserts the times of this table, which are real time. `tests/validation` plays the same live at virtual time,
the sockets real and the clock not: there it asserts that every message is shown once on both faces, never sooner than
the link allows, and that each latency is the simulated one, to 10 µs."""

ENDING = """\
## What is not validated

- Several flows that share a bottleneck, and congestion control beyond the initial window: not modelled, and refused.
- The named network profiles are round figures with their sources cited (`docs/network.md`); their shapes are assumed.
- CPU costs of a node (`relay.ingress.costs`) are settings. Queueing follows from them as theory says; whether they
  are those of a given server is a question for a measurement of that server.
"""
