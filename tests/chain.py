"""A chain on a dozen tiny scenes for tests: its configuration, and a backend that notes and interrupts."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mtcnn.backend import LocalBackend, Outcome
from mtcnn.config import Config, load_config
from mtcnn.mining.plan import MiningPlan, Unit
from mtcnn.nets import STAGES
from mtcnn.pipeline import Pipeline
from mtcnn.sources import prepare
from mtcnn.training.loop import TrainingPlan

TINY = [
    "cluster.mode=local", "name=tiny", "sources.scenes.kind=synthetic", "sources.scenes.count=12",
    "sources.scenes.seed=5", "sources.scenes.images_per_shard=3", "sources.test.kind=synthetic",
    "sources.test.count=3", "sources.test.seed=6", "sources.test.use=test",
    *(f"stages.{stage}.mining.min_face=36" for stage in STAGES),
    *(f"stages.{stage}.training.{key}" for stage in STAGES for key in ("steps_per_epoch=6", "batch_size=48")),
    "stages.pnet.training.epochs=2", "stages.rnet.training.epochs=1", "stages.onet.training.epochs=1",
    "stages.pnet.training.recall=0.5", "stages.rnet.training.recall=0.5", "evaluation.min_face=36",
]  # fmt: skip


class Watched(LocalBackend):
    """Notes what it is asked for, and is interrupted where a test says so."""

    def __init__(self, config: Config, units: int = 10**9, epochs: int = 10**9) -> None:
        super().__init__(config)
        self.units, self.epochs = units, epochs
        self.mined: list[tuple[str, str]] = []
        self.trained: list[str] = []

    def mine(self, plan: MiningPlan, units: Iterable[Unit]) -> Iterator[Outcome]:
        for outcome in super().mine(plan, units):
            self.mined.append((plan.stage, outcome.unit))
            yield outcome
            if len(self.mined) == self.units:
                raise KeyboardInterrupt

    def train(
        self, plan: TrainingPlan, checkpoints: str, on_epoch: Callable[[dict[str, float]], None]
    ) -> bytes:
        self.trained.append(plan.architecture.stage)
        seen = 0

        def heard(record: dict[str, float]) -> None:
            nonlocal seen
            seen += 1
            # In the middle of an epoch as far as the checkpoint goes: this one is not kept yet.
            if seen > self.epochs:
                raise KeyboardInterrupt
            on_epoch(record)

        return super().train(plan, checkpoints, heard)


def make_scenes(folder: Path) -> Path:
    """Source shards in folders `scenes` and `test`."""
    for name, count, seed in (("scenes", 12, 5), ("test", 3, 6)):
        prepare("synthetic", None, [], str(folder / name), count=count, seed=seed, images_per_shard=3)
    return folder


def configured(scenes: Path, runs: Path, *overrides: str) -> Config:
    urls = [f"sources.{name}.url={scenes / name}" for name in ("scenes", "test")]
    stores = [f"store.{kind}={runs}/{{name}}/{kind}" for kind in ("crops", "models")]
    return load_config(None, [*TINY, *urls, *stores, f"store.runs={runs}", *overrides])


def pipeline(config: Config, units: int = 10**9, epochs: int = 10**9) -> tuple[Pipeline, Watched]:
    watched = Watched(config, units, epochs)
    return Pipeline(config, watched), watched


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its time and content."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
