"""Machines that join and leave in the middle of mining: the actors follow, and nothing is lost."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster as Machines

import mtcnn.cluster.backend
from mtcnn.backend import LocalBackend
from mtcnn.cluster import RayBackend
from mtcnn.cluster.miner import MiningActor
from mtcnn.config import Cluster, Config, Mining, Source
from mtcnn.mining.plan import MiningPlan, PlannedSource, Unit, units
from mtcnn.shards import UnitRow
from mtcnn.sources import prepare

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LONG = 120.0
"""Seconds for a machine to join and to mine, when all goes slowly."""


class Placed(MiningActor):
    """Leaves a file named after each machine; the machines wait for each other as the test needs it."""

    def work(self, unit: Unit) -> UnitRow:
        notes = Path(self.plan.out).parent
        here = ray.get_runtime_context().get_node_id()
        known = here == (notes / "first").read_text()
        number = int(unit.name.rpartition("-")[2])
        row = super().work(unit)
        if known and number >= 3:
            _wait_for(notes / "in the middle")
        elif not known:
            # Of this unit the shards are there and the mark is not, for as long as this machine is.
            Path(self.plan.out, f"{unit.name}.json").unlink()
            (notes / here).touch()
            (notes / "in the middle").touch()
            time.sleep(LONG)
        return row


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + LONG
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture
def machines() -> Iterator[Machines]:
    """One machine with one CPU."""
    small = {"num_cpus": 1, "object_store_memory": 100 << 20}
    machines = Machines(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    ray.init(address=machines.address, log_to_driver=False)
    try:
        yield machines
    finally:
        ray.shutdown()
        machines.shutdown()


def test_mining_grows_onto_a_machine_that_joins_and_survives_its_loss(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(tmp_path / "source")
    index = prepare("synthetic", None, [], source, count=12, seed=7, images_per_shard=1, workers=1)

    def plan(out: str) -> MiningPlan:
        return MiningPlan(
            stage="pnet",
            seed=7,
            options=Mining(min_face=36),
            landmarks=False,
            sources={"scenes": PlannedSource(source, frozenset({"pos", "part", "neg"}))},
            weights=(),
            thresholds=(),
            out=str(tmp_path / out / "crops"),
        )

    config = Config(sources={"scenes": Source(url=source)}, cluster=Cluster(actors="auto"))
    planned = list(units("scenes", index, 0.2))
    assert all(outcome.row for outcome in LocalBackend(config).mine(plan("alone"), planned))

    monkeypatch.setattr(mtcnn.cluster.backend, "MiningActor", Placed)
    notes = tmp_path / "two machines"
    notes.mkdir()
    (notes / "first").write_text(ray.get_runtime_context().get_node_id())
    mined = set()
    second = None
    lost = False
    for outcome in RayBackend(config).mine(plan(notes.name), planned):
        assert outcome.row is not None and outcome.unit not in mined, outcome
        mined.add(outcome.unit)
        if second is None:
            second = machines.add_node(num_cpus=1, object_store_memory=100 << 20)
        elif not lost and (notes / "in the middle").exists():
            machines.remove_node(second, allow_graceful=False)
            lost = True
    assert second is not None and lost and (notes / second.node_id).exists()
    assert mined == {unit.name for unit in planned}
    alone, two = (
        {path.name: path.read_bytes() for path in (tmp_path / out / "crops").iterdir()}
        for out in ("alone", notes.name)
    )
    assert two == alone
