"""What goes wrong with a store."""

from __future__ import annotations


class StoreError(Exception):
    """A store that cannot be opened, read or written; the message names file and remedy."""
