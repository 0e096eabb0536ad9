"""Sides take turns, rates are medians, ratios belong to rounds; no machine's speed is asserted."""

import itertools
import os

import pytest

from mtcnn.bench.measure import Process, Rounds, Timing, here, interleaved, together


def test_sides_take_turns_after_one_round_that_does_not_count() -> None:
    calls = []

    def side(name, walls):
        walls = iter(walls)

        def run():
            calls.append(name)
            return Timing(1.0, next(walls), 1.0)

        return run

    rounds = interleaved({"a": side("a", [99, 1, 2]), "b": side("b", [99, 3, 4])}, repeats=2)
    assert calls == ["a", "b"] * 3
    assert [t.wall for t in rounds.timings["a"]] == [1, 2]
    assert rounds.count == 2


def test_a_slow_machine_gets_fewer_rounds_but_at_least_one() -> None:
    count = itertools.count(1)
    side = {"a": lambda: Timing(float(next(count)), 1000.0, 1.0)}
    rounds = interleaved(side, repeats=5, seconds=10)
    assert [t.work for t in rounds.timings["a"]] == [1.0]


def test_ratios_are_taken_round_by_round() -> None:
    # The machine is three times slower in the second round, for both alike: the ratio does not notice.
    rounds = Rounds(
        {
            "ours": [Timing(10, 1, 1), Timing(10, 3, 1), Timing(10, 1, 1)],
            "limit": [Timing(10, 0.5, 2), Timing(10, 1.5, 2), Timing(10, 0.4, 2)],
        }
    )
    assert rounds.rate("ours") == 10
    assert rounds.ratio("ours", "limit") == pytest.approx(0.5)
    assert rounds.cpu_ratio("ours", "limit") == pytest.approx(2)
    assert rounds.spread("ours", "limit") == pytest.approx((0.5 - 0.4) / 0.5)


def test_cpu_time_is_that_of_this_process() -> None:
    def work() -> float:
        sum(range(300_000))
        return 3

    timing = here(work)()
    assert timing.work == 3
    assert 0 < timing.cpu <= timing.wall + 0.05


def own_number(*numbers: int):
    return lambda: float(os.getpid() if not numbers else sum(numbers))


def failing():
    def work() -> float:
        raise ValueError("no such crop")

    return work


def test_work_is_done_in_processes_of_their_own_which_end() -> None:
    with Process() as one, Process() as other:
        pids = [process.side(own_number)().work for process in (one, other)]
        assert len({*pids, os.getpid()}) == 3
        # Each rank gets its number; work adds up.
        assert together([one, other], own_number, 10)().work == 10 + 11
        processes = [one._process, other._process]
    assert not any(process.is_alive() for process in processes)


def test_what_fails_over_there_is_said_here() -> None:
    with Process() as process, pytest.raises(RuntimeError, match="ValueError: no such crop"):
        process.side(failing)()
