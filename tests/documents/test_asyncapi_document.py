"""/asyncapi.json describes the frames that the code has: each type, each direction, with an example and no others."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from mockrelay.cli import cli
from mockrelay.documents.asyncapi import CLOSES, REPLIES, WITHOUT_SEQ, document, message_name, text_of
from mockrelay.documents.examples import CLIENT_EXAMPLES, RELAY_EXAMPLES, binary
from tests.documents.material import session
from zentalk_sim.protocol import codec
from zentalk_sim.protocol.errors import HTTP_STATUS, CloseCode
from zentalk_sim.protocol.frames import BINARY_CODES, CLIENT_FRAMES, RELAY_FRAMES, Payload
from zentalk_sim.protocol.upgrade import PATH

Json = dict[str, Any]
TABLES: tuple[tuple[Any, dict[str, type[Payload]], dict[str, Payload]], ...] = (
    ("client", CLIENT_FRAMES, CLIENT_EXAMPLES),
    ("relay", RELAY_FRAMES, RELAY_EXAMPLES),
)
BINARY = {
    message_name("client" if code < 0x80 else "relay", kind, is_binary=True) for code, kind in BINARY_CODES.items()
}


def test_every_type_of_frame_must_be_a_message_and_every_message_a_type() -> None:
    found = document()
    texts = {message_name(side, kind) for side, table, _ in TABLES for kind in table}
    assert set(found["components"]["messages"]) == texts | BINARY
    assert set(found["channels"]["session"]["messages"]) == texts | BINARY
    assert found["channels"]["session"]["address"] == PATH


def test_every_message_must_be_received_from_clients_or_sent_by_the_relay() -> None:
    found = document()
    actions = {"client": "receive", "relay": "send"}
    sent = {}
    for operation in found["operations"].values():
        (reference,) = operation["messages"]
        name = reference["$ref"].rpartition("/")[2]
        assert operation["action"] == actions[name.partition("_")[0]]
        sent[name] = operation
    assert set(sent) == set(found["components"]["messages"])
    answered = {name for name, operation in sent.items() if "reply" in operation}
    assert {message_name("client", kind) for kind in REPLIES} | {"relay_PING"} == answered - BINARY


@pytest.mark.parametrize("side", ["client", "relay"])
@pytest.mark.requirement("R-1.1")
def test_every_example_must_be_a_frame_that_the_code_takes(side: str) -> None:
    messages = document()["components"]["messages"]
    _, table, examples = next(entry for entry in TABLES if entry[0] == side)
    assert set(examples) == set(table)
    for kind, payload in table.items():
        (example,) = messages[message_name(side, kind)]["examples"]  # type: ignore[arg-type]
        text = json.dumps(example["payload"]).encode()
        incoming = codec.decode_text(text, 16_384)
        assert incoming.type == kind
        read = msgspec.json.decode(incoming.raw_payload, type=payload)
        assert read == examples[kind]
        assert (incoming.seq is None) == (side == "client" or kind in WITHOUT_SEQ)


@pytest.mark.requirement("R-2.1")
@pytest.mark.requirement("R-2.2")
def test_the_binary_frames_must_be_described_as_the_code_writes_them() -> None:
    messages = document()["components"]["messages"]
    for code, kind in BINARY_CODES.items():
        side, table, examples = TABLES[0] if code < 0x80 else TABLES[1]
        message = messages[message_name(side, kind, is_binary=True)]
        data = bytes.fromhex(message["x-example-hex"])
        assert data == binary(kind, examples[kind])
        assert message["x-payload"]["$ref"] == f"#/components/schemas/{table[kind].__name__}"
        layout = {field["field"]: field for field in message["x-layout"]}
        assert layout["type"]["value"] == data[0] == code
        ends = [field["offset"] + field["bytes"] for field in message["x-layout"] if "bytes" in field]
        assert ends == [field["offset"] for field in message["x-layout"][1:]], "without a gap"
        length = int.from_bytes(data[layout["length"]["offset"] : layout["payload"]["offset"]], "big")
        assert len(data) == layout["payload"]["offset"] + length
        assert codec.decode_binary(data).type == kind


@pytest.mark.requirement("R-1.3")
def test_only_what_is_numbered_may_have_a_seq_and_only_clients_a_mac() -> None:
    schemas = document()["components"]["schemas"]
    for side, table, _ in TABLES:
        for kind in table:
            properties = schemas[message_name(side, kind)]["properties"]
            assert ("seq" in properties) == (side == "client" or kind not in ("AUTH_CHALLENGE", "AUTH_FAILED"))
            assert ("message_mac" in properties) == (side == "client")


def test_close_codes_and_error_codes_must_be_those_of_the_code() -> None:
    channel = document()["channels"]["session"]
    assert set(CLOSES) == set(CloseCode)
    assert {one["code"]: one["name"] for one in channel["x-close-codes"]} == {int(c): c.name for c in CloseCode}
    assert {one["code"]: one["http_status"] for one in channel["x-error-codes"]} == HTTP_STATUS
    for code in CloseCode:
        assert f"| {int(code)} |" in channel["description"]


def test_the_connection_must_be_described_with_its_query_headers_and_token() -> None:
    found = document()
    binding = found["channels"]["session"]["bindings"]["ws"]
    assert set(binding["query"]["properties"]) == {"token", "device_id", "protocol_version", "resume_token"}
    assert binding["headers"]["properties"]["Sec-WebSocket-Protocol"]["const"] == "zentalk.v1"
    assert found["components"]["securitySchemes"]["token"]["in"] == "query"


# --- against a running relay -------------------------------------------------------------------------


def test_every_kind_of_frame_must_have_passed_in_the_session() -> None:
    passed = {message_name(frame.side, frame.frame["type"], is_binary=frame.is_binary) for frame in session().frames}
    assert passed == set(document()["components"]["messages"])


def test_no_frame_of_the_relay_may_say_what_the_document_does_not() -> None:
    schemas = document()["components"]["schemas"]
    for side, is_binary, frame in session().frames:
        if side == "client":
            continue
        whole = schemas[message_name("relay", frame["type"])]
        payload = schemas[RELAY_FRAMES[frame["type"]].__name__]
        assert set(frame["payload"]) <= set(payload["properties"]), frame
        assert set(payload.get("required", ())) <= set(frame["payload"]), frame
        if not is_binary:
            numbered = {"seq"} if "seq" in whole["properties"] and frame["type"] != "AUTH_SUCCESS" else set()
            assert set(whole["required"]) | numbered <= set(frame) <= set(whole["properties"]), frame


def test_servers_must_be_where_the_relay_and_its_spaces_are() -> None:
    server = session().asyncapi["servers"]["relay"]
    assert server["protocol"] == "ws"
    assert server["host"].startswith("127.0.0.1:")
    assert "pathname" not in server
    within = session().space_asyncapi["servers"]["relay"]
    assert within["host"] == server["host"]
    assert within["pathname"].startswith("/spaces/")
    assert document("wss://localhost:1/ws/v1")["servers"]["relay"]["protocol"] == "wss"


# --- the commands ------------------------------------------------------------------------------------


def test_the_commands_must_print_the_documents_as_json() -> None:
    for command in ("asyncapi", "openapi"):
        result = CliRunner().invoke(cli, [command])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)[command][:2] == "3."


def test_the_command_must_print_yaml_that_says_the_same() -> None:
    result = CliRunner().invoke(cli, ["asyncapi", "--yaml"])
    assert result.exit_code == 0, result.output
    assert YAML(typ="safe").load(result.stdout) == json.loads(text_of(document()))


def test_the_command_must_take_the_address_of_a_relay() -> None:
    found = json.loads(CliRunner().invoke(cli, ["asyncapi", "--url", "wss://10.0.2.2:8765/ws/v1"]).stdout)
    assert found["servers"]["relay"]["host"] == "10.0.2.2:8765"
    for url in ("http://x", "ws://", "10.0.2.2"):
        result = CliRunner().invoke(cli, ["asyncapi", "--url", url])
        assert result.exit_code == 2
        assert "ws://127.0.0.1:8765/ws/v1" in result.output
