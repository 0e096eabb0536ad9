"""Workers out of memory: the monitor of Ray kills them in the middle, and the bytes are as if nothing had happened."""

import time
from pathlib import Path
from typing import Any

import pytest
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

import mtcnn.cluster.backend
import mtcnn.cluster.trainer
from mtcnn import backend as backend_module
from mtcnn.cluster import RayBackend
from mtcnn.cluster.miner import MiningActor
from mtcnn.cluster.trainer import _Host, _Run, _worker
from mtcnn.mining.plan import Unit
from mtcnn.pipeline import Pipeline
from mtcnn.shards import UnitRow
from tests.chain import configured, files_of, make_scenes, pipeline

pytestmark = [pytest.mark.ray, pytest.mark.slow]

HEADROOM = 3 << 30
"""Bytes from what is in use before the cluster starts to where its monitor kills: several times what it needs."""
TOO_MUCH = HEADROOM + (2 << 30)


@pytest.fixture(scope="module")
def ray_options() -> dict[str, Any]:
    total, used = get_system_memory(), get_used_memory()
    if total - used < 1.5 * TOO_MUCH:
        pytest.skip("too little memory is free to run out of some of it")
    limit = (used + HEADROOM) / total
    return {"_system_config": {"memory_usage_threshold": limit}}


def eat_once(folder: Path, name: str) -> None:
    """Take memory until this process is killed for it, the first time that `folder` hears of `name`."""
    mark = folder / f"{name}-ate"
    if mark.exists():
        return
    mark.touch()
    eaten = []
    for _ in range(TOO_MUCH >> 26):
        eaten.append(b"x" * (1 << 26))
        time.sleep(0.02)
    time.sleep(10)
    (folder / f"{name}-survived").touch()


class HungryMiner(MiningActor):
    """In the middle of the stage."""

    def work(self, unit: Unit) -> UnitRow:
        if unit.name.endswith("00002"):
            eat_once(Path(self.plan.out).parents[2], "miner")
        return super().work(unit)


class HungryHost(_Host):
    """After the first epoch, whose checkpoint is there."""

    def epoch(self, record: dict[str, float], checkpoint: bytes) -> None:
        super().epoch(record, checkpoint)
        eat_once(Path(self.store.url).parents[3], "trainer")


def hungry_worker(config: dict[str, Any]) -> bytes:
    mtcnn.cluster.trainer._Host = HungryHost  # type: ignore[misc]
    return _worker(config)


class HungryRun(_Run):
    """Has hungry training workers."""

    def __init__(self) -> None:
        super().__init__()
        mtcnn.cluster.trainer._worker = hungry_worker


def test_a_miner_and_a_training_worker_out_of_memory_change_nothing(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(backend_module, "usable_cpus", lambda: 1)
    scenes = make_scenes(tmp_path)
    undisturbed, _ = pipeline(configured(scenes, tmp_path / "undisturbed"))
    monkeypatch.setattr(mtcnn.cluster.backend, "MiningActor", HungryMiner)
    monkeypatch.setattr(mtcnn.cluster.trainer, "_Run", HungryRun)
    config = configured(scenes, tmp_path / "runs", "cluster.mode=ray", "cluster.cpus_per_worker=1")
    for chain in (undisturbed, Pipeline(config, RayBackend(config))):
        chain.mine("pnet")
        chain.train("pnet")

    assert "low on memory" in caplog.text
    assert {path.name for path in (tmp_path / "runs").glob("*-*")} == {"miner-ate", "trainer-ate"}
    for kind in ("crops", "models"):
        before, after = (files_of(tmp_path / runs / "tiny" / kind) for runs in ("undisturbed", "runs"))
        assert {name: data for name, (_, data) in before.items()} == {
            name: data for name, (_, data) in after.items()
        }
        assert before
