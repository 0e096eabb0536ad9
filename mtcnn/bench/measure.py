"""Timing of things in turn, A B A B, so that what else the machine does falls on all of them alike.

Wall time is what counts; CPU time of the process is kept beside it, since it holds where cores are shared.
"""

import logging
import math
import multiprocessing
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

log = logging.getLogger(__name__)

Work = Callable[[], float]
"""Does a fixed piece of work; returns how much that is, in the unit of its rate (images, crops)."""


@dataclass(frozen=True)
class Timing:
    """One piece of work."""

    work: float
    wall: float
    """Seconds."""
    cpu: float
    """Seconds of CPU of the processes that did it."""

    @property
    def rate(self) -> float:
        """Work in a second."""
        return self.work / max(self.wall, 1e-9)

    @property
    def cpu_rate(self) -> float:
        """Work in a second of CPU."""
        return self.work / max(self.cpu, 1e-9)


Side = Callable[[], Timing]
"""One of the things compared."""


def here(work: Work) -> Side:
    """A side that works in this process."""

    def run() -> Timing:
        cpu, wall = time.process_time(), time.perf_counter()
        done = work()
        return Timing(done, time.perf_counter() - wall, time.process_time() - cpu)

    return run


@dataclass(frozen=True)
class Rounds:
    """Timings of sides that took turns; entry i of each belongs to round i."""

    timings: Mapping[str, Sequence[Timing]]

    @property
    def count(self) -> int:
        """Rounds."""
        return min(len(timings) for timings in self.timings.values())

    def rate(self, side: str) -> float:
        """Median work in a second."""
        return statistics.median(timing.rate for timing in self.timings[side])

    def seconds(self, side: str) -> float:
        """Median seconds for a piece of work of 1."""
        return 1 / self.rate(side)

    def ratio(self, side: str, other: str) -> float:
        """Median over the rounds of the rate of `side` by that of `other`."""
        return statistics.median(self._ratios(side, other))

    def cpu_ratio(self, side: str, other: str) -> float:
        """The same per second of CPU."""
        pairs = zip(self.timings[side], self.timings[other], strict=False)
        return statistics.median(a.cpu_rate / b.cpu_rate for a, b in pairs)

    def spread(self, side: str, other: str) -> float:
        """Range of the ratios over the rounds, as a share of their median."""
        ratios = self._ratios(side, other)
        return (max(ratios) - min(ratios)) / statistics.median(ratios)

    def _ratios(self, side: str, other: str) -> list[float]:
        pairs = zip(self.timings[side], self.timings[other], strict=False)
        return [a.rate / b.rate for a, b in pairs]


def interleaved(sides: Mapping[str, Side], repeats: int, seconds: float = math.inf) -> Rounds:
    """Run `sides` in turn, one round that does not count and then at most `repeats`; fewer on a slow machine.

    No round is begun that would end, judged by the one before, more than `seconds` after the first began; the round
    that warms up counts where there is no time for another.
    """
    start = time.perf_counter()
    warm = {name: side() for name, side in sides.items()}
    found: dict[str, list[Timing]] = {name: [] for name in sides}
    for _ in range(repeats):
        took = sum(timing.wall for timing in warm.values())
        if time.perf_counter() - start + took > seconds:
            break
        warm = {name: side() for name, side in sides.items()}
        for name, timing in warm.items():
            found[name].append(timing)
    if not all(found.values()):
        log.info("slow machine: no time for a round beyond the first")
        found = {name: [timing] for name, timing in warm.items()}
    return Rounds(found)


class Process:
    """A process of its own that works when told to: for what holds for a whole process, such as its allocator.

    A context manager; the process ends with it.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        # daemon: ends with this process, whatever happens to it.
        self._process = context.Process(target=_serve, args=(other,), daemon=True)
        self._process.start()
        other.close()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.close()
        self._process.join(10)
        if self._process.is_alive():
            self._process.terminate()

    def side(self, make: Callable[..., Work], *args: Any) -> Side:
        """The work that `make(*args)` returns over there, where `make` is importable by name."""
        return together([self], make, *args)

    def begin_making(self, make: Callable[..., Work], *args: Any) -> None:
        """Have `make` called, without waiting for it."""
        self._pipe.send((make, args))

    def made(self) -> int:
        """Wait for what was begun; its number."""
        number: int = self._answer()
        return number

    def begin(self, number: int) -> None:
        """Start on a piece of work of side `number`."""
        self._pipe.send(number)

    def end(self) -> Timing:
        """Wait for the work that was begun."""
        timing: Timing = self._answer()
        return timing

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise RuntimeError("a process of the benchmark died") from None
        if isinstance(answer, str):
            raise RuntimeError(f"a process of the benchmark failed: {answer}")
        return answer


def together(processes: Sequence[Process], make: Callable[..., Work], *args: Any) -> Side:
    """The works that `make(*args)` returns in each of `processes`, done at the same time, as ranks of a training are.

    With more than one process the rank is one more argument. Work and CPU are added up; the wall time is the longest.
    """
    for rank, process in enumerate(processes):
        process.begin_making(make, *args, *([rank] if len(processes) > 1 else []))
    # Waited for only now: ranks that meet have to be on their way all of them.
    numbers = [process.made() for process in processes]

    def run() -> Timing:
        for process, number in zip(processes, numbers, strict=True):
            process.begin(number)
        done = [process.end() for process in processes]
        return Timing(sum(t.work for t in done), max(t.wall for t in done), sum(t.cpu for t in done))

    return run


def _serve(pipe: Connection) -> None:
    """Over there: makes works and does them, until the other end is closed."""
    sides: list[Side] = []
    try:
        while True:
            order = pipe.recv()
            if isinstance(order, int):
                pipe.send(sides[order]())
            else:
                make, args = order
                sides.append(here(make(*args)))
                pipe.send(len(sides) - 1)
    except (EOFError, KeyboardInterrupt):
        return
    except Exception as error:  # whatever it is, the other end has to hear of it instead of waiting
        pipe.send(f"{type(error).__name__}: {error}")
