"""Actors that say when, and where, they worked on each item: what the benchmark of scaling needs of Ray.

The pool is the one that mines; only its workers carry a watch.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import ray

from mtcnn.cluster.pool import IN_FLIGHT, Pool
from mtcnn.errors import UserError

UNIT_SECONDS = 600.0

Item = TypeVar("Item")


class Worker(Protocol):
    """What an actor of a pool does."""

    def start(self) -> None:
        """Get ready; called once, on the actor."""

    def work(self, item: Any) -> Any:
        """Do one item; returns something small."""


@dataclass(frozen=True)
class Span:
    """One item's time on an actor."""

    actor: int
    begin: float
    """Seconds of the system's monotonic clock."""
    end: float
    result: Any


class _Timed:
    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def start(self) -> None:
        self.worker.start()

    def work(self, item: Any) -> Span:
        begin = time.monotonic()
        result = self.worker.work(item)
        return Span(os.getpid(), begin, time.monotonic(), result)


def run_timed(worker: Worker, items: Iterable[Item], actors: int, cpus: float) -> Iterator[Span]:
    """Work off `items` on `actors` copies of `worker`, of `cpus` cores each; spans come as items finish.

    Ray has to be running. Raises UserError for an item that failed.
    """
    shared = ray.put(worker)
    actor = ray.remote(_Timed).options(num_cpus=cpus, max_concurrency=IN_FLIGHT)
    pool: Pool[Item] = Pool(lambda: actor.remote(shared), lambda: actors, UNIT_SECONDS)
    for done in pool.run(items):
        if done.error is not None:
            raise UserError(f"{done.item}: {done.error}")
        yield done.result
