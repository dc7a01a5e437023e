"""``/admin/bots``: somebody to talk to, made and taken away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.bots import BotError, bots_of
from mockrelay.http.bodies import ApiError, answer, read
from mockrelay.people import MAX_NAME_CHARACTERS

if TYPE_CHECKING:
    from mockrelay.space import Space

_MAX_URL_CHARACTERS: Final = 2000


class NewBot(Struct, forbid_unknown_fields=True):
    """A bot to make."""

    kind: Literal["echo", "reader", "typist", "flaky", "webhook"]
    user: str | None = None
    url: str | None = None


def _check(asked: NewBot) -> None:
    name = asked.user
    if name is not None and not (name.strip() and len(name) <= MAX_NAME_CHARACTERS and name.isprintable()):
        raise ApiError.malformed(f"a name has 1 to {MAX_NAME_CHARACTERS} printable characters", "user")
    if asked.url is None:
        return
    try:
        parts = urlsplit(asked.url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_url = False
    if not is_url or len(asked.url) > _MAX_URL_CHARACTERS or not asked.url.isascii() or not asked.url.isprintable():
        raise ApiError.malformed("url must be an http:// or https:// URL, such as http://127.0.0.1:9000/hook", "url")
    if parts.username is not None or parts.password is not None:
        raise ApiError.malformed("url may hold no user name or password", "url")


def routes(space_of: Callable[[Request], Space]) -> list[Route]:
    """The routes, for the space that a request is about."""

    async def list_bots(request: Request) -> Response:
        """The bots, oldest first."""
        return answer(200, [bot.described() for bot in bots_of(space_of(request))])

    async def add(request: Request) -> Response:
        """Make a bot; it connects at once."""
        space = space_of(request)
        asked = await read(request, NewBot)
        _check(asked)
        try:
            bot = bots_of(space).add(asked.kind, user=asked.user, url=asked.url)
        except BotError as error:
            if error.is_missing:
                raise ApiError.not_found(str(error)) from None
            raise ApiError.malformed(str(error), error.field) from None
        space.journal.control("add_bot", bot=bot.id, kind=bot.kind, user=bot.person.address)
        return answer(201, bot.described())

    async def remove(request: Request) -> Response:
        """End a bot: it closes with 1000. Its user stays."""
        space = space_of(request)
        bot_id = request.path_params["id"]
        bot = bots_of(space).find(bot_id)
        if bot is None:
            raise ApiError.not_found(f"no bot {bot_id[:80]}")
        bot.stop()
        space.journal.control("remove_bot", bot=bot.id)
        return answer(200, bot.described())

    return [
        Route("/admin/bots", list_bots, methods=["GET"]),
        Route("/admin/bots", add, methods=["POST"]),
        Route("/admin/bots/{id}", remove, methods=["DELETE"]),
    ]
