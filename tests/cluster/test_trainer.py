"""Ray Train around the loop: the same weights whatever happens on the way, and errors in their own words."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.util.placement_group import placement_group

import mtcnn.cluster.trainer
from mtcnn.backend import CHECKPOINT, LocalBackend
from mtcnn.cluster import RayBackend
from mtcnn.cluster.trainer import WORKER_ENVIRONMENT, _Run
from mtcnn.config import Cluster, Config, Source, Training
from mtcnn.errors import UserError
from mtcnn.nets import Architecture, load
from mtcnn.shards import Crops, commit_unit, write_manifest
from mtcnn.store import open_store
from mtcnn.training.loop import TrainingPlan

pytestmark = pytest.mark.ray

EPOCHS = 4


def crops(rng: np.random.Generator, count: int, bright: bool, box: bool) -> Crops:
    """12 px crops: bright in the middle or not, with the box shifted as the middle is."""
    images = rng.integers(0, 120, (count, 12, 12, 3), dtype=np.uint8)
    if bright:
        images[:, 3:9, 3:9] += 130
    boxes = np.zeros((count, 4), np.float32)
    if box:
        boxes[:] = (0.1, 0.1, -0.1, -0.1)
    return Crops(images, boxes, np.zeros((count, 10), np.float32), np.zeros((count, 4), np.int32))


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Crop shards of six units, with their manifest."""
    store = open_store(str(tmp_path_factory.mktemp("crops")))
    rng = np.random.default_rng(1)
    rows = []
    for unit in range(6):
        found = {
            "pos": crops(rng, 100, True, True),
            "part": crops(rng, 100, True, True),
            "neg": crops(rng, 200, False, False),
        }
        split = "val" if unit == 5 else "train"
        rows.append(commit_unit(store, f"tiny-{unit}", found, {"images": 1}, split))
    write_manifest(store, "pnet", "0", rows)
    return store.url


def planned(crops_url: str, **options: Any) -> TrainingPlan:
    settings = {"epochs": EPOCHS, "steps_per_epoch": 6, "batch_size": 60, **options}
    return TrainingPlan(Architecture("pnet"), Training(**settings), 3, crops_url, "0123456789abcdef")


def backend(kind: Callable[[Config], Any] = RayBackend, workers: int = 2) -> Any:
    cluster = Cluster(workers=workers, cpus_per_worker=1)
    return kind(Config(sources={"tiny": Source(url="unused")}, cluster=cluster))


class InStep(_Run):
    """Keeps the workers from running ahead of what the driver has heard by more than the epoch they are in.

    Else a fault that the driver causes when it hears of an epoch may come after the last one.
    """

    def epoch(self, record: dict[str, float]) -> None:
        super().epoch(record)
        while self.records:
            time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(ray_cluster: None, mined: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    epochs: list[float] = []
    began_with: list[str] = []

    def hear(record: dict[str, float]) -> None:
        epochs.append(record["epoch"])
        if record["epoch"] == 1:
            began_with.extend(_read(running("RayTrainWorker") / "environ").split("\0"))

    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mtcnn.cluster.trainer, "_Run", InStep)
        weights = backend().train(planned(mined), str(folder), hear)
    assert epochs == [1, 2, 3, 4]
    # glibc reads it when a process begins.
    assert {f"{name}={value}" for name, value in WORKER_ENVIRONMENT.items()} <= set(began_with)
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT]
    return weights


def running(actor: str) -> Path:
    """The process of an actor of that class, on the cluster that this process has started."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and f"ray::{actor}" in _read(process / "cmdline"):
            raylet = _parent(process.name)
            if _parent(raylet) == str(os.getpid()):
                return process
    raise AssertionError(f"no {actor} is running")


def kill_one(actor: str) -> None:
    """SIGKILL an actor of that class."""
    os.kill(int(running(actor).name), signal.SIGKILL)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _parent(pid: str) -> str:
    return _read(Path("/proc", pid, "stat")).rpartition(")")[2].split()[1]


def test_two_workers_train_a_net(undisturbed: bytes) -> None:
    weights = load(undisturbed, "pnet", "pnet.pt")
    assert weights.digest == "0123456789abcdef"
    assert weights.metrics["positive_accuracy"] > 0.9


def test_a_training_that_is_stopped_and_then_loses_its_lead_and_a_worker_ends_the_same(
    undisturbed: bytes, mined: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mtcnn.cluster.trainer, "_Run", InStep)

    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 2:
            # As a controller does that outlives its run for a moment; nobody else gives it back.
            placement_group([{"CPU": 1}] * 2)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend().train(planned(mined), str(tmp_path), stop)
    epochs: list[float] = []
    victims = [InStep.__name__, "RayTrainWorker"]

    def kill(record: dict[str, float]) -> None:
        epochs.append(record["epoch"])
        if victims:
            kill_one(victims.pop(0))

    weights = backend().train(planned(mined), str(tmp_path), kill)
    assert epochs in ([2, 3, 4], [3, 4]) and not victims
    assert weights == undisturbed
    # It is finished: nothing is left to hear of, in the other backend either.
    silent: list[float] = []
    again = backend(LocalBackend).train(
        planned(mined), str(tmp_path), lambda record: silent.append(record["epoch"])
    )
    assert silent == [] and again == weights


def test_workers_keep_the_memory_that_a_step_gives_back() -> None:
    program = """
import resource, threading, torch
from mtcnn.training.loop import keep_freed_memory

keep_freed_memory()
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    # Of three sizes: one alone would be given the block that it gave back.
    return sum(torch.ones(size * 2**18).sum() for size in (24, 32, 48))

def train():
    for _ in range(10):
        step()
    before = faults()
    for _ in range(10):
        step()
    print(faults() - before)

thread = threading.Thread(target=train)
thread.start()
thread.join()
"""
    environment = os.environ | WORKER_ENVIRONMENT
    found = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    # As many as 10 steps of 104 MB have pages of 4 kB, where memory is returned.
    assert int(found.stdout) < 2_000


def test_a_mistake_of_the_users_comes_out_in_its_own_words_and_at_once(
    undisturbed: bytes, mined: str, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"^pnet: loss not finite by step \d+ .* lower stages.pnet.training.lr$"
    ):
        backend().train(planned(mined, lr=1e30, warmup=0.0), str(tmp_path), lambda record: None)


def test_without_ray_a_stopped_training_goes_on_too(mined: str, tmp_path: Path) -> None:
    plan = planned(mined)
    whole = backend(LocalBackend).train(plan, str(tmp_path / "whole"), lambda record: None)

    def stop(record: dict[str, float]) -> None:
        if record["epoch"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backend(LocalBackend).train(plan, str(tmp_path / "cut"), stop)
    epochs: list[float] = []
    cut = backend(LocalBackend).train(
        plan, str(tmp_path / "cut"), lambda record: epochs.append(record["epoch"])
    )
    assert epochs == [3, 4]
    assert cut == whole
