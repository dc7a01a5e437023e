"""For each check an edit of a good recording that breaks its requirement, and that one only."""

from __future__ import annotations

from tests.checks import breaking_client, breaking_relay, breaking_relay_messages  # noqa: F401  # they fill EDITS
from tests.checks.edits import EDITS

__all__ = ["ALSO", "EDITS"]

ALSO: dict[str, set[str]] = {
    "client.malformed_run": {"client.well_formed"},
    "client.pause_after_limit": {"client.limits"},
    "client.refresh_form": {"relay.refresh_verdict"},
    "relay.close_bytes": {"client.payload_size"},
    "relay.refuses_seq": {"client.seq"},
    "relay.refuses_time": {"client.timestamp"},
    "relay.refuses_mac": {"client.mac"},
    "relay.refuses_nonce": {"client.nonce"},
    "relay.refuses_other_content": {"client.resend_same"},
}
"""What else such a trace shows: a client did what the relay should have refused, or a warning says it more mildly."""
