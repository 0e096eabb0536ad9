"""A pool of Ray actors that works off any number of items: bounded in flight, finite retries, a deadline for each.

The pool follows the cluster: it replaces actors that die, grows when there is room for more and gives up those
that lose their room; an item that failed goes to another machine where there is one. It knows nothing of the work, so
its tests bring workers that crash, hang and dawdle.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import ray
from ray.exceptions import RayError, RayTaskError

from mtcnn.backend import ATTEMPTS
from mtcnn.cluster.causes import one_line, user_error
from mtcnn.errors import UserError

log = logging.getLogger(__name__)

Item = TypeVar("Item")

IN_FLIGHT = 2
"""Items given to an actor at a time: it may read one while it works on the other, and never waits for the driver."""
TICK_SECONDS = 1.0
"""How often deadlines are looked at while nothing finishes."""
RETRY_SECONDS = 1.0
"""How long an item that failed waits, doubled each time. Ray's memory monitor kills several actors at once: without a
wait the item of the first would go to the next, of which the news has not come yet, and use up its tries."""
ROOM_SECONDS = 2.0
"""How often the cluster is asked for room."""
START_ATTEMPTS = 3
"""Actors that may fail to start one after the other, none of them ever having started."""
ROOMLESS_SECONDS = 1800.0
"""How long the pool waits without any actor for the cluster to make room."""
ROOMLESS_TOLD_SECONDS = 60.0
"""How often it says so meanwhile."""


@dataclass(frozen=True)
class Done(Generic[Item]):
    """An item that is finished with: its result, or the error of its last attempt."""

    item: Item
    result: Any
    error: str | None


@dataclass(eq=False)
class _Call(Generic[Item]):
    item: Item
    failures: int = 0
    failed_on: set[str] = field(default_factory=set)
    """The machines on which it failed."""
    not_before: float = -math.inf
    alone: bool = False
    """Whether it may have ended an actor: it gets one for itself from now on."""


@dataclass(eq=False)
class _Worker(Generic[Item]):
    handle: Any
    node: Any = ""
    """Its machine: a reference while it starts, then the id."""
    ready: bool = False
    calls: dict[Any, _Call[Item]] = field(default_factory=dict)
    """Calls by their object reference, the oldest first."""
    since: float = 0.0
    """When the oldest call became that."""

    def has_room(self, depth: int) -> bool:
        """Whether it may get one more call, up to `depth`."""
        return len(self.calls) < depth and not any(call.alone for call in self.calls.values())


class Pool(Generic[Item]):
    """Actors that work off items.

    `spawn` makes an actor; it has the methods `start()`, called once, and `work(item)`, which returns something small.
    With `max_concurrency=IN_FLIGHT` it is given its items at once, in threads; without, it queues them.
    Work may be done twice: an item whose result got lost with its actor is given to another one.
    `room` tells how many actors may run now; `seconds` is the most that one item may take. A UserError from `start`
    stops the pool, as every actor would end the same way.
    """

    def __init__(self, spawn: Callable[[], Any], room: Callable[[], int], seconds: float) -> None:
        self._spawn = spawn
        self._room = room
        self._seconds = seconds
        self._workers: list[_Worker[Item]] = []
        self._refs: dict[Any, _Worker[Item]] = {}
        self._waiting: deque[_Call[Item]] = deque()
        self._target = 0
        self._room_asked = self._spawn_after = -math.inf
        self._alive = self._told = 0.0
        self._failed_starts = 0
        self._ever_started = False

    def run(self, items: Iterable[Item]) -> Iterator[Done[Item]]:
        """Work off `items`, taken from the iterable as there is room; yields each as it finishes, in any order."""
        source = iter(items)
        self._alive = self._told = time.monotonic()
        try:
            while True:
                self._ask_for_room()
                self._take(source)
                if not self._waiting and not self._busy():
                    return
                self._resize()
                self._fill()
                yield from self._collect()
                yield from self._enforce_deadlines()
        finally:
            self.close()

    def close(self) -> None:
        """Kill all actors."""
        for worker in list(self._workers):
            self._dismiss(worker)

    def _busy(self) -> int:
        return sum(len(worker.calls) for worker in self._workers)

    def _take(self, source: Iterator[Item]) -> None:
        """Keep as many items waiting as the actors could be given at once: no more objects than that, ever."""
        while len(self._waiting) < IN_FLIGHT * max(self._target, 1):
            try:
                self._waiting.append(_Call(next(source)))
            except StopIteration:
                return

    def _ask_for_room(self) -> None:
        now = time.monotonic()
        if now - self._room_asked >= ROOM_SECONDS:
            target = self._room()
            if target != self._target and self._target:
                log.info("room for %d actors, was %d", target, self._target)
            self._target, self._room_asked = target, now

    def _resize(self) -> None:
        now = time.monotonic()
        wanted = min(self._target, len(self._waiting) + self._busy())
        while len(self._workers) < wanted and now >= self._spawn_after:
            handle = self._spawn()
            # Asked before it starts: the answer is there when it has started.
            worker: _Worker[Item] = _Worker(handle, handle.__ray_call__.remote(_machine))
            self._workers.append(worker)
            self._refs[worker.handle.start.remote()] = worker
        # Actors of a node that went have died by themselves; what is left over here never got its room.
        for worker in [w for w in self._workers if not w.ready][: max(len(self._workers) - self._target, 0)]:
            self._dismiss(worker)
        self._check_alive(now)

    def _check_alive(self, now: float) -> None:
        """Waiting for room is normal on a shared cluster, but is said, and does not go on for ever."""
        if any(worker.ready for worker in self._workers):
            self._alive = self._told = now
        elif now - self._alive > ROOMLESS_SECONDS:
            raise UserError(
                f"no actor could start in {ROOMLESS_SECONDS:.0f} s; the cluster has room for {self._target}: "
                "other jobs may hold it, see `ray status`"
            )
        elif now - self._told > ROOMLESS_TOLD_SECONDS:
            self._told = now
            log.warning("no actor yet after %.0f s; room for %d", now - self._alive, self._target)

    def _fill(self) -> None:
        """Give waiting items to actors, evenly."""
        ready = [worker for worker in self._workers if worker.ready]
        for depth in range(1, IN_FLIGHT + 1):
            for worker in ready:
                if worker.has_room(depth):
                    call = self._next_for(worker, {other.node for other in ready})
                    if call is not None:
                        self._submit(worker, call)

    def _next_for(self, worker: _Worker[Item], machines: set[str]) -> _Call[Item] | None:
        """The first waiting item that may go to this actor.

        One that has failed goes to another machine where there is one: none uses up its tries.
        """
        now = time.monotonic()
        for index, call in enumerate(self._waiting):
            elsewhere = worker.node in call.failed_on and not machines <= call.failed_on
            beside = call.alone and worker.calls
            if now >= call.not_before and not elsewhere and not beside:
                del self._waiting[index]
                return call
        return None

    def _submit(self, worker: _Worker[Item], call: _Call[Item]) -> None:
        if not worker.calls:
            worker.since = time.monotonic()
        ref = worker.handle.work.remote(call.item)
        worker.calls[ref] = call
        self._refs[ref] = worker

    def _collect(self) -> Iterator[Done[Item]]:
        refs = list(self._refs)
        if not refs:
            time.sleep(TICK_SECONDS)
            return
        ready, _ = ray.wait(refs, num_returns=1, timeout=TICK_SECONDS)
        if ready:
            # In the order given, which is the order of submission: a result before the news that its actor died.
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref in ready:
            worker = self._refs.get(ref)
            if worker is None:
                continue
            if not worker.ready:
                self._started(ref, worker)
            else:
                yield from self._finished(ref, worker)

    def _started(self, ref: Any, worker: _Worker[Item]) -> None:
        del self._refs[ref]
        try:
            ray.get(ref)
            worker.node = ray.get(worker.node)
        except RayError as error:
            self._dismiss(worker)
            known = user_error(error)
            if known is not None:
                raise known from error
            self._failed_starts += 1
            log.warning("an actor could not start: %s", one_line(error))
            if self._failed_starts >= START_ATTEMPTS and not self._ever_started:
                raise UserError(f"actors cannot start; the last: {one_line(error)}") from error
            # Longer each time: what ails an actor's start, such as a store that does not answer, may pass.
            self._spawn_after = time.monotonic() + min(0.5 * 2**self._failed_starts, 30.0)
            return
        worker.ready = self._ever_started = True
        self._failed_starts = 0

    def _finished(self, ref: Any, worker: _Worker[Item]) -> Iterator[Done[Item]]:
        try:
            result = ray.get(ref)
        except RayError as error:
            if user_error(error) is not None:
                yield from self._failed(self._pop(ref, worker), worker, one_line(error))
            else:
                # Also one that still lives: what it was not made for, such as memory that ran out or a GPU's error,
                # may have left it unfit for the items to come. Of one that died, any item may have been the cause.
                own = isinstance(error, RayTaskError)
                suspects = [worker.calls[ref]] if own else list(worker.calls.values())
                yield from self._lost(worker, suspects, one_line(error))
        else:
            yield Done(self._pop(ref, worker).item, result, None)

    def _pop(self, ref: Any, worker: _Worker[Item]) -> _Call[Item]:
        del self._refs[ref]
        if ref == next(iter(worker.calls)):
            worker.since = time.monotonic()
        return worker.calls.pop(ref)

    def _lost(self, worker: _Worker[Item], suspects: list[_Call[Item]], cause: str) -> Iterator[Done[Item]]:
        """An actor is gone: one of `suspects` is the cause, another item that it had is simply given back.

        A single suspect has failed once more. Of several none has, but each is tried alone from now on.
        """
        others = [call for call in worker.calls.values() if call not in suspects]
        self._dismiss(worker)
        self._waiting.extendleft(reversed(others))
        for call in suspects:
            call.alone = True
            yield from self._failed(call, worker, cause, len(suspects) == 1)

    def _failed(
        self, call: _Call[Item], worker: _Worker[Item], cause: str, counts: bool = True
    ) -> Iterator[Done[Item]]:
        call.not_before = time.monotonic() + RETRY_SECONDS * 2**call.failures
        call.failures += counts
        call.failed_on.add(worker.node)
        attempt = f"attempt {call.failures} of {ATTEMPTS}" if counts else "to be tried alone"
        log.warning("%s, %s: %s", _name(call.item), attempt, cause)
        if call.failures >= ATTEMPTS:
            yield Done(call.item, None, cause)
        else:
            self._waiting.appendleft(call)

    def _enforce_deadlines(self) -> Iterator[Done[Item]]:
        now = time.monotonic()
        for worker in list(self._workers):
            if worker.calls and now - worker.since > self._seconds:
                # All of them are suspects: the oldest may have waited for what the other holds.
                cause = f"took longer than cluster.unit_seconds={self._seconds:g}"
                yield from self._lost(worker, list(worker.calls.values()), cause)

    def _dismiss(self, worker: _Worker[Item]) -> None:
        ray.kill(worker.handle)
        self._workers.remove(worker)
        for ref in [ref for ref, owner in self._refs.items() if owner is worker]:
            del self._refs[ref]


def _machine(actor: Any) -> str:
    """On an actor: which machine it is on."""
    return ray.get_runtime_context().get_node_id()


def _name(item: object) -> str:
    return f"unit {getattr(item, 'name', item)}"
