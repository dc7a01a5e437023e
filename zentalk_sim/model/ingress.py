"""A node's finite front: an accept backlog, and CPU workers that serve TLS, authentication and frames in turn.

A queue of c servers needs no process: since jobs are served first come, first served, and each job's cost is
known on arrival, the instants at which the workers get free give every start and end exactly. The workers stand in
a list, linked by themselves, in the order in which they get free: whoever takes a job nearly always goes to its end.
"""

from __future__ import annotations

from collections import deque


class Worker:
    """One CPU worker."""

    __slots__ = ("free_us", "next")

    def __init__(self, free_us: int) -> None:
        self.free_us = free_us
        """When it is done with what it has."""
        self.next: Worker | None = None
        """Who gets free after it."""


class Ingress:
    """The workers and the accept queue of one node, since its last start."""

    __slots__ = ("_accepts", "_first", "_last", "_starts", "backlog", "busy_us", "dropped_syns", "workers")

    def __init__(self, workers: int, backlog: int, now_us: int) -> None:
        self.workers = workers
        self.backlog = backlog
        """Connections that may wait to be accepted; one more and its SYN is dropped."""
        self._first = self._last = Worker(now_us)
        for _ in range(workers - 1):
            self._last.next = Worker(now_us)
            self._last = self._last.next
        self._accepts: deque[int] = deque()
        """The instants at which waiting connections will be accepted, in order."""
        self._starts: deque[int] = deque()
        """The same of all waiting work, connections among it."""
        self.busy_us = 0
        """Work taken in, whether done or not."""
        self.dropped_syns = 0

    def serve(self, now_us: int, cost_us: int) -> int:
        """Queue a job of ``cost_us`` that arrives now; the instant at which it is done."""
        worker = self._first
        start_us = worker.free_us
        if start_us < now_us:
            start_us = now_us
        done_us = worker.free_us = start_us + cost_us
        following = worker.next
        if following is not None and following.free_us < done_us:
            self._first = following
            self._put_behind(worker)
        self.busy_us += cost_us
        if start_us > now_us:
            self._starts.append(start_us)
        return done_us

    def _put_behind(self, worker: Worker) -> None:
        """Put a worker that has got a job where it belongs, which is not first."""
        before = self._last
        if worker.free_us < before.free_us:
            before = self._first
            while (following := before.next) is not None and following.free_us <= worker.free_us:
                before = following
        worker.next = before.next
        before.next = worker
        if worker.next is None:
            self._last = worker

    def accept(self, now_us: int, cost_us: int) -> int:
        """Queue a new connection's TLS work, which also takes it off the backlog when it starts."""
        done_us = self.serve(now_us, cost_us)
        if done_us - cost_us > now_us:
            self._accepts.append(done_us - cost_us)
        return done_us

    def queued(self, now_us: int) -> int:
        """Connections that wait to be accepted."""
        return _left(self._accepts, now_us)

    def waiting(self, now_us: int) -> int:
        """Pieces of work that wait for a worker, connections and frames together."""
        return _left(self._starts, now_us)

    def admits(self, now_us: int) -> bool:
        """Whether the backlog has room for a SYN that arrives now; counted where it has not."""
        if self.queued(now_us) < self.backlog:
            return True
        self.dropped_syns += 1
        return False

    def ahead_us(self, now_us: int) -> int:
        """Work taken in and not yet done."""
        ahead_us = 0
        worker: Worker | None = self._first
        while worker is not None:
            if worker.free_us > now_us:
                ahead_us += worker.free_us - now_us
            worker = worker.next
        return ahead_us


def _left(starts: deque[int], now_us: int) -> int:
    """How many of the instants, which rise, lie ahead; those that do not are dropped."""
    while starts and starts[0] <= now_us:
        starts.popleft()
    return len(starts)
