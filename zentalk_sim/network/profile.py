"""Link profiles: every number of a link, with netem's and the RFCs' names for them, and units last in each name.

The named profiles are round figures for kinds of access network, not measurements of one; each tells its source.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from zentalk_sim.network.latency import Constant, Empirical, Gamma, Latency, Lognormal, Normal, Uniform, require
from zentalk_sim.network.loss import Bernoulli, GilbertElliott, Loss

HEADER_BYTES: Final = 40
"""IPv4 and TCP headers of a segment, which take bandwidth besides its data."""

BitPerS = Annotated[int, Meta(ge=1, le=1_000_000_000_000)]
QueueBytes = Annotated[int, Meta(ge=1, le=1 << 40)]


class OneWay(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one direction has of its own; None: as the profile has it for both."""

    latency: Latency | None = None
    rate_bit_per_s: BitPerS | None = None
    queue_bytes: QueueBytes | None = None
    loss: Loss | None = None


class LinkProfile(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, cache_hash=True):
    """A device's link to the relay. The default has no latency, no loss and no limit of bandwidth."""

    latency: Latency = Constant(0.0)
    """One-way propagation latency, drawn once per frame."""
    rate_bit_per_s: BitPerS | None = None
    """Bandwidth of the bottleneck, each way (netem ``rate``); None: unlimited."""
    queue_bytes: QueueBytes | None = None
    """What the bottleneck's queue holds (tail drop; netem ``limit``, in bytes); None: no bound."""
    loss: Loss | None = None
    """Loss of segments behind the bottleneck."""
    up: OneWay = OneWay()
    """What differs from the device to the relay."""
    down: OneWay = OneWay()
    """What differs from the relay to the device."""
    mss_bytes: Annotated[int, Meta(ge=64, le=65_495)] = 1460
    """Data in a full segment."""
    initial_window_segments: Annotated[int, Meta(ge=1, le=1000)] = 10
    """What is sent in the first round trip, and after idle (RFC 6928); it doubles with each full round trip.
    Counts on links with loss or a limit of bandwidth only."""
    rto_min_ms: Annotated[int, Meta(ge=1, le=60_000)] = 200
    """The least a retransmission timer adds to SRTT (Linux ``TCP_RTO_MIN``; RFC 6298 would have it at 1 s)."""
    rto_max_ms: Annotated[int, Meta(ge=1000, le=600_000)] = 120_000
    """Where the doubling ends (Linux ``TCP_RTO_MAX``; RFC 6298 (2.5))."""
    max_retries: Annotated[int, Meta(ge=0, le=100)] = 15
    """Retransmissions by timer before the connection is given up (Linux ``tcp_retries2``)."""
    syn_retries: Annotated[int, Meta(ge=0, le=30)] = 6
    """Repeated SYNs before a connection attempt fails (Linux ``tcp_syn_retries``: 6, so 127 s)."""
    tail_loss_probe: bool = True
    """RFC 8985 §7: a probe after 2·SRTT before the retransmission timer."""
    fast_retransmit: bool = True
    """Three later segments in flight repair a loss in one round trip (RFC 5681 §3.2)."""
    max_ack_delay_ms: Annotated[int, Meta(ge=0, le=500)] = 200
    """What a probe allows for a delayed acknowledgement where one segment is in flight (RFC 8985 §7.2)."""
    tls_round_trips: Annotated[int, Meta(ge=0, le=4)] = 1
    """1 for TLS 1.3 (RFC 8446), 0 for none."""
    tls_hello_bytes: Annotated[int, Meta(ge=1, le=16_384)] = 517
    """ClientHello (browsers pad it to 517 bytes)."""
    tls_answer_bytes: Annotated[int, Meta(ge=1, le=65_536)] = 3_500
    """ServerHello to Finished, with a chain of two ECDSA certificates."""
    nat_idle_ms: Annotated[int, Meta(ge=1000)] | None = None
    """A NAT forgets the connection after so long without a segment; None: never (RFC 5382 asks for ≥ 2 h 4 min)."""
    source: str = ""
    """Where the numbers come from, for reports."""

    def __post_init__(self) -> None:
        need = self.mss_bytes + HEADER_BYTES
        for way in (self.up, self.down):
            queue = way.queue_bytes if way.queue_bytes is not None else self.queue_bytes
            rate = way.rate_bit_per_s if way.rate_bit_per_s is not None else self.rate_bit_per_s
            require(queue is None or queue >= need, f"queue_bytes {queue} cannot hold one full segment ({need} bytes)")
            require(queue is None or rate is not None, "queue_bytes says nothing without rate_bit_per_s")
        require(
            self.rto_max_ms >= self.rto_min_ms, f"rto_max_ms {self.rto_max_ms} is below rto_min_ms {self.rto_min_ms}"
        )

    @property
    def needs_size(self) -> bool:
        """Whether a frame's size matters: where not, callers may pass 0."""
        return (
            self.rate_bit_per_s is not None
            or self.loss is not None
            or self.up.rate_bit_per_s is not None
            or self.up.loss is not None
            or self.down.rate_bit_per_s is not None
            or self.down.loss is not None
        )

    def way(self, up: bool) -> OneWay:
        """One direction with everything filled in (``rate``, ``queue`` and ``loss`` may still be None: no limit)."""
        own = self.up if up else self.down
        return OneWay(
            latency=own.latency if own.latency is not None else self.latency,
            rate_bit_per_s=own.rate_bit_per_s if own.rate_bit_per_s is not None else self.rate_bit_per_s,
            queue_bytes=own.queue_bytes if own.queue_bytes is not None else self.queue_bytes,
            loss=own.loss if own.loss is not None else self.loss,
        )


NOT_MODELLED: Final[dict[str, str]] = {
    "congestion_control": "beyond the initial window and its doubling, congestion control is not modelled",
    "shared_bottleneck": "each connection has its bandwidth to itself; flows sharing a bottleneck are not modelled",
    "cross_traffic": "each connection has its bandwidth to itself; flows sharing a bottleneck are not modelled",
    "reorder": "TCP hands bytes over in order; reordering below it, and the needless retransmissions it causes, "
    "are not modelled",
    "duplicate": "TCP removes duplicates; they are not modelled",
    "corrupt": "a corrupt segment fails its checksum and counts as lost: use loss",
    "ecn": "congestion marks are not modelled",
    "path_mtu": "path MTU discovery is not modelled: set mss_bytes",
    "receive_window": "flow control by the receiver is not modelled: a slow reader is a matter of its node",
}
"""What an experiment may ask of a link and is refused, and why."""


IDEAL: Final = LinkProfile(source="No latency, loss or limit: tells what the protocol alone costs.")

LAN: Final = LinkProfile(
    latency=Constant(0.25),
    source="A switched gigabit network in one building, 0.5 ms round trip; a round figure, not a measurement.",
)

FIBRE: Final = LinkProfile(
    latency=Gamma(mean_ms=6.0, shape=4.0, min_ms=3.0),
    up=OneWay(rate_bit_per_s=100_000_000),
    down=OneWay(rate_bit_per_s=300_000_000),
    queue_bytes=1_000_000,
    loss=Bernoulli(0.0005),
    source="FCC, Measuring Broadband America (fixed broadband, thirteenth report): fibre shows the least latency of "
    "all access networks, about 10 ms round trip to a server in the region, and packet loss well below 0.4 %. The "
    "shape is assumed.",
)

WIFI: Final = LinkProfile(
    latency=Empirical(((0.0, 4.0), (0.5, 7.5), (0.9, 16.0), (0.99, 131.0), (1.0, 400.0))),
    rate_bit_per_s=30_000_000,
    queue_bytes=500_000,
    loss=GilbertElliott(p=0.003, r=0.6),
    source="Sui et al., Characterizing and Improving WiFi Latency in Large-Scale Operational Networks, MobiSys 2016: "
    "the hop's latency is 3 ms in the median, 20 ms at p90 and 250 ms at p99, here halved for one way and added to "
    "6 ms of fixed network. The worst case and the losses (0.5 %, in short bursts) are assumed.",
)

LTE: Final = LinkProfile(
    latency=Lognormal(median_ms=32.0, sigma=0.5, min_ms=18.0),
    rate_bit_per_s=12_000_000,
    queue_bytes=750_000,
    loss=Bernoulli(0.001),
    source="WebPageTest's connectivity profile LTE: 12 Mbit/s each way, 70 ms round trip. A minimum with a tail to "
    "the right, and 0.1 % of loss left by HARQ and RLC, are assumed.",
)

THREE_G: Final = LinkProfile(
    latency=Lognormal(median_ms=140.0, sigma=0.5, min_ms=80.0),
    up=OneWay(rate_bit_per_s=768_000),
    down=OneWay(rate_bit_per_s=1_600_000),
    queue_bytes=256_000,
    loss=GilbertElliott(p=0.006, r=0.6),
    source="WebPageTest's connectivity profile 3G: 1.6 Mbit/s down, 768 kbit/s up, 300 ms round trip. The shape and "
    "1 % of loss in bursts are assumed.",
)

EDGE: Final = LinkProfile(
    latency=Lognormal(median_ms=390.0, sigma=0.5, min_ms=200.0),
    up=OneWay(rate_bit_per_s=200_000),
    down=OneWay(rate_bit_per_s=240_000),
    queue_bytes=128_000,
    loss=GilbertElliott(p=0.012, r=0.6),
    source="WebPageTest's connectivity profile Edge: 240 kbit/s down, 200 kbit/s up, 840 ms round trip. The shape and "
    "2 % of loss in bursts are assumed.",
)

SATELLITE: Final = LinkProfile(
    latency=Normal(mean_ms=300.0, sd_ms=12.0),
    up=OneWay(rate_bit_per_s=3_000_000),
    down=OneWay(rate_bit_per_s=25_000_000),
    queue_bytes=1_000_000,
    loss=GilbertElliott(p=0.0025, r=0.5),
    source="Geostationary. RFC 2488 §2: propagation alone takes 239.6 to 279.0 ms from ground to ground. 300 ms with "
    "processing and media access, the rates and 0.5 % of loss in bursts are assumed.",
)

TRAIN: Final = LinkProfile(
    latency=Lognormal(median_ms=60.0, sigma=0.8, min_ms=25.0),
    up=OneWay(rate_bit_per_s=4_000_000),
    down=OneWay(rate_bit_per_s=8_000_000),
    queue_bytes=750_000,
    loss=GilbertElliott(p=0.02, r=0.5, h=0.2, k=0.999),
    source="LTE at 300 km/h. Wang et al., An Active-Passive Measurement Study of TCP Performance over LTE on "
    "High-speed Rails, MobiCom 2019, and Xiao et al., TCP Performance over Mobile Networks in High-speed Mobility "
    "Scenarios, ICNP 2014, find round trips longer and far more variable than at rest, and losses at handovers. The "
    "numbers (3 % of loss, bursts of two segments) are assumed; outages are to be added as partitions.",
)

OFFICE: Final = LinkProfile(
    latency=Uniform(4.0, 8.0),
    rate_bit_per_s=50_000_000,
    queue_bytes=500_000,
    loss=Bernoulli(0.0005),
    source="A desk behind a shared business line: fibre's latency, a share of its rate; round figures.",
)

PROFILES: Final[dict[str, LinkProfile]] = {
    "ideal": IDEAL,
    "lan": LAN,
    "fibre": FIBRE,
    "office": OFFICE,
    "wifi": WIFI,
    "lte": LTE,
    "3g": THREE_G,
    "edge": EDGE,
    "satellite": SATELLITE,
    "train": TRAIN,
}
"""The named profiles."""
