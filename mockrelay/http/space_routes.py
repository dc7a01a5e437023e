"""``/admin/spaces``: isolated relays made and deleted; deletion returns the journal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.clock import MovableClock
from mockrelay.http.bodies import ApiError, answer, converted, read, space_of
from mockrelay.http.relay_routes import merged_config
from mockrelay.http.user_routes import NewUser, register
from mockrelay.spaces import Space, Spaces, TooManySpaces
from zentalk_sim.protocol.errors import SERVICE_UNAVAILABLE, ProtocolError

MAX_USERS = 1_000
"""So many users at once in a new space."""
_MAX_TTL_S = 30 * 86_400.0


class _NewSpace(Struct, forbid_unknown_fields=True):
    seed: int | None = None
    ttl_s: Annotated[float, Meta(gt=0, le=_MAX_TTL_S)] | None = None
    clock: Literal["real", "frozen"] = "real"
    config: dict[str, Any] = {}
    users: list[Any] = []


def _described(space: Space) -> dict[str, Any]:
    return {
        "id": space.id,
        "ws_url": space.ws_url,
        "http_url": space.http_url,
        "seed": space.seed,
        "clock": space.clock.mode,
        "ttl_s": space.ttl_s,
        "idle_s": round(space.idle_s(), 3),
        "users": [person.described() for person in space.people],
    }


class SpaceRoutes:
    """The paths of spaces."""

    def __init__(self, spaces: Spaces, shut_down: Callable[[], None]) -> None:
        self._spaces = spaces
        self._shut_down = shut_down

    def routes(self) -> list[Route]:
        """The paths of this module."""
        return [
            Route("/admin/spaces", self.list_spaces, methods=["GET"]),
            Route("/admin/spaces", self.create, methods=["POST"]),
            Route("/admin/spaces/{id}", self.read_space, methods=["GET"]),
            Route("/admin/spaces/{id}", self.delete, methods=["DELETE"]),
            Route("/admin/shutdown", self.shut_down, methods=["POST"]),
        ]

    def _only_default(self, request: Request) -> None:
        if space_of(request) is not self._spaces.default:
            raise ApiError.not_found("spaces stand side by side: ask for /admin/spaces of the relay itself")

    def _find(self, request: Request) -> Space:
        self._only_default(request)
        found = self._spaces.get(request.path_params["id"])
        if found is None:
            raise ApiError.not_found(f"no space {request.path_params['id'][:100]}")
        return found

    async def list_spaces(self, request: Request) -> Response:
        """All spaces but the default one, oldest first."""
        self._only_default(request)
        return answer(200, [_described(space) for space in self._spaces])

    async def read_space(self, request: Request) -> Response:
        """One space."""
        return answer(200, _described(self._find(request)))

    async def create(self, request: Request) -> Response:
        """A new isolated relay with its users."""
        self._only_default(request)
        asked = await read(request, _NewSpace)
        if len(asked.users) > MAX_USERS:
            raise ApiError.malformed(f"users: at most {MAX_USERS} at once", "users")
        users = [_new_user(entry, f"users.{index}") for index, entry in enumerate(asked.users)]
        config = merged_config(self._spaces.default.initial_config, asked.config, "config")
        clock = MovableClock(scale=0 if asked.clock == "frozen" else 1)
        try:
            space = self._spaces.create(config, seed=asked.seed, clock=clock, ttl_s=asked.ttl_s)
        except TooManySpaces as error:
            limit = error.args[0]
            message = f"at most {limit} spaces; delete one, or wait until one is collected"
            raise ApiError(503, SERVICE_UNAVAILABLE, message, limit=limit) from None
        try:
            for index, user in enumerate(users):
                register(space, user, f"users.{index}", is_initial=True)
        except (ApiError, ProtocolError):
            self._spaces.delete(space)
            raise
        return answer(201, _described(space))

    async def delete(self, request: Request) -> Response:
        """End a space: 1001 to its connections; the answer is its journal."""
        space = self._find(request)
        self._spaces.delete(space)
        return answer(200, [entry.as_json() for entry in space.journal.entries()])

    async def shut_down(self, request: Request) -> Response:
        """Stop the relay in order, once this is answered; within a space: end the space."""
        space = space_of(request)
        if space is self._spaces.default:
            self._shut_down()
        else:
            self._spaces.delete(space)
        return answer(202, {"status": "stopping"})


def _new_user(entry: Any, place: str) -> NewUser:
    if isinstance(entry, str):
        return NewUser(name=entry)
    if not isinstance(entry, dict):
        raise ApiError.malformed(f"{place} must be a name, or an object as for POST /admin/users", place)
    return converted(entry, NewUser, place)
