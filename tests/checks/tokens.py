"""Tokens whose claims can be read; nothing here looks at a signature."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode


def token_for(user: str, device: str) -> str:
    claims = json.dumps({"sub": user, "device_id": device, "exp": 4_000_000_000}).encode()
    return "e30." + urlsafe_b64encode(claims).decode().rstrip("=") + ".x"
