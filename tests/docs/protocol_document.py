"""Renews the generated parts of docs/protocol.md: tables from the code, examples from a story played on the core.

python tests/docs/protocol_document.py

A generated part stands between ``<!-- generated: name -->`` and ``<!-- end -->``; the rest of the document is
written by hand. ``name`` is a key of ``TABLES``, or ``frame DIRECTION TYPE``, ``example DIRECTION NAME``,
``rest NAME``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from textwrap import wrap
from typing import Any

import protocol_paths
import protocol_tables as tables
from protocol_story import Examples, Exchange, play
from protocol_tables import slug

ROOT = protocol_paths.ROOT
DOCUMENT = ROOT / "docs" / "protocol.md"
COMMAND = "python tests/docs/protocol_document.py"
BLOCK = re.compile(r"(?m)^<!-- generated: (?P<name>[^\n]*?) -->\n(?P<text>.*?)^<!-- end -->$", re.DOTALL)
ELISION = "…"
_LONG_TOKEN = 100

TABLES: dict[str, Callable[[], str]] = {
    "client frames": tables.client_frames,
    "relay frames": tables.relay_frames,
    "binary codes": tables.binary_codes,
    "client states": tables.client_states,
    "relay states": tables.relay_states,
    "close codes": tables.close_codes,
    "error codes": tables.error_codes,
    "reasons": tables.reasons,
    "limits": tables.limits,
    "settings": tables.settings,
    "routes": tables.routes,
    "rulings": tables.rulings,
}


def shown(value: Any, *, whole: bool = False) -> str:
    """JSON to read, tokens cut short unless ``whole``."""
    return json.dumps(value if whole else _cut(value), indent=2, ensure_ascii=False)


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _cut(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner) for inner in value]
    if isinstance(value, str) and value.startswith("eyJ") and len(value) > _LONG_TOKEN:
        return value[:16] + ELISION
    return value


def fenced(language: str, text: str) -> str:
    """A fenced block."""
    return f"```{language}\n{text}\n```"


class Document:
    """The generated parts by name."""

    def __init__(self, examples: Examples | None = None) -> None:
        self.examples = examples or play()

    def block(self, name: str, text: str) -> str:
        """What stands in the block of that name; ``text`` is the whole document. Raises KeyError if unknown."""
        if name == "contents":
            return contents(text)
        if name in TABLES:
            return TABLES[name]()
        kind, _, rest = name.partition(" ")
        match kind:
            case "frame":
                direction, _, frame = rest.partition(" ")
                return f"{self.fields(direction, frame)}\n\n{self.example(direction, frame)}"
            case "example":
                return self.example(*rest.split(" ", 1))
            case "rest":
                return exchange(self.examples.rest[rest])
            case "bytes":
                return _BYTES[rest](self.examples)
        raise KeyError(name)

    def fields(self, direction: str, kind: str) -> str:
        """The table of a frame's payload."""
        return tables.fields_of(tables.payload_type(direction, kind))

    def example(self, direction: str, name: str) -> str:
        """A frame as it went over the wire, indented."""
        frame = (self.examples.client if direction == "client" else self.examples.relay)[name]
        return fenced("json", shown(frame, whole=name == "AUTH_SUCCESS"))

    def renewed(self, text: str) -> str:
        """The document with every generated part made anew."""
        return BLOCK.sub(
            lambda found: f"<!-- generated: {found['name']} -->\n{self.block(found['name'], text)}\n<!-- end -->",
            text,
        )


def contents(text: str) -> str:
    """The table of contents, from the headings of the second and third level outside of code."""
    outside = re.sub(r"(?ms)^```.*?^```", "", text)
    lines = []
    for marks, heading in re.findall(r"(?m)^(##{1,2}) (.+)$", outside):
        if heading == "Contents":
            continue
        plain = re.sub(r"[`*]", "", heading)
        lines.append(f"{'  ' * (len(marks) - 2)}- [{plain}](#{slug(plain)})")
    return "\n".join(lines)


def exchange(example: Exchange) -> str:
    """A request as HTTP, and its answer."""
    lines = [f"{example.method} {example.target} HTTP/1.1"]
    if example.bearer:
        lines.append("Authorization: Bearer <token>")
    if example.body is not None:
        lines += ["Content-Type: application/json", "", shown(example.body)]
    parts = [fenced("http", "\n".join(lines)), ""]
    extra = "".join(f", `{name}: {value}`" for name, value in example.headers)
    parts.append(f"answers **{example.status}**{extra}" + (":" if example.answer is not None else " without a body."))
    if example.answer is not None:
        parts += ["", fenced("json", shown(example.answer))]
    return "\n".join(parts)


# --- bytes worked out --------------------------------------------------------------------------------


def _rows(*rows: tuple[str, str]) -> str:
    width = max(len(name) for name, _ in rows)
    lines = []
    for name, value in rows:
        first, *rest = wrap(value, 96, break_on_hyphens=False, drop_whitespace=False) or [""]
        lines += [f"{name:<{width}}  {first}", *(f"{'':<{width}}  {more}" for more in rest)]
    return fenced("text", "\n".join(lines))


def _auth_bytes(examples: Examples) -> str:
    values = examples.values
    return _rows(
        ("secret key (seed)", values["secret"]),
        ("public key", values["identity_key"]),
        ("challenge, 32 bytes", values["challenge"]),
        ("server_time, 8", values["server_time"]),
        ("device_id, 16", values["device_bytes"]),
        ("client_time, 8", values["client_time"]),
        ("signed_data, 64", values["signed_data"]),
    )


def _token_bytes(examples: Examples) -> str:
    return _rows(("signed, 40 bytes", examples.values["token_signed"]))


def _mac_bytes(examples: Examples) -> str:
    values = examples.values
    return _rows(
        ("session_key", values["session_key"]), ("MAC input", values["mac_over"]), ("message_mac", values["mac"])
    )


def _binary_bytes(examples: Examples) -> str:
    sent, got = examples.values["binary_sent"], examples.values["binary_got"]
    rows = [("", "type  id                                timestamp         length")]
    for way, head in (("client → relay", sent), ("relay → client", got)):
        rows.append((way, f"{head[:2]:<6}{head[2:34]}  {head[34:50]}  {head[50:]}"))
    rows.append(("its payload", examples.values["binary_sent_start"] + ELISION))
    return _rows(*rows)


def _people(examples: Examples) -> str:
    values = examples.values
    return _rows(
        ("alice", values["alice"]),
        ("bob", values["bob"]),
        ("their conversation", values["conversation"]),
        ("alice's device", values["device_id"]),
    )


def _claims(examples: Examples) -> str:
    return fenced("text", f"header  {json.dumps(examples.token_header)}\nclaims  {shown(examples.claims)}")


def _refusal(examples: Examples) -> str:
    return f"answers **{examples.refusal_status}**:\n\n" + fenced("json", shown(examples.refusal))


_BYTES: dict[str, Callable[[Examples], str]] = {
    "auth": _auth_bytes,
    "token": _token_bytes,
    "mac": _mac_bytes,
    "binary": _binary_bytes,
    "people": _people,
    "claims": _claims,
    "refusal": _refusal,
}


def main() -> None:
    """Renew the document in place."""
    text = DOCUMENT.read_text(encoding="utf-8")
    renewed = Document().renewed(text)
    DOCUMENT.write_text(renewed, encoding="utf-8")
    print(f"{DOCUMENT.relative_to(ROOT)} is up to date" if renewed == text else f"renewed {DOCUMENT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
