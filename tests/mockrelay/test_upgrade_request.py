"""Upgrade requests: whoever reads a head, what comes out is the same."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from mockrelay.upgrade_request import Asked, read_by_library, read_plain, read_request

GOOD = (
    b"GET /ws/v1?token=a.b&device_id=c HTTP/1.1\r\nHost: localhost:8765\r\nUpgrade: websocket\r\n"
    b"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version:13\r\nUser-Agent:  a (b; c)  \r\n\r\n"
)
pieces = st.one_of(
    st.sampled_from(
        [b"GET", b"POST", b" ", b"  ", b"/ws/v1", b"HTTP/1.1", b"HTTP/1.0", b":", b": ", b"\t", b"\r", b"\n"]
    ),
    st.sampled_from(
        [b"Host", b"host", b"Content-Length", b"Transfer-Encoding", b"X_Y", b"a", b"-", b"0", b"\xe9", b"\x00"]
    ),
    st.binary(max_size=4),
)
lines = st.one_of(
    st.sampled_from(
        [b"Host: a", b"host: b", b"Upgrade: websocket", b"Content-Length: 0", b"Content-Length: 1", b"X:", b""]
    ),
    st.lists(pieces, max_size=5).map(b"".join),
)
firsts = st.one_of(st.sampled_from([b"GET /ws/v1 HTTP/1.1", b"GET  HTTP/1.1", b"GET /\x7f HTTP/1.1"]), lines)


def test_a_plain_upgrade_is_read_without_the_library() -> None:
    found = read_plain(GOOD)
    assert found == read_by_library(GOOD) == read_request(GOOD)
    assert found == Asked(
        "GET",
        "/ws/v1?token=a.b&device_id=c",
        "HTTP/1.1",
        {
            "host": "localhost:8765",
            "upgrade": "websocket",
            "connection": "keep-alive, Upgrade",
            "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
            "sec-websocket-version": "13",
            "user-agent": "a (b; c)",
        },
    )


@given(firsts, st.lists(lines, max_size=6))
@example(b"GET / HTTP/1.1", [b"Host: a", b"Host: b"])
@example(b"GET / HTTP/1.1", [b"A: b", b" folded: c"])
@example(b"GET / HTTP/1.1", [b"A: b\nB: c"])
@example(b"GET / HTTP/1.1", [b"A: \xe9"])
@example(b"GET / HTTP/1.1", [b"X-%d: y" % number for number in range(130)])
def test_what_is_read_plainly_must_be_what_the_library_reads(first: bytes, others: list[bytes]) -> None:
    head = b"\r\n".join([first, *others])
    # What ends the head stands nowhere before it: the connection has cut it there.
    head = head.split(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n\r\n"
    found = read_plain(head)
    assert found is None or found == read_by_library(head)
    assert read_request(head) == read_by_library(head)
