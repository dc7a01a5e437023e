"""Where the generator of docs/protocol.md finds its neighbours when it is run as a script; imported before them."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

for _folder in (ROOT, ROOT / "tests" / "protocol", ROOT / "tests" / "requirements"):
    if str(_folder) not in sys.path:
        sys.path.append(str(_folder))
