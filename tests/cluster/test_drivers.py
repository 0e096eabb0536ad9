"""Drivers on one Ray cluster that are killed and started again, or are two at once: the same bytes in the end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray

from mtcnn import backend as backend_module
from mtcnn.backend import CHECKPOINT
from mtcnn.config import to_yaml
from mtcnn.store import open_store
from tests.chain import configured, make_scenes, pipeline

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 300.0
"""Seconds for a driver to get to its end, on a busy machine too."""

DRIVER = """
import sys
from mtcnn.cluster import RayBackend, connect
from mtcnn.config import load_config
from mtcnn.pipeline import Pipeline

config = load_config(sys.argv[1], [])
with connect(config):
    chain = Pipeline(config, RayBackend(config))
    chain.mine("pnet")
    chain.train("pnet")
"""


def made(folder: Path) -> dict[str, bytes]:
    """Crops, and weights: all that the configuration decides."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for kind in ("crops", "models")
        for path in sorted((folder / "tiny" / kind).rglob("*"))
        if path.is_file()
    }


def test_drivers_killed_in_mining_and_in_training_and_two_at_once_leave_what_one_without_ray_does(
    ray_cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "usable_cpus", lambda: 1)
    scenes = make_scenes(tmp_path)
    alone, _ = pipeline(configured(scenes, tmp_path / "alone"))
    alone.mine("pnet")
    alone.train("pnet")

    runs, errors = tmp_path / "runs", tmp_path / "errors"
    # One thread for each actor and worker, as in the run above, and room for those of both drivers.
    cluster = ["mode=ray", "actors=1", "cpus_per_actor=0.5", "cpus_per_worker=0.5"]
    cluster.append(f"address={ray.get_runtime_context().gcs_address}")
    config = configured(scenes, runs, *(f"cluster.{option}" for option in cluster))
    (tmp_path / "tiny.yaml").write_text(to_yaml(config))
    core = next(iter(os.sched_getaffinity(0)))
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(tmp_path / "tiny.yaml")],
            stdout=subprocess.DEVNULL,
            stderr=errors.open("ab"),
            # The cluster of these tests is on loopback only (see conftest): a driver has to look for it there.
            env={**os.environ, "PYTHONPATH": str(ROOT), "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        started.append(driver)
        return driver

    def kill_at(driver: subprocess.Popen[bytes], pattern: str) -> None:
        deadline = time.monotonic() + DEADLINE
        while not list(runs.glob(pattern)):
            assert time.monotonic() < deadline and driver.poll() is None, errors.read_text()
            time.sleep(0.02)
        driver.send_signal(signal.SIGKILL)
        assert driver.wait(10) == -signal.SIGKILL

    try:
        kill_at(start(), "tiny/crops/pnet-*/*-pos.tar")
        assert not list(runs.glob("tiny/crops/pnet-*/manifest.json"))
        one, other = start(), start()
        kill_at(one, f"tiny/models/checkpoints/pnet-*/{CHECKPOINT}")
        again = start()
        for driver in (other, again):
            assert driver.wait(DEADLINE) == 0, errors.read_text()
    finally:
        for driver in started:
            driver.kill()
    assert made(runs) == made(tmp_path / "alone")
    assert open_store(str(runs / "tiny" / "models")).size("pnet.pt")
