"""What a file may mean and seldom does: settings that take each other's effect away. Each is a note, no fault.

What can never be meant is a fault, told by `consistency`.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from zentalk_sim.experiment.schema import Experiment
from zentalk_sim.files.units import format_duration, format_size
from zentalk_sim.protocol.config import Ceiling, FrameConfig, Limit, Limits
from zentalk_sim.protocol.frame_sizes import BINARY_HEADER_BYTES, frame_size, payload_size
from zentalk_sim.protocol.frames import AuthResponse, Frame, MessageSend, Payload

_SPECIFIED: Final = Limits()
_ID: Final = str(UUID(int=0))
_NOW_MS: Final = 1_000_000_000_000
_SECOND_US: Final = 1_000_000


def doubts(experiment: Experiment) -> list[str]:
    """A sentence for each, for whoever runs the experiment; none of most files."""
    return [*_of_token(experiment), *_of_limits(experiment), *_of_frames(experiment)]


def _of_token(experiment: Experiment) -> list[str]:
    token = experiment.relay.token
    if token.refresh_window_s <= token.lifetime_s:
        return []
    lives, window = (format_duration(s * _SECOND_US) for s in (token.lifetime_s, token.refresh_window_s))
    return [
        f"`relay.token`: its `lifetime`, {lives}, is shorter than its `refresh_window`, {window}: clients are told to "
        "refresh a token as soon as they have it."
    ]


def _of_limits(experiment: Experiment) -> list[str]:
    found = []
    limits = experiment.relay.limits
    for name in limits.__struct_fields__:
        limit, specified = getattr(limits, name), getattr(_SPECIFIED, name)
        if not isinstance(limit, Limit) or limit.burst is None or limit.burst <= limit.limit:
            continue
        # A file that changes the limit alone keeps the burst that is specified, and says nothing of it.
        if not isinstance(specified, Limit) or limit.burst != specified.burst:
            window = format_duration(limit.window_s * _SECOND_US)
            found.append(
                f"`relay.limits.{name}`: a `burst` of {limit.burst:,} is never reached, since no more than "
                f"{limit.limit:,} are admitted in {window}."
            )
    each = experiment.population.devices_per_user
    most = each if isinstance(each, int) else max((n for n, weight in enumerate(each, 1) if weight), default=0)
    most = min(most, experiment.population.devices)
    ceiling = limits.connections_per_user
    if isinstance(ceiling, Ceiling) and most > ceiling.limit:
        found.append(
            f"`population.devices_per_user`: a user with {most} devices has {most - ceiling.limit} that cannot connect "
            f"beside the others (4004): `relay.limits.connections_per_user` is {ceiling.limit}."
        )
    return found


def _of_frames(experiment: Experiment) -> list[str]:
    """Clients go by the specification's sizes; the file's relay may take less."""
    limits, specified = experiment.relay.frames, FrameConfig()
    answer = AuthResponse(bytes(32), _ID, bytes(64), _NOW_MS)
    if _refused(answer, 0, limits) is not None:
        return ["`relay.frames`: not even AUTH_RESPONSE fits, so that no device is ever connected."]
    bare = MessageSend(to="0x" + "0" * 40, ciphertext=b"", nonce=bytes(12), message_type="text")
    largest = experiment.workload.messages.size.largest_bytes
    more = (largest + 2) // 3 * 4
    refused = _refused(bare, more, limits, specified.max_text_payload_bytes)
    if refused is None or not _messages(experiment):
        return []
    return [f"`workload.messages.size` reaches {format_size(largest)}, and {refused}."]


def _refused(payload: Payload, more: int, limits: FrameConfig, binary_above: int = 1 << 62) -> str | None:
    """What a relay does about a client's frame with this payload and ``more`` bytes; None where it takes it."""
    size = payload_size(payload) + more
    kind = "AUTH_RESPONSE" if isinstance(payload, AuthResponse) else "MESSAGE_SEND"
    is_binary = size > binary_above
    mac, seq = (None, None) if isinstance(payload, AuthResponse) else (bytes(32), 1_000)
    whole = BINARY_HEADER_BYTES + size if is_binary else frame_size(Frame(kind, _ID, _NOW_MS, payload, mac, seq)) + more
    if whole > limits.max_bytes:
        most = format_size(limits.max_bytes)
        return f"the relay closes a connection that brings a frame above `relay.frames.max`, {most} (1009)"
    if not is_binary and size > limits.max_text_payload_bytes:
        most = format_size(limits.max_text_payload_bytes)
        return f"the relay refuses text frames with a payload above `relay.frames.max_text_payload`, {most}"
    return None


def _messages(experiment: Experiment) -> bool:
    messages = experiment.workload.messages
    return messages.interval is not None or bool(messages.rate_per_device_per_min)
