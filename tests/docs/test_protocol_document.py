"""docs/protocol.md says what the code does: generated parts are current, every example decodes, every name exists."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from catalogue import RULINGS
from protocol_document import BLOCK, COMMAND, DOCUMENT, ELISION, ROOT, TABLES, Document
from protocol_rulings import RULING_CODE
from protocol_story import Examples, compact, play
from protocol_tables import payload_type, resolve, slug
from protocol_words import (
    CLOSE_ACTIONS,
    CLOSE_WHEN,
    ERRORS,
    EVENTS,
    FIELDS,
    FRAME_NOTES,
    LIMITS,
    REASONS,
    RELAY_NOTES,
)

from zentalk_sim.protocol import client_state, close_policy, codec, config, errors, frames, rest
from zentalk_sim.protocol.crypto import Ed25519
from zentalk_sim.protocol.identity import auth_signed_data

TEXT = DOCUMENT.read_text(encoding="utf-8")
FENCE = re.compile(r"(?ms)^```(\w*)\n(.*?)^```$")


@pytest.fixture(scope="module")
def story() -> Examples:
    return play()


def json_blocks(text: str) -> list[Any]:
    return [json.loads(body) for language, body in FENCE.findall(text) if language == "json"]


def is_frame(value: Any) -> bool:
    return isinstance(value, dict) and {"type", "id", "timestamp", "payload"} <= value.keys()


def frames_by_direction() -> list[tuple[str, dict[str, Any]]]:
    """Every frame of the document, with the direction that its block names."""
    found = []
    for block in BLOCK.finditer(TEXT):
        kind, _, rest_of_name = block["name"].partition(" ")
        if kind in ("frame", "example"):
            found += [(rest_of_name.partition(" ")[0], frame) for frame in json_blocks(block["text"])]
    return found


# --- the generated parts


def test_the_generated_parts_must_be_up_to_date(story: Examples) -> None:
    renewed = Document(story).renewed(TEXT)
    for old, new in zip(BLOCK.finditer(TEXT), BLOCK.finditer(renewed), strict=True):
        assert old["text"] == new["text"], f"docs/protocol.md, part {old['name']!r} is out of date; run: {COMMAND}"
    assert renewed == TEXT


def test_the_story_must_be_the_same_every_time(story: Examples) -> None:
    assert play() == story


def test_every_table_must_stand_in_the_document() -> None:
    names = [block["name"] for block in BLOCK.finditer(TEXT)]
    assert len(names) == len(set(names)), "a part stands twice"
    assert set(TABLES) <= set(names)
    wanted = {f"frame client {kind}" for kind in frames.CLIENT_FRAMES}
    wanted |= {f"frame relay {kind}" for kind in frames.RELAY_FRAMES}
    assert wanted <= set(names), f"no section for {sorted(wanted - set(names))}"
    assert TEXT.count("<!-- generated:") == len(names) == TEXT.count("<!-- end -->"), "a marker has no counterpart"


def test_an_altered_part_must_be_noticed(story: Examples) -> None:
    altered = TEXT.replace("| `send_message` | 60 |", "| `send_message` | 61 |")
    assert altered != TEXT
    assert Document(story).renewed(altered) == TEXT


# --- words for every name of the code, and for no other


def names_of_fields() -> set[str]:
    payloads: set[type[frames.Payload]] = {
        *frames.CLIENT_FRAMES.values(),
        *frames.RELAY_FRAMES.values(),
        frames.X3dhHeader,
    }
    return {f"{payload.__name__}.{name}" for payload in payloads for name in payload.__struct_fields__}


REASON_NAMES = {
    value for name, value in vars(errors).items() if name.isupper() and isinstance(value, str) and value.islower()
}


@pytest.mark.parametrize(
    ("described", "names"),
    [
        (FIELDS, names_of_fields()),
        (FRAME_NOTES, set(frames.CLIENT_FRAMES)),
        (RELAY_NOTES, set(frames.RELAY_FRAMES)),
        (LIMITS, set(config.Limits.__struct_fields__)),
        (CLOSE_WHEN, {int(code) for code in errors.CloseCode}),
        (CLOSE_ACTIONS, set(get_args(close_policy.CloseAction))),
        (ERRORS, set(errors.HTTP_STATUS)),
        (REASONS, REASON_NAMES),
        (EVENTS, set(get_args(client_state.Event))),
        (RULING_CODE, set(RULINGS)),
    ],
    ids=[
        "fields",
        "client frames",
        "relay frames",
        "limits",
        "closes",
        "actions",
        "errors",
        "reasons",
        "events",
        "rulings",
    ],
)
def test_every_name_of_the_code_and_no_other_must_be_described(described: dict[Any, Any], names: set[Any]) -> None:
    assert set(described) == names


def test_every_close_reason_named_must_be_said_by_the_code() -> None:
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "zentalk_sim" / "protocol").glob("*.py"))
    named = {name for text in CLOSE_WHEN.values() for name in re.findall(r"`([a-z_]+)`", text)}
    strangers = {name for name in named if f'"{name}"' not in sources} - {"integrity", "message_mac", "retry_after"}
    assert strangers == set()


# --- the examples


def test_every_frame_must_decode_in_its_direction() -> None:
    found = frames_by_direction()
    assert len(found) >= len(frames.CLIENT_FRAMES) + len(frames.RELAY_FRAMES)
    for direction, frame in found:
        incoming = codec.decode_text(compact(frame).encode(), config.FrameConfig().max_text_payload_bytes)
        payload = codec.decode_payload(payload_type(direction, frame["type"]), incoming.raw_payload or b"")
        assert json.loads(codec.encode_payload(payload)) == frame["payload"], f"{frame['type']}: a field of no use"


def test_a_frame_outside_the_generated_parts_must_not_stand() -> None:
    outside = BLOCK.sub("", TEXT)
    assert not [value for value in json_blocks(outside) if is_frame(value)], "frames come from the story, not by hand"


@pytest.mark.requirement("R-5.1", "R-5.2")
def test_the_macs_shown_must_verify_with_nothing_but_the_document() -> None:
    by_type = {(way, frame["type"]): frame["payload"] for way, frame in frames_by_direction()}
    challenge = b64decode(by_type["relay", "AUTH_CHALLENGE"]["challenge"])
    key = Ed25519().session_key(by_type["relay", "AUTH_SUCCESS"]["session_token"], challenge)
    verified = 0
    for direction, frame in frames_by_direction():
        if direction == "client" and "message_mac" in frame and ELISION not in compact(frame):
            raw = compact(frame["payload"]).encode()
            mac = Ed25519().message_mac(key, frame["type"], frame["id"], frame["timestamp"], raw)
            assert b64decode(frame["message_mac"]) == mac, frame["type"]
            verified += 1
    assert verified >= 9


@pytest.mark.requirement("R-4.1")
def test_the_answer_shown_must_verify_over_the_challenge_shown() -> None:
    by_type = {(way, frame["type"]): frame["payload"] for way, frame in frames_by_direction()}
    challenge, answer = by_type["relay", "AUTH_CHALLENGE"], by_type["client", "AUTH_RESPONSE"]
    signed = auth_signed_data(
        b64decode(challenge["challenge"]), challenge["server_time"], answer["device_id"], answer["client_time"]
    )
    assert Ed25519().verify(b64decode(answer["identity_key"]), signed, b64decode(answer["signature"]))
    assert signed.hex() in re.sub(r"\s", "", TEXT)


def test_every_rest_path_must_have_an_example_that_the_core_answers_with_success(story: Examples) -> None:
    shown = {
        name.removeprefix("rest ") for name in (b["name"] for b in BLOCK.finditer(TEXT)) if name.startswith("rest ")
    }
    assert shown == set(story.rest), "an exchange of the story is not shown, or one shown is not played"
    for method, pattern, _, _ in rest.ROUTES:
        good = [
            example
            for example in story.rest.values()
            if example.method == method and pattern.fullmatch(example.target.partition("?")[0]) and example.status < 300
        ]
        assert good, f"no example of {method} {pattern.pattern}"
    assert story.rest["token"].status == 200
    assert {e.status for e in story.rest.values()} >= {200, 201, 204, 400, 401, 404, 405, 429}


# --- links and rulings


def test_links_within_and_between_documents_must_lead_somewhere() -> None:
    outside = FENCE.sub("", TEXT)
    anchors = {slug(re.sub(r"[`*]", "", heading)) for heading in re.findall(r"(?m)^#+ (.+)$", outside)}
    for target in re.findall(r"\]\(([^)]+)\)", outside):
        if target.startswith("#"):
            assert target[1:] in anchors, f"no heading {target}"
        elif not target.startswith("http"):
            assert (DOCUMENT.parent / target.partition("#")[0]).exists(), f"no file {target}"


@pytest.mark.parametrize("number", list(RULINGS))
def test_a_ruling_must_be_explained_and_its_code_exist(number: str) -> None:
    prose = BLOCK.sub("", TEXT)
    assert re.search(rf"\b{re.escape(number)}\b", prose), f"{number} is named in no section of docs/protocol.md"
    for name in RULING_CODE[number].split():
        file, _ = resolve(name)
        path = ROOT / file
        assert path.exists() or (path.with_suffix("") / "__init__.py").exists(), name


def test_the_readme_of_the_documents_must_name_each_in_one_line() -> None:
    docs = DOCUMENT.parent
    named = re.findall(r"(?m)^- \[[^\]]+\]\(([^)]+)\): \S", (docs / "README.md").read_text(encoding="utf-8"))
    assert sorted(named) == sorted(path.name for path in docs.glob("*.md") if path.name != "README.md")


def test_no_line_outside_of_tables_and_code_must_be_too_long() -> None:
    for path in (DOCUMENT, Path(DOCUMENT.parent / "README.md")):
        prose = FENCE.sub("", BLOCK.sub("", path.read_text(encoding="utf-8")))
        long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")]
        assert long == []


def test_examples_must_hold_no_field_that_the_codec_would_not_send(story: Examples) -> None:
    for frame in story.relay.values():
        assert {"type", "id", "timestamp", "payload"} <= frame.keys() <= set(frames.Frame.__struct_fields__)
        assert msgspec.json.decode(msgspec.json.encode(frame)) == frame
