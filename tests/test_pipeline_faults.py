"""The chain when its store fails, and when two drivers do the same run or one is killed: the same bytes in the end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from mtcnn import backend as backend_module
from mtcnn.backend import LocalBackend, Outcome
from mtcnn.config import Config, to_yaml
from mtcnn.mining.plan import MiningPlan, Unit
from mtcnn.nets import STAGES
from mtcnn.pipeline import Pipeline
from mtcnn.run_log import read_records
from mtcnn.store import Store, open_store
from mtcnn.training.loop import TrainingPlan
from tests import s3
from tests.chain import configured, make_scenes, pipeline

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True, scope="module")
def one_core() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "usable_cpus", lambda: 1)
        yield


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source shards, made once."""
    return make_scenes(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def undisturbed(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Crops and weights of a run on disk that nothing disturbed."""
    runs = tmp_path_factory.mktemp("undisturbed")
    pipeline(configured(scenes, runs))[0].all()
    return made(open_store(str(runs / "tiny")))


def made(run: Store) -> dict[str, bytes]:
    """Every object of a run that is decided by its configuration: all but the times of day."""
    return {
        f"{folder}/{key}": run.child(folder).get(key)
        for folder in ("crops", "models")
        for key, _ in run.child(folder).list()
    }


@pytest.mark.s3
def test_on_an_object_store_that_fails_every_tenth_request_the_result_is_that_on_disk(
    undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.serving() as sound:
        s3.use(monkeypatch, sound)
        s3.make_bucket()
    url = f"s3://{s3.BUCKET}/{tmp_path.name}"
    stores = [f"store.crops={url}/{{name}}/crops", f"store.models={url}/{{name}}/models", f"store.runs={url}"]
    sources = [f"sources.{name}.url={url}/{name}" for name in ("scenes", "test")]
    with s3.serving(failing=10) as address:
        s3.use(monkeypatch, address)
        chain, watched = pipeline(configured(tmp_path, tmp_path, *stores, *sources))
        findings = chain.all()
        assert len(watched.mined) == 12
        assert made(chain.run) == undisturbed
        assert chain.run.get("report.html").startswith(b"<!") and findings.report == f"{url}/tiny/report.html"
        # Nothing of the store's secrets is in what people look at and pass on.
        for key in ("report.html", "config.yaml", "metrics.jsonl", "findings.json"):
            assert b"secret-words" not in chain.run.get(key)
    assert list(tmp_path.iterdir()) == []


class Meeting(LocalBackend):
    """Lets something else happen once, in the middle of its own work."""

    def __init__(self, config: Config, moment: str, happens: Callable[[], object]) -> None:
        super().__init__(config)
        self.moment, self.happens = moment, happens

    def _now(self, moment: str) -> None:
        if moment == self.moment:
            self.moment = ""
            self.happens()

    def mine(self, plan: MiningPlan, units: Iterable[Unit]) -> Iterator[Outcome]:
        for outcome in super().mine(plan, units):
            self._now(f"mine {plan.stage}")
            yield outcome

    def train(
        self, plan: TrainingPlan, checkpoints: str, on_epoch: Callable[[dict[str, float]], None]
    ) -> bytes:
        def heard(record: dict[str, float]) -> None:
            on_epoch(record)
            self._now(f"train {plan.architecture.stage}")

        return super().train(plan, checkpoints, heard)


@pytest.mark.parametrize("moment", ["mine pnet", "train pnet", "mine rnet"])
def test_a_second_driver_that_does_the_whole_run_meanwhile_changes_nothing(
    undisturbed: dict[str, bytes], scenes: Path, tmp_path: Path, moment: str
) -> None:
    config = configured(scenes, tmp_path)
    second, _ = pipeline(config)
    first = Pipeline(config, Meeting(config, moment, second.all))
    first.all()
    assert made(first.run) == undisturbed
    # Records of both, and one evaluation, which the first has found done.
    phases = [(record["phase"], record["stage"]) for record in read_records(first.run)]
    assert {(phase, stage) for phase in ("mine", "train", "threshold") for stage in STAGES} < set(phases)
    assert phases.count(("evaluate", "")) == 1 and first.run.size("report.html")


def test_two_drivers_at_once_of_which_one_is_killed_and_started_again(
    undisturbed: dict[str, bytes], scenes: Path, tmp_path: Path
) -> None:
    config = configured(scenes, tmp_path / "runs")
    (tmp_path / "tiny.yaml").write_text(to_yaml(config))
    core = next(iter(os.sched_getaffinity(0)))

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                sys.executable,
                str(ROOT / "jobs" / "full_pipeline.py"),
                "--config",
                str(tmp_path / "tiny.yaml"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=(tmp_path / "errors").open("ab"),
            # As many threads as the undisturbed run.
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )

    one, other = start(), start()
    deadline = time.monotonic() + 200
    while not list(tmp_path.glob("runs/tiny/crops/rnet-*/*.tar")):
        assert time.monotonic() < deadline and one.poll() is None, (tmp_path / "errors").read_text()
        time.sleep(0.02)
    one.send_signal(signal.SIGKILL)
    again = start()
    for driver in (other, again):
        assert driver.wait(200) == 0, (tmp_path / "errors").read_text()
    assert one.wait(10) == -signal.SIGKILL
    run = open_store(str(tmp_path / "runs" / "tiny"))
    assert made(run) == undisturbed
    assert run.get("report.html").startswith(b"<!") and read_records(run)
