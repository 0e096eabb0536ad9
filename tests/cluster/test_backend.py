"""Mining on actors: the same bytes whatever the actors do, and failed units named."""

import hashlib
import os
import random
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

import mtcnn.cluster.backend
from mtcnn.backend import LocalBackend, Outcome
from mtcnn.cluster import RayBackend
from mtcnn.cluster.miner import MiningActor
from mtcnn.config import Cluster, Config, Mining, Source
from mtcnn.mining.plan import MiningPlan, PlannedSource, Unit, units
from mtcnn.nets import Architecture, Weights, build, save
from mtcnn.shards import CropShard, UnitRow
from mtcnn.sources import prepare
from mtcnn.sources.read import Index

pytestmark = pytest.mark.ray

SEED = 7


class Dawdling(MiningActor):
    """Takes a random time over each unit, so that they finish in any order."""

    def work(self, unit: Unit) -> UnitRow:
        row = super().work(unit)
        time.sleep(random.random() * 0.3)
        return row


class Dying(MiningActor):
    """Is killed once, in the middle of the third unit: shards are there, the mark is not."""

    def work(self, unit: Unit) -> UnitRow:
        row = super().work(unit)
        if unit.name.endswith("00002"):
            mark = Path(self.plan.out, f"{unit.name}.json")
            once = Path(self.plan.out).parent / "killed"
            if not once.exists():
                once.touch()
                mark.unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return row


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Index]:
    folder = str(tmp_path_factory.mktemp("source"))
    return folder, prepare("synthetic", None, [], folder, count=12, seed=SEED, images_per_shard=2, workers=1)


def planned(source: tuple[str, Index], out: Path) -> tuple[MiningPlan, list[Unit]]:
    """R-Net's crops: a net that has learned nothing proposes, so that what it computes is in the bytes too."""
    url, index = source
    net = build(Architecture("pnet"))
    net.initialise(torch.Generator().manual_seed(SEED))
    plan = MiningPlan(
        stage="rnet",
        seed=SEED,
        options=Mining(min_face=40),
        landmarks=False,
        sources={"scenes": PlannedSource(url, frozenset({"pos", "part", "neg"}))},
        weights=(save(Weights(net)),),
        thresholds=(0.45,),
        out=str(out),
    )
    return plan, list(units("scenes", index, 0.2))


def on(kind: Any, actors: int = 2, **cluster: Any) -> Any:
    return kind(Config(sources={"a": Source(url="unused")}, cluster=Cluster(actors=actors, **cluster)))


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def rows(outcomes: Iterable[Outcome]) -> dict[str, UnitRow | None]:
    return {outcome.unit: outcome.row for outcome in outcomes}


@pytest.fixture(scope="module")
def undisturbed(source: tuple[str, Index], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Sums of what one process mines without Ray."""
    out = tmp_path_factory.mktemp("undisturbed")
    outcomes = list(on(LocalBackend).mine(*planned(source, out)))
    # As many as an actor has: sums of convolutions differ in the last bit between numbers of threads.
    assert torch.get_num_threads() == 1
    assert [outcome.unit for outcome in outcomes] == [f"scenes-{n:05d}" for n in range(6)]
    assert all(outcome.row and outcome.row.stats["proposals"] > 20 for outcome in outcomes)
    return sums(out)


@pytest.mark.parametrize(
    ("actors", "worker"), [(1, MiningActor), (2, MiningActor), (2, Dawdling), (2, Dying)]
)
def test_the_shards_are_the_same_whatever_the_actors_do(
    ray_cluster: None,
    source: tuple[str, Index],
    undisturbed: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    actors: int,
    worker: type,
) -> None:
    monkeypatch.setattr(mtcnn.cluster.backend, "MiningActor", worker)
    found = rows(on(RayBackend, actors).mine(*planned(source, tmp_path / "crops")))
    assert len(found) == 6 and None not in found.values()
    assert sums(tmp_path / "crops") == undisturbed
    assert (tmp_path / "killed").exists() == (worker is Dying)


@pytest.mark.parametrize("kind", [LocalBackend, RayBackend])
def test_a_unit_that_fails_three_times_is_named_with_its_cause_and_the_others_are_done(
    ray_cluster: None, tmp_path: Path, kind: type
) -> None:
    folder = tmp_path / "source"
    index = prepare("synthetic", None, [], str(folder), count=4, seed=SEED, images_per_shard=1, workers=1)
    shard = folder / "00002.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    outcomes = {o.unit: o for o in on(kind).mine(*planned((str(folder), index), tmp_path / "crops"))}
    assert len(outcomes) == 4
    failed = outcomes["scenes-00002"]
    assert failed.row is None and "00002.tar" in str(failed.error) and "\n" not in str(failed.error)
    assert [name for name, outcome in outcomes.items() if outcome.error] == ["scenes-00002"]


class Pretending(MiningActor):
    """Does nothing, at once."""

    def start(self) -> None:
        pass

    def work(self, unit: Unit) -> UnitRow:
        return UnitRow(unit.name, "train", {"pos": CropShard("a.tar", 1, 12, 1, "", "")}, {"images": 1})


def test_units_are_planned_only_as_actors_have_room(
    ray_cluster: None, source: tuple[str, Index], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mtcnn.cluster.backend, "MiningActor", Pretending)
    plan, (first, *_) = planned(source, tmp_path)
    planned_so_far = 0

    def many() -> Iterable[Unit]:
        nonlocal planned_so_far
        for number in range(1000):
            planned_so_far += 1
            yield Unit(f"scenes-{number:05d}", first.source, first.shard, "train")

    for done, _ in enumerate(on(RayBackend).mine(plan, many())):
        assert planned_so_far - done <= 8
    assert planned_so_far == 1000
