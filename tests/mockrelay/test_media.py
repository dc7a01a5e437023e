"""Media over REST: kept as they came, handed back as an attachment that no browser runs, bounded in all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from mockrelay.media import MediaError, MediaStore, MediaTooLarge, read_chunks
from mockrelay.server import MockRelay
from tests.mockrelay.admin_support import controlling
from tests.mockrelay.live_support import PATIENCE_S, run, serving, user_of

PICTURE = bytes(range(256)) * 300


def asking(relay: MockRelay, **headers: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {user_of(relay, 'alice').token}", **headers}
    return httpx.AsyncClient(base_url=relay.http_url, headers=headers, trust_env=False, timeout=PATIENCE_S)


def test_a_raw_body_must_come_back_byte_for_byte_as_an_attachment() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay) as alice:
            kept = await alice.post("/api/v1/upload-media", content=PICTURE, headers={"Content-Type": "image/png"})
            assert kept.status_code == 201
            assert set(kept.json()) == {"id", "url", "bytes"}
            assert kept.json()["bytes"] == len(PICTURE)
            assert kept.json()["url"] == f"{relay.http_url}/api/v1/media/{kept.json()['id']}"
            found = await alice.get(kept.json()["url"])
            assert found.content == PICTURE
            assert found.headers["content-type"] == "application/octet-stream"
            assert found.headers["content-disposition"] == "attachment"
            assert found.headers["x-content-type-options"] == "nosniff"
            assert "sandbox" in found.headers["content-security-policy"]

    run(body())


def test_the_part_named_file_of_a_multipart_body_must_be_kept() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay) as alice:
            tricky = b"\r\n--not-the-boundary\r\n" + PICTURE
            files = {"note": (None, "hello"), "file": ("x.bin", tricky)}
            kept = await alice.post("/api/v1/upload-media", files=files)
            assert kept.status_code == 201
            assert (await alice.get(kept.json()["url"])).content == tricky
            for content, kind in (
                (b"", "multipart/form-data; boundary=x"),
                (b"nothing", "multipart/form-data; boundary=x"),
                (b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\ncut", "multipart/form-data; boundary=x"),
                (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x"),
                (b"--x--", "multipart/form-data"),
            ):
                refused = await alice.post("/api/v1/upload-media", content=content, headers={"Content-Type": kind})
                assert refused.status_code == 400, (content, refused.text)
                assert set(refused.json()) == {"error_code", "message", "details"}

    run(body())


def test_media_must_need_a_token_and_be_the_spaces_own() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay) as alice, controlling(relay) as admin:
            nobody = await alice.post("/api/v1/upload-media", content=b"x", headers={"Authorization": "Bearer x"})
            assert (nobody.status_code, nobody.json()["error_code"]) == (401, "UNAUTHORIZED")
            media_id = (await alice.post("/api/v1/upload-media", content=b"x")).json()["id"]
            assert (await alice.get("/api/v1/media/unknown")).status_code == 404
            assert (await alice.get("/api/v1/media/..%2f..%2fetc%2fpasswd")).status_code == 404
            space = await admin.post("/spaces", {"users": ["alice"]})
            own = {"Authorization": f"Bearer {space['users'][0]['token']}"}
            elsewhere = await alice.get(f"{space['http_url']}/api/v1/media/{media_id}", headers=own)
            assert elsewhere.status_code == 404
            stats = await admin.get("/stats")
            assert (stats["media"], stats["media_bytes"]) == (1, 1)
            journal = await admin.get("/journal")
            assert next(entry["path"] for entry in journal if entry["event"] == "rest") == "/api/v1/upload-media"

    run(body())


def test_a_rule_must_reach_an_upload_too() -> None:
    async def body() -> None:
        async with serving("alice") as relay, asking(relay) as alice, controlling(relay) as admin:
            rule = {"match": {"event": "rest"}, "action": {"do": "error", "error_code": "SERVICE_UNAVAILABLE"}}
            await admin.post("/rules", {**rule, "times": 1})
            assert (await alice.post("/api/v1/upload-media", content=b"x")).status_code == 503
            assert (await alice.post("/api/v1/upload-media", content=b"x")).status_code == 201

    run(body())


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def store(max_bytes: int) -> MediaStore:
    numbers = iter(range(100))
    return MediaStore(lambda: f"m{next(numbers)}", max_bytes)


def test_older_media_must_make_room_and_one_above_the_bound_be_refused() -> None:
    async def body() -> None:
        kept = store(100)
        for _ in range(3):
            await kept.add(chunks(b"a" * 20, b"b" * 20), "")
        assert (kept.count, kept.size_bytes, kept.dropped) == (2, 80, 1)
        assert kept.get("m0") is None
        with pytest.raises(MediaTooLarge):
            await kept.add(chunks(b"c" * 60, b"d" * 60), "")
        last = kept.get("m2")
        folder = Path(last.path).parent if last else Path()
        assert len(list(folder.iterdir())) == kept.count, "what was refused leaves no file"
        kept.close()
        assert not folder.exists()

    run(body())


def test_uploads_at_the_same_time_must_not_exceed_the_bound_together() -> None:
    async def body() -> None:
        kept = store(100)
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield b"a" * 60
            begun.set()
            await go_on.wait()
            yield b"a" * 20

        first = asyncio.ensure_future(kept.add(slow(), ""))
        await begun.wait()
        with pytest.raises(MediaTooLarge):
            await kept.add(chunks(b"b" * 60), "")
        go_on.set()
        _, media = await first
        assert [part async for part in read_chunks(media)] == [b"a" * 80]
        with pytest.raises(MediaError):
            await kept.add(chunks(b"x"), "multipart/form-data; boundary=y")
        assert (kept.count, kept.size_bytes) == (1, 80)
        kept.close()

    run(body())
