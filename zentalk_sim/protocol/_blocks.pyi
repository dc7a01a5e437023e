"""Blocks of random streams in C, where that is built (see ``zentalk_sim.compiled``); what they are is in streams.py."""

def begun(key: bytes) -> bytes:
    """What the blocks under a key begin with; only for the functions below. Raises ValueError unless 1 to 64 bytes."""

def block(begun: bytes, number: int, name: bytes) -> bytes:
    """A block. Raises OverflowError for a number outside 0..2⁶⁴-1."""

def ids(begun: bytes, number: int, name: bytes) -> str:
    """The four ids of a block, one after the other."""
