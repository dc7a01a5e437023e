"""``/admin/rules``: the fault rules of a space, listed in their order, appended, taken out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mockrelay.fault_engine import FaultEngine
from mockrelay.http.bodies import ApiError, answer, read_json
from mockrelay.http.journal_routes import rule_faults
from mockrelay.journal import Journal
from zentalk_sim.faults import RuleFaults

MAX_RULES = 1000


class Faulty(Protocol):
    """What these routes need of a space."""

    @property
    def faults(self) -> FaultEngine:
        """Its rules."""
        ...

    @property
    def journal(self) -> Journal:
        """Its journal."""
        ...


def routes(space_of: Callable[[Request], Faulty]) -> list[Route]:
    """The routes, for the space that a request is about."""

    async def list_rules(request: Request) -> Response:
        """The rules, first to last, with how often each has matched and fired."""
        return answer(200, space_of(request).faults.rules.listing())

    async def add(request: Request) -> Response:
        """Append a rule, or a list of them: all or, where one has a fault, none."""
        space = space_of(request)
        body = await read_json(request)
        coming = len(body) if isinstance(body, list) else 1
        if len(space.faults.rules) + coming > MAX_RULES:
            raise ApiError.malformed(f"a space has at most {MAX_RULES} rules; DELETE /admin/rules takes them out")
        try:
            added = space.faults.add_rules(body) if isinstance(body, list) else [space.faults.add_rule(body)]
        except RuleFaults as error:
            raise rule_faults(error) from None
        ids = [rule.id for rule in added]
        space.journal.control("rules_added", rules=ids)
        shown = [rule for rule in space.faults.rules.listing() if rule["id"] in ids]
        return answer(201, shown if isinstance(body, list) else shown[0])

    async def clear(request: Request) -> Response:
        """Take all rules out."""
        space = space_of(request)
        count = space.faults.rules.clear()
        space.journal.control("rules_cleared", count=count)
        return answer(200, {"removed": count})

    async def remove(request: Request) -> Response:
        """Take one rule out."""
        space = space_of(request)
        rule_id = request.path_params["id"]
        if not space.faults.rules.remove(rule_id):
            known = ", ".join(rule.id for rule in space.faults.rules.rules[:20]) or "none"
            raise ApiError.not_found(f"no rule {rule_id[:80]}; there are: {known}")
        space.journal.control("rule_removed", rules=[rule_id])
        return answer(200, {"removed": 1})

    return [
        Route("/admin/rules", list_rules, methods=["GET"]),
        Route("/admin/rules", add, methods=["POST"]),
        Route("/admin/rules", clear, methods=["DELETE"]),
        Route("/admin/rules/{id}", remove, methods=["DELETE"]),
    ]
