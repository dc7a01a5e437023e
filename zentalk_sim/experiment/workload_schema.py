"""What the users of an experiment do: first connections, messages, reads, typing, presence, the app's foreground."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from zentalk_sim.experiment.distributions import (
    ConstantSize,
    ExponentialTime,
    LognormalTime,
    SizeDistribution,
    TimeDistribution,
)
from zentalk_sim.experiment.sections import PositiveUs, Probability, Rate, Section, Us


class Start(Section, frozen=True, kw_only=True):
    """How the devices first connect."""

    ramp_us: Us = 10_000_000
    """The devices' first connections are spread uniformly over this time."""


class Messages(Section, frozen=True, kw_only=True):
    """What each device sends to a contact chosen uniformly. Say `rate_per_device_per_min` or `interval`."""

    rate_per_device_per_min: Rate | None = 1.0
    """Mean messages a minute of each device, at exponential intervals; 0: none. null where `interval` is given."""
    interval: TimeDistribution | None = None
    """Time between two messages of a device, in place of the rate."""
    size: SizeDistribution = ConstantSize(value_bytes=256)
    """Size of the ciphertext."""

    @property
    def gap(self) -> TimeDistribution | None:
        """The time between two messages of a device; None if it sends none."""
        if self.interval is not None:
            return self.interval
        if not self.rate_per_device_per_min:
            return None
        return ExponentialTime(mean_us=max(1, round(60_000_000 / self.rate_per_device_per_min)))


class Diurnal(Section, frozen=True, kw_only=True):
    """How the day goes: the rate follows a cosine around its mean. The experiment starts at midnight."""

    period_us: PositiveUs = 86_400_000_000
    """Length of a day; a shorter one lets a short experiment see a whole day."""
    peak_at_us: Us = 72_000_000_000
    """When in the day most is sent."""
    depth: Annotated[float, Meta(gt=0, le=1)] = 0.9
    """How far the rate swings, as a share of its mean: at 0.9 from a tenth to nearly twice."""


class Burst(Section, frozen=True, kw_only=True):
    """Messages come several at a time, all to the same contact; the mean rate stays as `messages` has it."""

    mean_messages: Annotated[float, Meta(gt=1, le=1_000)] = 5.0
    """Mean messages of a burst (geometric, at least one)."""
    gap: TimeDistribution = ExponentialTime(mean_us=3_000_000)
    """Between two messages of a burst."""


class Reads(Section, frozen=True, kw_only=True):
    """Which messages are read, and when."""

    probability: Probability = 0.0
    """Share of the shown messages that the user reads."""
    delay: TimeDistribution = ExponentialTime(mean_us=5_000_000)
    """From a message's showing to its reading."""


class Typing(Section, frozen=True, kw_only=True):
    """Users type before they send: TYPING_START, again every 3 s, then the message and TYPING_STOP."""

    probability: Probability = 0.0
    """Share of the messages that are typed for a while first."""
    duration: TimeDistribution = LognormalTime(median_us=6_000_000, sigma=0.7)
    """How long a message is typed."""


class PresenceWork(Section, frozen=True, kw_only=True):
    """Who watches whose presence, and how often users set their own."""

    subscribe: Literal["none", "contacts"] = "none"
    """contacts: each device subscribes to the presence of all its user's contacts at its first connection."""
    set_every: TimeDistribution | None = None
    """Time between two changes of a device's presence, away and online in turn; null: none are made."""


class Foreground(Section, frozen=True, kw_only=True):
    """The app is on screen and off in turn. Off screen its device is away, writes nothing, and reads when back."""

    on: TimeDistribution = LognormalTime(median_us=60_000_000, sigma=1.0)
    """How long the app stays on screen."""
    off: TimeDistribution = LognormalTime(median_us=300_000_000, sigma=1.0)
    """How long it stays in the background."""


class PushWake(Section, frozen=True, kw_only=True):
    """What a push notification does (R-6.7): its user may open the app, whose device is then on for a while."""

    wake_probability: Probability = 0.0
    """Share of the notifications that are answered; 0: a push wakes nobody, and users come back in their own time."""
    delay: TimeDistribution = LognormalTime(median_us=3_000_000, sigma=1.5)
    """From the relay's handing it over to its user's opening the app: the push service, and the user."""
    stay: TimeDistribution = LognormalTime(median_us=45_000_000, sigma=0.8)
    """How long a device that was off or asleep stays on for it, unless its sleep ends first."""


class Workload(Section, frozen=True, kw_only=True):
    """What the users do."""

    start: Start = Start()
    """The first connections."""
    pattern: Literal["steady", "diurnal", "bursty"] = "steady"
    """steady: the same rate all the time, from each device's first connection on; else as that section says."""
    diurnal: Diurnal = Diurnal()
    """The day's course, where the pattern is diurnal."""
    burst: Burst = Burst()
    """Bursts, where the pattern is bursty."""
    messages: Messages = Messages()
    """Messages sent."""
    reads: Reads = Reads()
    """Messages read."""
    typing: Typing = Typing()
    """Typing indicators."""
    presence: PresenceWork = PresenceWork()
    """Presence watched and set."""
    foreground: Foreground | None = None
    """The app's cycles of foreground and background; null: always on screen."""
    push: PushWake = PushWake()
    """Push notifications answered."""
