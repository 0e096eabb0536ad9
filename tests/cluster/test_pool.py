"""The pool of actors: everything is worked off exactly once, whatever the actors do."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from mtcnn.cluster.pool import IN_FLIGHT, Done, Pool, _Call, _Worker
from mtcnn.errors import ShardError, UserError

pytestmark = pytest.mark.ray


class Faulty:
    """Doubles numbers, and misbehaves as the number says, for as often as its folder does not know of it."""

    def __init__(self, folder: str, faults: dict[int, tuple[str, int]], delays: bool = False) -> None:
        self.folder = Path(folder)
        self.faults = faults
        self.delays = delays

    def start(self) -> None:
        (self.folder / f"pid-{os.getpid()}").touch()

    def work(self, item: int) -> int:
        fault, times = self.faults.get(item, ("", 0))
        (self.folder / f"{item}-{time.monotonic_ns()}").touch()
        if len(list(self.folder.glob(f"{item}-*"))) <= times:
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if fault == "hang":
                time.sleep(60)
            if fault == "user":
                raise ShardError(f"shard {item}: 1 byte short")
            raise ZeroDivisionError(f"item {item}")
        if self.delays:
            time.sleep(random.Random(item).random() * 0.05)
        return 2 * item


def actor(work: type, *arguments: Any) -> Any:
    return ray.remote(work).options(num_cpus=0, max_concurrency=IN_FLIGHT).remote(*arguments)


@pytest.fixture
def pool(ray_cluster: None, tmp_path: Path) -> Callable[..., Pool[int]]:
    def make(actors: int = 2, seconds: float = 60, delays: bool = False, **faults: Any) -> Pool[int]:
        known = {int(item.removeprefix("item")): fault for item, fault in faults.items()}
        return Pool(lambda: actor(Faulty, str(tmp_path), known, delays), lambda: actors, seconds)

    return make


def results(done: Iterator[Done[int]]) -> dict[int, int]:
    return {one.item: one.result for one in done}


@pytest.mark.parametrize("actors", [1, 2])
def test_every_item_is_done_once_in_any_order(pool: Any, tmp_path: Path, actors: int) -> None:
    done = list(pool(actors, delays=True).run(range(30)))
    assert sorted(one.item for one in done) == list(range(30))
    assert all(one.result == 2 * one.item and one.error is None for one in done)
    assert len(list(tmp_path.glob("[0-9]*"))) == 30


def test_nothing_to_do_starts_nothing(pool: Any) -> None:
    assert list(pool().run([])) == []


def test_items_of_a_killed_actor_are_done_by_others(pool: Any) -> None:
    done = results(pool(item3=("kill", 1), item7=("kill", 2)).run(range(12)))
    assert done == {item: 2 * item for item in range(12)}


def test_a_pool_of_one_survives_its_actor(pool: Any) -> None:
    assert results(pool(1, item0=("kill", 1), item2=("error", 2)).run(range(4))) == {0: 0, 1: 2, 2: 4, 3: 6}


def test_an_item_that_kills_every_actor_takes_no_other_with_it(pool: Any) -> None:
    done = {one.item: one for one in pool(1, item0=("kill", 99)).run(range(4))}
    assert "worker process has died" in done[0].error
    assert {item: one.result for item, one in done.items() if item} == {1: 2, 2: 4, 3: 6}


def test_an_item_that_failed_waits_and_goes_to_another_machine_while_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither the actors that a machine kills one after the other use up its tries, nor those it kills at once."""
    pool: Pool[int] = Pool(lambda: None, lambda: 2, 60)
    sick, replaced, other = (_Worker[int](None, node, ready=True) for node in ("a", "a", "b"))
    list(pool._failed(_Call(1), sick, "out of memory"))
    assert pool._next_for(other, {"a", "b"}) is None
    later = time.monotonic() + 10
    monkeypatch.setattr("mtcnn.cluster.pool.time.monotonic", lambda: later)
    assert pool._next_for(replaced, {"a", "b"}) is None
    call = pool._next_for(other, {"a", "b"})
    assert call is not None and call.item == 1
    # Where it has failed everywhere, or there is no other, it may go to any.
    list(pool._failed(call, other, "out of memory"))
    later += 10
    assert pool._next_for(replaced, {"a", "b"}) is call
    list(pool._failed(_Call(2), sick, "out of memory"))
    later += 10
    assert pool._next_for(replaced, {"a"}) is not None


@pytest.mark.parametrize("loss", ["death", "deadline"])
def test_of_two_items_of_a_lost_actor_neither_has_failed_and_each_gets_one_for_itself(
    monkeypatch: pytest.MonkeyPatch, loss: str
) -> None:
    """Either may have killed it, or have held what the other waited for: only alone is it known."""
    monkeypatch.setattr(Pool, "_dismiss", lambda pool, worker: worker.calls.clear())
    pool: Pool[int] = Pool(lambda: None, lambda: 1, 60)
    one, two, fresh = (_Call[int](item) for item in (1, 2, 3))
    dead, idle = (_Worker[int](None, "a", ready=True) for _ in range(2))
    dead.calls |= {"one": one, "two": two}
    if loss == "death":
        assert list(pool._lost(dead, [one, two], "killed")) == []
    else:
        dead.since = time.monotonic() - 61
        pool._workers.append(dead)
        assert list(pool._enforce_deadlines()) == []
    assert not dead.calls
    assert one.failures == two.failures == 0
    later = time.monotonic() + 10
    monkeypatch.setattr("mtcnn.cluster.pool.time.monotonic", lambda: later)
    idle.calls["fresh"] = fresh
    assert idle.has_room(2) and pool._next_for(idle, {"a"}) is None
    idle.calls.clear()
    call = pool._next_for(idle, {"a"})
    assert call is not None
    idle.calls["alone"] = call
    assert not idle.has_room(2)
    list(pool._lost(idle, [call], "killed"))
    assert call.failures == 1


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("user", "shard 5: 1 byte short"),
        ("error", "ZeroDivisionError: item 5"),
        ("kill", "worker process has died"),
    ],
)
def test_an_item_that_fails_three_times_is_named_and_the_others_are_done(
    pool: Any, tmp_path: Path, fault: str, says: str
) -> None:
    done = {one.item: one for one in pool(item5=(fault, 99)).run(range(9))}
    assert says in done[5].error and "\n" not in done[5].error and len(done[5].error) < 500
    assert done[5].result is None
    assert [one.item for one in done.values() if one.error] == [5] and len(done) == 9
    tries = len(list(tmp_path.glob("5-*")))
    # One more where it was not alone when it first killed its actor: that does not count.
    assert tries == 3 or (fault == "kill" and tries == 4)
    # What an actor was not made for, such as a GPU's error, may have left it unfit for more.
    assert (len(list(tmp_path.glob("pid-*"))) > 2) == (fault != "user")


def test_an_item_over_its_deadline_is_given_up(pool: Any, tmp_path: Path) -> None:
    done = {one.item: one for one in pool(seconds=1.0, item1=("hang", 99), item2=("hang", 1)).run(range(5))}
    assert "unit_seconds=1" in done[1].error
    assert done[2].result == 4
    assert [item for item, one in done.items() if one.error] == [1] and len(done) == 5


def test_items_are_taken_from_the_iterable_only_as_there_is_room(pool: Any) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(50):
            taken += 1
            yield item

    for finished, _ in enumerate(pool(2).run(items())):
        # Two for each actor at work, two for each waiting.
        assert taken - finished <= 8
    assert taken == 50


def test_a_mistake_of_the_users_at_the_start_stops_the_pool_with_its_own_words(ray_cluster: None) -> None:
    class Refusing:
        def start(self) -> None:
            raise ShardError("no such weights")

    with pytest.raises(ShardError, match="^no such weights$"):
        list(Pool[int](lambda: actor(Refusing), lambda: 2, 60).run(range(3)))


def test_actors_that_never_start_are_not_tried_for_ever(ray_cluster: None) -> None:
    class Broken:
        def start(self) -> None:
            os._exit(1)

    with pytest.raises(UserError, match="cannot start"):
        list(Pool[int](lambda: actor(Broken), lambda: 1, 60).run(range(3)))


def test_the_pool_follows_the_room_there_is(ray_cluster: None, tmp_path: Path) -> None:
    made: list[Any] = []

    def spawn() -> Any:
        made.append(actor(Faulty, str(tmp_path), {}, True))
        return made[-1]

    target = 0
    items = iter(range(400))
    pool: Pool[int] = Pool(spawn, lambda: target, 60)
    pool_run = pool.run(items)
    target = 1
    for _ in range(10):
        next(pool_run)
    assert len(made) == 1
    target = 3
    remaining = sum(1 for _ in pool_run)
    assert len(made) == 3 and remaining == 390


def test_stopping_early_leaves_no_actor(pool: Any, tmp_path: Path) -> None:
    running = pool(2).run(range(100))
    next(running)
    running.close()
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    deadline = time.monotonic() + 20
    while any(map(_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pids and not any(map(_alive, pids))


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except FileNotFoundError:
        return False
