"""JSON Schemas of msgspec types as the documents need them: named components, patterns as ECMA-262 has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

REF_TEMPLATE: Final = "#/components/schemas/{name}"
_PREFIX: Final = REF_TEMPLATE.removesuffix("{name}")
Schema = dict[str, Any]

NAMES: Final = {
    "_Post": "MessagePost",
    "_Acknowledge": "Acknowledgement",
    "_RegisterDevice": "DeviceRegistration",
    "_PublishKeys": "KeyPublication",
    "_SignedPreKey": "SignedPreKey",
    "_OneTimeKey": "OneTimeKey",
    "_Settings": "SettingsChange",
    "_TokenRequest": "TokenRequest",
    "_Change": "UserChange",
    "_Rotate": "KeyRotation",
    "_Contact": "NewContact",
    "_Token": "TokenOrder",
    "_End": "ConnectionEnd",
    "_Send": "FrameToSend",
    "_Message": "MessageOrder",
    "_Record": "RecordingOrder",
    "_NewSpace": "NewSpace",
    "_Advance": "ClockAdvance",
    "_Freeze": "ClockSwitch",
    "_Scale": "ClockScale",
}
"""Type → its name in the documents, where that is another."""


def schemas_of(types: Iterable[Any]) -> tuple[list[Schema], dict[str, Schema]]:
    """A schema for each type, in their order, and the components that these refer to, by name.

    Raises ValueError where two components would have one name.
    """
    wanted = list(types)
    found, components = msgspec.json.schema_components(wanted, ref_template=REF_TEMPLATE)
    named: dict[str, Schema] = {}
    for name, schema in sorted(components.items(), key=lambda item: public_name(item[0])):
        if public_name(name) in named:
            raise ValueError(f"two types would be {public_name(name)} in the documents; NAMES tells them apart")
        named[public_name(name)] = _mended(schema)
        named[public_name(name)].pop("title", None)
    return [_mended(schema) for schema in found], named


def public_name(name: str) -> str:
    """A type's name in the documents."""
    return NAMES.get(name, name.lstrip("_"))


def _mended(node: Any) -> Any:
    """A schema with what msgspec says otherwise than JSON Schema would have it, all the way down."""
    if isinstance(node, list):
        return [_mended(item) for item in node]
    if not isinstance(node, dict):
        return node
    mended = {key: _mended(value) for key, value in node.items()}
    if isinstance(mended.get("pattern"), str):
        # The end of the text, which Python alone calls \Z.
        mended["pattern"] = mended["pattern"].replace("\\Z", "$")
    if isinstance(mended.get("description"), str):
        mended["description"] = prose(mended["description"])
    if isinstance(mended.get("$ref"), str):
        mended["$ref"] = _PREFIX + public_name(mended["$ref"].removeprefix(_PREFIX))
    mapping = mended.get("discriminator", {}).get("mapping") if isinstance(mended.get("discriminator"), dict) else None
    if isinstance(mapping, dict):
        mended["discriminator"]["mapping"] = {
            key: _PREFIX + public_name(value.removeprefix(_PREFIX)) for key, value in mapping.items()
        }
    return mended


def prose(text: str) -> str:
    """A docstring as CommonMark: its code in single backticks, its lines joined."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs).replace("``", "`")
