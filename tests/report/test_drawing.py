"""Pictures drawn with helpers: the same bytes whoever draws, and nothing missing where a helper fails."""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from zentalk_sim.report import drawing_helper
from zentalk_sim.report.drawing import MOST_HELPERS, Asked, Drawers, Picture

FAILING = [sys.executable, "-c", "import sys; sys.stdin.readline()"]


class Album:
    """Pictures that are nothing but their names, and who was asked for them."""

    names = ("a", "b", "c")

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def draw(self, name: str) -> Picture:
        self.drawn.append(name)
        return Picture(name, name.upper(), f"picture {name}", Path(f"{name}.svg"))


def helped(program: str) -> list[str]:
    """A helper that answers each line with what a program says of it."""
    return [
        sys.executable,
        "-c",
        f"import json, sys\nfor line in sys.stdin:\n    asked = json.loads(line)\n    {program}",
    ]


def test_without_helpers_all_is_drawn_here_in_order() -> None:
    album = Album()
    assert [picture.name for picture in Drawers().draw(album, Path())] == album.drawn == ["a", "b", "c"]


def test_pictures_come_in_the_albums_order_whoever_drew_them() -> None:
    album = Album()
    with Drawers(2) as drawers:
        told = "dict(name=asked['name'], title='there', text=asked['folder'], svg='x.svg')"
        drawers.command = helped(f"print(json.dumps({told}), flush=True)")
        drawers.start(5)
        found = drawers.draw(album, Path("folder"))
    assert [picture.name for picture in found] == ["a", "b", "c"]
    there = [picture.name for picture in found if picture.title == "there"]
    assert sorted([*there, *album.drawn]) == ["a", "b", "c"]
    assert drawers.drawn_by_helpers == len(there)
    assert all(picture.text == "folder" and picture.svg == Path("x.svg") for picture in found if picture.name in there)


@pytest.mark.parametrize("command", [FAILING, helped("print('no picture', flush=True)"), helped("sys.exit(1)")])
def test_what_a_helper_fails_at_is_drawn_here(command: list[str]) -> None:
    album = Album()
    with Drawers(2) as drawers:
        drawers.command = command
        drawers.start(2)
        found = drawers.draw(album, Path())
    assert [picture.name for picture in found] == sorted(album.drawn) == ["a", "b", "c"]


def test_a_picture_that_cannot_be_written_is_an_error_here() -> None:
    class Full(Album):
        def draw(self, name: str) -> Picture:
            raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space left"):
        Drawers().draw(Full(), Path())


def test_there_are_never_more_helpers_than_asked_for_or_allowed() -> None:
    with Drawers(MOST_HELPERS + 3) as drawers:
        drawers.command = FAILING
        for count, helpers in ((-2, 0), (0, 0), (2, 2), (1, 2), (9, MOST_HELPERS)):
            drawers.start(count)
            assert len(drawers._helpers) == helpers
    assert drawers._helpers == []


def test_a_helper_must_draw_the_same_bytes_as_this_process(drawn: tuple[Path, list[Picture]], tmp_path: Path) -> None:
    made, pictures = drawn
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)
    wanted = [picture for picture in pictures if picture.name in ("delivery_latency", "causes")]
    for picture in wanted:
        (folder / "plots" / picture.svg.name).unlink()
    asked = [msgspec.json.encode(Asked(str(folder), picture.name)) for picture in wanted]
    replies = io.BytesIO()
    drawing_helper.serve(io.BytesIO(b"\n".join(asked)), replies)
    for picture, line in zip(wanted, replies.getvalue().splitlines(), strict=True):
        told = msgspec.json.decode(line)
        assert (told["name"], told["title"], told["text"]) == (picture.name, picture.title, picture.text)
        assert told["svg"] == str(folder / "plots" / picture.svg.name)
        for suffix in (".svg", ".png"):
            again, before = (Path(svg).with_suffix(suffix).read_bytes() for svg in (told["svg"], picture.svg))
            assert again == before
