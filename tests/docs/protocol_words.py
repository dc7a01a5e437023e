"""What the code's tables do not say of themselves: the meaning of fields, limits, codes, settings' scopes.

Each table here is keyed by a name of the code. The tests require that every name of the code is described and that
nothing is described that the code does not have.
"""

from __future__ import annotations

FIELDS: dict[str, str] = {
    "AuthResponse.identity_key": "the Ed25519 public key, raw",
    "AuthResponse.device_id": "as in the URL's query",
    "AuthResponse.signature": "Ed25519 over the 64 bytes of [Authentication](#authentication)",
    "AuthResponse.client_time": "ms; within 5 minutes of the relay's clock",
    "X3dhHeader.identity_key": "the sender's own identity key",
    "X3dhHeader.ephemeral_key": "of the key agreement; the relay passes it on",
    "X3dhHeader.one_time_key_id": "the pre-key of the recipient's that is used up; absent or null where none was left",
    "MessageSend.to": "the recipient; compared without case, passed on in lower case",
    "MessageSend.ciphertext": "any length that fits the frame",
    "MessageSend.nonce": "new for each message of a sender",
    "MessageSend.message_type": "what is in the ciphertext",
    "MessageSend.conversation_id": "if absent, the id derived from the two addresses",
    "MessageSend.x3dh_header": "in messages that begin a session: `identity_key`, `ephemeral_key`, `one_time_key_id`",
    "MessageReceived.message_id": "the envelope `id` of the MESSAGE_NEW",
    "MessageRead.message_id": "the envelope `id` of the MESSAGE_NEW",
    "TypingSignal.conversation_id": "a conversation of which the sender is a member",
    "PresenceSet.status": "holds for the user, on all devices, until set again",
    "Topics.topics": "`presence:<address>`, `typing:<conversation_id>`, `keys:<address>`; at most 100",
    "Pong.timestamp": "the PING's `payload.timestamp`, unchanged",
    "Pong.client_time": "the client's clock, ms",
    "TokenRefresh.session_token": "this session's current token",
    "TokenRefresh.signature": "Ed25519 by the identity key over the token as ASCII",
    "AuthChallenge.challenge": "to be signed; also the salt of the session key",
    "AuthChallenge.server_time": "ms; to be signed. A client learns its clock's offset from it",
    "AuthChallenge.nonce": "not signed, not used",
    "AuthSuccess.session_token": "a JWT; the newest token, for the next connection and for REST",
    "AuthSuccess.expires_at": "ms; the token's `exp` × 1000",
    "AuthSuccess.server_time": "ms",
    "AuthSuccess.session_id": "`sess_` and 12 hex digits; kept by a resumption",
    "AuthSuccess.capabilities": "those of the token presented at the upgrade",
    "AuthSuccess.resume_token": "good for one reconnection of this device",
    "AuthSuccess.resumed": "whether the URL's `resume_token` was taken",
    "AuthFailed.error_code": "`UNAUTHORIZED`",
    "AuthFailed.message": "begins with the step that failed: `token`, `form`, `device_id`, `signature`, `client_time`, "
    "`identity_key`",
    "MessageNew.sender": "the sender's address, in lower case",
    "MessageNew.conversation_id": "as sent, or the derived one",
    "MessageNew.ciphertext": "as sent",
    "MessageNew.nonce": "as sent",
    "MessageNew.message_type": "as sent",
    "MessageNew.timestamp": "ms; the `server_timestamp` of the sender's MESSAGE_ACK",
    "MessageNew.x3dh_header": "as sent, where there was one",
    "MessageAck.message_id": "the envelope `id` of the MESSAGE_SEND",
    "MessageAck.server_timestamp": "ms; when the relay accepted it",
    "MessageAck.status": "`queued`, or `duplicate` for one accepted before",
    "MessageAck.recipient_devices": "how many registered devices got a copy",
    "MessageDelivered.message_id": "the message",
    "MessageDelivered.device_id": "the device that confirmed it",
    "MessageDelivered.timestamp": "ms; when the relay had the confirmation",
    "MessageReadNotice.message_id": "the message",
    "MessageReadNotice.read_by": "the reader's address",
    "MessageReadNotice.timestamp": "ms; when the relay had the first read",
    "TypingUpdate.conversation_id": "the conversation",
    "TypingUpdate.user_id": "the address of the one who types",
    "PresenceUpdate.user_id": "the address of the user",
    "PresenceUpdate.status": "`online`, `away` or `offline`",
    "PresenceUpdate.last_seen": "ms; null for a user never seen; absent when hidden",
    "PresenceUpdate.device_count": "connected devices; absent when hidden",
    "KeyChange.user_id": "the address of the user",
    "KeyChange.new_key": "the identity key that holds now",
    "KeyChange.old_key_fingerprint": "of the key before; the same as the new one for `device_added`",
    "KeyChange.new_key_fingerprint": "of `new_key`",
    "KeyChange.reason": "`device_added`, `key_rotation` (low risk), `reinstall` (medium), `unknown` (high)",
    "KeyChange.verified": "always false: it is for people to compare fingerprints",
    "Ping.timestamp": "ms; to be echoed",
    "Ping.rtt_ms": "the last round trip measured; absent before the first",
    "ErrorPayload.error_code": "see [Errors](#errors)",
    "ErrorPayload.message": "for people",
    "ErrorPayload.request_id": "`req_` and 12 hex digits, for reports",
    "ErrorPayload.details": "for programs: `reason`, `field`, the numbers of a limit",
    "ErrorPayload.original_type": "the type of the frame that this answers, where known",
    "ErrorPayload.original_id": "its id, where known",
    "SyncRequired.reason": "`offline_messages`",
    "SyncRequired.pending_count": "copies in this device's mailbox",
    "SyncRequired.oldest_timestamp": "ms; the oldest copy's `server_timestamp`",
    "SyncRequired.newest_timestamp": "ms; the newest copy's",
    "SyncRequired.since_timestamp": "the same as `oldest_timestamp`",
    "TokenRefreshed.session_token": "the new current token",
    "TokenRefreshed.expires_at": "ms",
    "TokenExpiring.expires_at": "ms",
    "TokenExpiring.seconds_remaining": "0 in the grace period",
    "TokenExpiring.action": "`refresh_recommended`",
}

FRAME_NOTES: dict[str, str] = {
    "AUTH_RESPONSE": "AUTH_SUCCESS or AUTH_FAILED",
    "MESSAGE_SEND": "MESSAGE_ACK",
    "MESSAGE_RECEIVED": "none",
    "MESSAGE_READ": "none",
    "TYPING_START": "none",
    "TYPING_STOP": "none",
    "PRESENCE_SET": "none",
    "SUBSCRIBE": "PRESENCE_UPDATE for each presence topic, else none",
    "UNSUBSCRIBE": "none",
    "PONG": "none",
    "TOKEN_REFRESH": "TOKEN_REFRESHED",
}
"""What answers a client's frame that is accepted; one that is refused is answered with ERROR."""

RELAY_NOTES: dict[str, str] = {
    "AUTH_CHALLENGE": "right after the upgrade",
    "AUTH_SUCCESS": "the answer to the challenge was right",
    "AUTH_FAILED": "it was wrong, or the token was; close 4000 follows",
    "MESSAGE_NEW": "a message was accepted for this device while it is connected",
    "MESSAGE_ACK": "MESSAGE_SEND is stored",
    "MESSAGE_DELIVERED": "one of the recipient's devices confirmed a message of yours",
    "MESSAGE_READ": "the recipient read a message of yours",
    "TYPING_START": "a peer types",
    "TYPING_STOP": "a peer stopped, or 5 s passed",
    "PRESENCE_UPDATE": "subscribed presence changed, or was subscribed to",
    "KEY_CHANGE": "a contact's, or a subscribed user's, key changed or device was added",
    "PING": "every 30 s",
    "ERROR": "a frame was refused",
    "SYNC_REQUIRED": "after AUTH_SUCCESS, if the mailbox holds anything",
    "TOKEN_REFRESHED": "TOKEN_REFRESH was right",
    "TOKEN_EXPIRING": "2 hours before expiry, and once in the grace period",
}

LIMITS: dict[str, tuple[str, str]] = {
    "send_message": ("device", "ERROR; `MESSAGE_SEND` and `POST /api/messages` share it"),
    "typing": ("device and conversation", "TYPING_START is ignored, no ERROR"),
    "presence": ("device", "ERROR"),
    "read_receipt": ("device", "ERROR; a repeated read is not counted"),
    "subscribe": ("device", "ERROR; SUBSCRIBE and UNSUBSCRIBE share it"),
    "connections_per_user": ("user, connected devices", "close 4004 in the place of AUTH_SUCCESS"),
    "connections_per_ip": ("IP, at once", "ERROR, close 4002"),
    "connection_rate": ("device", "ERROR, close 4002"),
    "auth_attempts": ("IP, every AUTH_RESPONSE", "ERROR, close 4002"),
    "token_refresh": ("device, every TOKEN_REFRESH", "ERROR"),
}
"""Limit → (scope, what a refusal looks like)."""

CLOSE_WHEN: dict[int, str] = {
    1000: "the client closed; or `replaced`: the same device connected anew; or `device_removed`",
    1001: "the relay stops in order; or `place_lost`: another node took this one for lost",
    1002: "`auth_timeout`: no AUTH_RESPONSE within 5 s; or a binary frame whose length is wrong",
    1003: "a binary frame of another type code",
    1006: "no closing handshake: three PINGs unanswered, an outbox that overflowed, or the network",
    1007: "a text frame that is not UTF-8",
    1008: "a wrong `message_mac`, or a missing one where `integrity` is `require`; the tenth malformed frame in a row",
    1009: "a frame above 1 MiB",
    1011: "`internal_error`: a fault in the relay",
    4000: "`auth_failed`, after AUTH_FAILED",
    4001: "`token_expired`: the token is past its grace, at the upgrade or at a frame",
    4002: "after ERROR `RATE_LIMITED`: a connection limit (its name is the reason), or 30 refusals in a row",
    4003: "`suspended`: the account, at the upgrade or at once",
    4004: "a sixth connected device, or a 21st registered one",
}

CLOSE_ACTIONS: dict[str, str] = {
    "stop": "stop",
    "backoff": "reconnect with backoff",
    "token": "get a new token, then reconnect",
    "cooldown": "wait `retry_after` of the last RATE_LIMITED, or 60 s; then backoff",
}

ERRORS: dict[str, tuple[str, str]] = {
    "INVALID_MESSAGE": (
        "the form is wrong, or a rule on ids, nonces, times, numbers is broken; `details.reason`",
        "fail",
    ),
    "UNAUTHORIZED": ("a token or a signature is wrong or missing", "fail; over REST get a new token"),
    "FORBIDDEN": ("a capability, a membership, a contact or a window is missing", "fail"),
    "NOT_FOUND": ("no such message, conversation, device, key bundle or path", "fail"),
    "RECIPIENT_NOT_FOUND": ("`to` is not registered", "fail, tell the user"),
    "KEY_MISMATCH": (
        "`x3dh_header` names a pre-key not published or used up, or another identity key than the sender's",
        "fetch the key bundle, send once more",
    ),
    "MISDIRECTED": ("the Host of an HTTP request is not admitted", "correct the URL"),
    "RATE_LIMITED": ("a limit refuses; `details` has its numbers", "wait `retry_after` seconds, send again"),
    "TOO_LARGE": ("a REST body above 1 MiB", "fail"),
    "INTERNAL_ERROR": ("a recoverable fault", "retry with backoff"),
    "SERVICE_UNAVAILABLE": ("the store is away, or the relay is full; nothing was acknowledged", "retry with backoff"),
}
"""Error code → (when, what a client does)."""

REASONS: dict[str, str] = {
    "malformed": "not JSON, not an object, a missing or mistyped field, an unknown enumeration value, a wrong length, "
    "nesting beyond 100 levels; `field` says where",
    "unknown_type": "no frame has this `type`",
    "wrong_direction": "only a relay sends this `type`",
    "payload_requires_binary": "the payload of a text frame exceeds 16 384 bytes; send it as a binary frame",
    "timestamp_out_of_window": "`timestamp` is more than 5 minutes off; `server_time` has the relay's clock",
    "sequence_replayed": "`seq` is not above the last one",
    "duplicate_id": "the `id` names another message",
    "nonce_reused": "the sender used this nonce for another message within 24 h",
    "too_many_topics": "more than 100 topics in a frame, or 1000 in a session",
    "outside_refresh_window": "(of FORBIDDEN) TOKEN_REFRESH came too early; `opens_at` says when the window opens",
}

RELAY_EDGES: tuple[tuple[str, str, str], ...] = (
    ("[*]", "challenged", "upgrade accepted, AUTH_CHALLENGE sent"),
    ("challenged", "ready", "right AUTH_RESPONSE, AUTH_SUCCESS sent"),
    ("challenged", "ended", "AUTH_FAILED and 4000, 1002 after 5 s, 4002, 4003, 4004"),
    ("ready", "ended", "any close, three missed PINGs, transport lost"),
    ("ended", "[*]", "transport gone"),
)
"""The relay's view of a connection: from, to, why."""

EVENTS: dict[str, str] = {
    "connect": "connect() or backoff over",
    "opened": "WebSocket open",
    "authenticated": "AUTH_SUCCESS",
    "lost": "time-out, error, close to recover from",
    "stopped": "close to stop on",
    "close": "close()",
    "closed": "closed, or 2 s",
}
"""The events of the client's table, in words."""
