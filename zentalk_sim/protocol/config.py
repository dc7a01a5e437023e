"""Every number of the specification, as a setting: the defaults *are* the specification.

Configurations are frozen Structs; ``msgspec.convert`` builds one from a mapping and refuses unknown names.
Units stand last in each name. Sources are the specification's tables unless a ruling is named.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
Ms = Annotated[int, Meta(ge=0)]
PositiveMs = Annotated[int, Meta(ge=1)]
Fraction = Annotated[float, Meta(gt=0, lt=1)]


class _Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings."""


class Limit(_Section, frozen=True):
    """``limit`` admissions per ``window_s`` seconds, and a bucket of ``burst`` (``limit`` where it is None; R-10.1)."""

    limit: Positive
    window_s: Positive = 60
    burst: Positive | None = None


class Ceiling(_Section, frozen=True):
    """At most ``limit`` at once."""

    limit: Positive


Off = Literal["off"]


class Limits(_Section, frozen=True):
    """The specification's tables "Connection Limits", "Message Rate Limits" and "Token Refresh"."""

    send_message: Limit | Off = Limit(limit=60, window_s=60, burst=10)
    typing: Limit | Off = Limit(limit=1, window_s=3, burst=1)
    presence: Limit | Off = Limit(limit=1, window_s=60, burst=1)
    read_receipt: Limit | Off = Limit(limit=100, window_s=60, burst=20)
    subscribe: Limit | Off = Limit(limit=10, window_s=60, burst=5)
    connections_per_user: Ceiling | Off = Ceiling(limit=5)
    connections_per_ip: Ceiling | Off = Ceiling(limit=10)
    connection_rate: Limit | Off = Limit(limit=10, window_s=60)
    auth_attempts: Limit | Off = Limit(limit=5, window_s=60)
    token_refresh: Limit | Off = Limit(limit=3, window_s=3600)


class HeartbeatConfig(_Section, frozen=True):
    """Table "Heartbeat Mechanism", R-8."""

    interval_ms: PositiveMs = 30_000
    pong_timeout_ms: PositiveMs = 10_000
    max_missed: Positive = 3
    background_interval: PositiveMs | Off = "off"
    """How often, in ms, a device that set itself away is pinged (R-8.3)."""


class AuthConfig(_Section, frozen=True):
    """R-4: the handshake's time-out and how far a client's clock may be off."""

    timeout_ms: PositiveMs = 5_000
    time_window_ms: PositiveMs = 300_000


class TokenConfig(_Section, frozen=True):
    """Table "Token Refresh", R-3.3, R-9."""

    lifetime_s: Positive = 86_400
    refresh_window_s: Count = 7_200
    grace_s: Count = 300


class MailboxConfig(_Section, frozen=True):
    """Table "Offline Message Queuing", R-6.3, R-6.5."""

    max_copies: Positive = 1_000
    retention_s: Positive = 30 * 86_400
    """How long a copy, and a message's entry in the index, is kept after acceptance."""
    max_notices: Positive = 1_000
    look_interval_ms: PositiveMs = 30_000
    """How often each connection's mailbox is looked at again (R-12.5)."""


class FrameConfig(_Section, frozen=True):
    """R-1.5, R-1.6, R-10.2."""

    max_bytes: Positive = 1 << 20
    max_text_payload_bytes: Positive = 16_384
    max_malformed_in_a_row: Positive = 10
    max_refused_in_a_row: Positive = 30


class DedupConfig(_Section, frozen=True):
    """R-5.5, R-5.6: how long ids and nonces are remembered, and the Bloom filter's size."""

    window_s: Positive = 86_400
    bloom_capacity: Positive = 100_000
    bloom_error: Fraction = 1e-4


class DeviceConfig(_Section, frozen=True):
    """R-7.1."""

    max_registered: Positive = 20
    max_name_characters: Positive = 64
    max_prekeys: Positive = 200


class PresenceConfig(_Section, frozen=True):
    """Table "Presence Updates", R-7.3."""

    away_after_ms: PositiveMs = 300_000


class TypingConfig(_Section, frozen=True):
    """Table "Typing Indicators", R-7.4. The throttle is the limit ``typing``."""

    timeout_ms: PositiveMs = 5_000


class TopicConfig(_Section, frozen=True):
    """R-7.2."""

    max_per_frame: Positive = 100
    max_per_session: Positive = 1_000


class ResumeConfig(_Section, frozen=True):
    """R-3.4."""

    window_ms: Ms = 300_000


class OutboxConfig(_Section, frozen=True):
    """R-12.4; kept by the face, which owns the outboxes."""

    max_bytes: Positive = 1 << 20
    max_frames: Positive = 1_000


class UpgradeConfig(_Section, frozen=True):
    """R-3.1, R-3.5: who may connect."""

    profile: Literal["dev", "spec"] = "spec"
    hosts: tuple[str, ...] = ("relay.zentalk.network",)
    origins: tuple[str, ...] = ("https://app.zentalk.network", "https://zentalk.network", "capacitor://localhost")
    max_connections: Positive = 10_000
    retry_after_s: Positive = 5
    trust_forwarded_for: bool = False


class RelayConfig(_Section, frozen=True):
    """All that a relay can be told. Sections default to the specification."""

    limits: Limits = Limits()
    heartbeat: HeartbeatConfig = HeartbeatConfig()
    auth: AuthConfig = AuthConfig()
    token: TokenConfig = TokenConfig()
    mailbox: MailboxConfig = MailboxConfig()
    frames: FrameConfig = FrameConfig()
    dedup: DedupConfig = DedupConfig()
    devices: DeviceConfig = DeviceConfig()
    presence: PresenceConfig = PresenceConfig()
    typing: TypingConfig = TypingConfig()
    topics: TopicConfig = TopicConfig()
    resume: ResumeConfig = ResumeConfig()
    outbox: OutboxConfig = OutboxConfig()
    upgrade: UpgradeConfig = UpgradeConfig()
    integrity: Literal["verify", "require"] = "verify"


class BackoffConfig(_Section, frozen=True):
    """R-11.2: wait d = min(cap, base · 2ᵏ) plus jitter uniform in [0, jitter · d] before attempt k."""

    policy: Literal["spec", "none", "equal", "full", "decorrelated", "server_directed"] = "spec"
    base_ms: PositiveMs = 1_000
    cap_ms: PositiveMs = 30_000
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.1
    max_attempts: Positive = 10
    reset_at: Literal["auth_success", "open"] = "auth_success"


class QueueConfig(_Section, frozen=True):
    """R-11.4: table "Client Backpressure Strategy" and "Pending Message Storage"."""

    max_messages: Positive = 100
    drain_interval_ms: Ms = 100
    max_unacked: Positive = 100
    ack_timeout_ms: PositiveMs = 10_000
    max_retries: Count = 5
    max_receipts: Positive = 1_000


class ClientConfig(_Section, frozen=True):
    """All that a client can be told; R-11."""

    backoff: BackoffConfig = BackoffConfig()
    queue: QueueConfig = QueueConfig()
    connect_timeout_ms: PositiveMs = 10_000
    auth_timeout_ms: PositiveMs = 5_000
    closing_timeout_ms: PositiveMs = 2_000
    silence_timeout_ms: PositiveMs = 120_000
    rate_limited_cooldown_ms: PositiveMs = 60_000
    fetch_page: Annotated[int, Meta(ge=1, le=200)] = 100
    fetch_timeout_ms: PositiveMs = 30_000
    ack_by: Literal["frame", "rest"] = "rest"
    """Confirm fetched messages one by one with MESSAGE_RECEIVED, or all of a page by REST (R-6.6).

    Frames go over another connection than the request for the next page, which may overtake them and bring what they
    confirm once more; REST's answer says that the page is gone from the mailbox.
    """
    send_mac: bool = True
    send_seq: bool = True
    trust_server_time: bool = True
    shown_memory: Positive = 10_000
    """How many (from, id) pairs a client remembers to show each message once (R-11.6)."""
    token_refresh: Literal["uniform_first_hour", "window_opens", "never"] = "uniform_first_hour"
    refresh_retry_ms: PositiveMs = 1_200_000
