"""SHA-256 and its MACs in C, where that is built (see ``zentalk_sim.compiled``); hmac_sha256.py says what they are."""

def begun(key: bytes) -> bytes:
    """What the MACs under a key begin with; only for ``mac``."""

def mac(begun: bytes, text: bytes) -> bytes:
    """The 32 bytes of HMAC-SHA256."""

def sha256(data: bytes) -> bytes:
    """The 32 bytes of SHA-256."""

def sha256_portable(data: bytes) -> bytes:
    """The same without instructions of the processor's own; for tests."""
