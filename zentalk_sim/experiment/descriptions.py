"""What every key means: the docstring under the field, or, for the protocol's own settings, a line of this table.

The docstrings are read from the source, which only the JSON Schema needs; nothing else loads this module.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache
from typing import Final

from msgspec import Struct

_TABLE: Final[dict[str, str]] = {
    "RelayConfig.limits": "Rate limits and ceilings (R-10); each a mapping, or off.",
    "RelayConfig.heartbeat": "PING and PONG (R-8).",
    "RelayConfig.auth": "The handshake (R-4).",
    "RelayConfig.token": "The session token's life (R-3.3, R-9).",
    "RelayConfig.mailbox": "Copies kept for devices that are away (R-6.3, R-6.5).",
    "RelayConfig.frames": "What a frame may be, and how many bad ones are borne (R-1.5, R-1.6, R-10.2).",
    "RelayConfig.dedup": "How long message ids and nonces are remembered (R-5.5, R-5.6).",
    "RelayConfig.devices": "A user's registered devices (R-7.1).",
    "RelayConfig.presence": "Online and away (R-7.3).",
    "RelayConfig.typing": "Typing indicators (R-7.4).",
    "RelayConfig.topics": "Subscriptions (R-7.2).",
    "RelayConfig.resume": "Resuming a session (R-3.4).",
    "RelayConfig.outbox": "Bounds of a connection's outbox; above half of them the relay ceases to read (R-12.4).",
    "RelayConfig.upgrade": "Who may connect (R-3.1, R-3.5).",
    "RelayConfig.integrity": "verify: a missing message MAC is accepted; require: it closes the connection (R-5.3).",
    "Limit.limit": "Admissions per window.",
    "Limit.window": "Length of the window, in whole seconds.",
    "Limit.burst": "Admissions at once; null: as many as `limit` (R-10.1).",
    "Ceiling.limit": "At most this many at once.",
    "Limits.send_message": "MESSAGE_SEND, per device.",
    "Limits.typing": "TYPING_START, per device and conversation.",
    "Limits.presence": "PRESENCE_SET, per device.",
    "Limits.read_receipt": "MESSAGE_READ, per device.",
    "Limits.subscribe": "SUBSCRIBE and UNSUBSCRIBE, per device.",
    "Limits.connections_per_user": "Connected devices of a user (R-10.3).",
    "Limits.connections_per_ip": "Connections from one IP address; see `population.nat_group_size`.",
    "Limits.connection_rate": "Attempts to connect, per device, of those whose token is taken (R-3.2).",
    "Limits.auth_attempts": "AUTH_RESPONSEs from one IP address, whether they verify or not (R-4.4).",
    "Limits.token_refresh": "TOKEN_REFRESH, per session (R-9.3).",
    "HeartbeatConfig.interval": "From one PING to the next.",
    "HeartbeatConfig.pong_timeout": "How long a PONG is waited for.",
    "HeartbeatConfig.max_missed": "Unanswered PINGs in a row at which the relay drops the connection.",
    "AuthConfig.timeout": "From the upgrade to AUTH_RESPONSE at most.",
    "AuthConfig.time_window": "How far a client's clock may be off.",
    "TokenConfig.lifetime": "How long a token is valid, in whole seconds.",
    "TokenConfig.refresh_window": "The last stretch of a token's life, in which it may be refreshed.",
    "TokenConfig.grace": "How long after its expiry a session may go on.",
    "MailboxConfig.max_copies": "Copies a device's mailbox holds; the oldest is dropped beyond.",
    "MailboxConfig.max_notices": "Receipts and key changes kept for a device that is away.",
    "MailboxConfig.look_interval": "How often each connection's mailbox is looked at again (R-12.5).",
    "FrameConfig.max": "Largest frame; a larger one closes the connection with 1009.",
    "FrameConfig.max_text_payload": "Largest payload of a text frame.",
    "FrameConfig.max_malformed_in_a_row": "Malformed frames in a row that close a connection.",
    "FrameConfig.max_refused_in_a_row": "Frames refused by limits in a row that close a connection with 4002.",
    "DedupConfig.window": "How long ids and nonces are remembered at least, in whole seconds.",
    "DedupConfig.bloom_capacity": "Ids a generation of the Bloom filter is sized for.",
    "DedupConfig.bloom_error": "Share of false hits the Bloom filter is sized for.",
    "DeviceConfig.max_registered": "Devices a user may register.",
    "DeviceConfig.max_name_characters": "Longest device name.",
    "DeviceConfig.max_prekeys": "One-time pre-keys kept for a device.",
    "PresenceConfig.away_after": "Without activity for this long a device is away.",
    "TypingConfig.timeout": "Without another TYPING_START for this long the relay says TYPING_STOP.",
    "TopicConfig.max_per_frame": "Topics in one SUBSCRIBE.",
    "TopicConfig.max_per_session": "Topics of one session.",
    "ResumeConfig.window": "How long a lost session may be resumed.",
    "OutboxConfig.max": "Bytes waiting for a slow connection.",
    "OutboxConfig.max_frames": "Frames waiting for a slow connection.",
    "UpgradeConfig.profile": "spec: the specification's rules of admission; dev: a local relay's.",
    "UpgradeConfig.hosts": "Hosts the relay answers for.",
    "UpgradeConfig.origins": "Origins of web pages that may connect.",
    "UpgradeConfig.max_connections": "Connections a node takes; an upgrade beyond is refused with 503.",
    "UpgradeConfig.retry_after": "What a refused upgrade says in Retry-After.",
    "UpgradeConfig.trust_forwarded_for": "Whether X-Forwarded-For counts as the peer's IP address.",
    "ClientConfig.backoff": "Waiting before another attempt to connect (R-11.2).",
    "ClientConfig.queue": "The outgoing queue (R-11.4).",
    "ClientConfig.connect_timeout": "An attempt that has not opened by then has failed.",
    "ClientConfig.auth_timeout": "An authentication without AUTH_SUCCESS by then has failed.",
    "ClientConfig.closing_timeout": "How long the closing handshake is waited for.",
    "ClientConfig.silence_timeout": "A client that hears nothing for this long treats the connection as lost (R-8.3).",
    "ClientConfig.rate_limited_cooldown": "Wait after a close 4002 that named no time.",
    "ClientConfig.fetch_page": "Messages per GET /api/messages, 1 to 200.",
    "ClientConfig.fetch_timeout": "A request without an answer by then has failed.",
    "ClientConfig.send_mac": "Whether frames carry a message MAC.",
    "ClientConfig.send_seq": "Whether frames carry a sequence number.",
    "ClientConfig.trust_server_time": "Whether the client corrects its clock by the relay's (R-11.8).",
    "ClientConfig.token_refresh": "When in the refresh window a token is refreshed (R-11.7).",
    "ClientConfig.refresh_retry": "Wait after a refused refresh.",
    "OneWay.latency": "Propagation latency of this direction.",
    "OneWay.rate": "Bandwidth of this direction.",
    "OneWay.queue": "What this direction's queue holds.",
    "OneWay.loss": "Loss of segments in this direction.",
    "Constant.delay": "The latency.",
    "Uniform.min": "The least latency.",
    "Uniform.max": "The greatest latency.",
    "Normal.mean": "The mean, before what is below 0 is cut off.",
    "Normal.sd": "The standard deviation, before what is below 0 is cut off.",
    "Lognormal.median": "Half of the latencies are below it.",
    "Lognormal.sigma": "Standard deviation of the logarithm.",
    "Lognormal.min": "The least latency, to which the rest is added.",
    "Gamma.mean": "The mean latency.",
    "Gamma.shape": "The gamma's shape; 1 is exponential, larger is narrower.",
    "Gamma.min": "The least latency, to which the rest is added.",
    "Empirical.quantiles_ms": "Points [fraction, ms] of the distribution, from fraction 0 to 1, joined by lines.",
    "Bernoulli.p": "Each segment is lost with this probability.",
    "GilbertElliott.p": "Probability of going from the good state to the bad one, at a segment.",
    "GilbertElliott.r": "Probability of going from the bad state to the good one, at a segment.",
    "GilbertElliott.h": "Probability that a segment is delivered in the bad state.",
    "GilbertElliott.k": "Probability that a segment is delivered in the good state.",
    "BackoffConfig.policy": "How delays are drawn: the specification's, none, equal, full or decorrelated jitter, or "
    "as a refusal's Retry-After asks (server_directed).",
    "BackoffConfig.base": "Delay before the first attempt; it doubles with each.",
    "BackoffConfig.cap": "Longest delay before jitter.",
    "BackoffConfig.jitter": "Share of the delay that is added at random at most.",
    "BackoffConfig.max_attempts": "Failures in a row after which the client gives up.",
    "BackoffConfig.reset_at": "What sets the count of attempts back to 0.",
    "QueueConfig.max_messages": "Messages that wait at most; the next is rejected.",
    "QueueConfig.drain_interval": "From one queued message to the next when draining.",
    "QueueConfig.max_unacked": "Sent messages without an ACK at most.",
    "QueueConfig.ack_timeout": "Without an ACK for this long a message is sent again.",
    "QueueConfig.max_retries": "Re-sends of a message before it is reported failed.",
    "QueueConfig.max_receipts": "Receipts that wait at most while not connected.",
}


@cache
def of(cls: type[Struct]) -> dict[str, str]:
    """Field → what it means, its inherited fields included."""
    from zentalk_sim.experiment.keys import key_of

    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not issubclass(base, Struct) or base is Struct:
            continue
        docstrings = _docstrings(base)
        for name in base.__struct_fields__:
            text = _TABLE.get(f"{base.__name__}.{key_of(name)}") or docstrings.get(name)
            if text:
                found[name] = " ".join(text.replace("``", "`").split())
    return found


def _docstrings(cls: type) -> dict[str, str]:
    """Attribute → the docstring that stands under it in the class's source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for statement, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and after.value.value
            if isinstance(text, str):
                found[statement.target.id] = text
    return found
