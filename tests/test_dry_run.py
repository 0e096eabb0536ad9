"""The plan of a run before anything is made; what it says of a run that is there is tested with the chain."""

import subprocess
import sys
from pathlib import Path

import pytest

from mtcnn.config import Config, load_config
from mtcnn.dry_run import described, plan
from mtcnn.errors import UserError

ROOT = Path(__file__).resolve().parents[1]


def configured(folder: Path, *overrides: str) -> Config:
    return load_config(
        None,
        [
            "name=planned", "sources.scenes={kind: synthetic, count: 40, seed: 1, images_per_shard: 8}",
            f"sources.scenes.url={folder}/scenes", "sources.test={kind: synthetic, count: 5, use: test}",
            f"sources.test.url={folder}/test", f"store.runs={folder}/runs", f"store.models={folder}/models",
            f"store.crops={folder}/crops", *overrides,
        ],
    )  # fmt: skip


def test_of_a_run_that_has_not_begun_everything_is_to_do_and_nothing_is_made(tmp_path: Path) -> None:
    config = configured(tmp_path, "stages.rnet.training.steps_per_epoch=70")
    steps = plan(config)
    assert [(step.phase, step.state) for step in steps] == [
        (phase, "to do")
        for phase in (
            "prepare scenes", "prepare test", "mine pnet", "train pnet", "mine rnet", "train rnet", "mine onet",
            "train onet", "evaluate test", "report",
        )
    ]  # fmt: skip
    makes = {step.phase: step.makes for step in steps}
    assert makes["prepare scenes"].startswith("5 shards: 40 images, ~")
    assert makes["mine pnet"].startswith("5 units: ~") and "landmark" not in makes["mine pnet"]
    assert " landmark, ~" in makes["mine onet"]
    assert makes["train rnet"] == "10 epochs of 70 steps of 512 crops"
    assert makes["evaluate test"] == "5 images"
    text = described(config)
    assert f"more in {tmp_path}/crops (" in text and " GB free)" in text
    assert f"{tmp_path}/runs/planned/report.html" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["cluster.mode=local"], "this process, with 3 CPUs and without Ray"),
        ([], "a new Ray on this machine, with 3 CPUs: 3 mining actors, 1 CPU each; 1 training worker, 3 CPUs each"),
        (["cluster.actors=2", "cluster.workers=2", "cluster.gpus_per_worker=1"],
         "a new Ray on this machine, with 3 CPUs: 2 mining actors, 1 CPU each; "
         "2 training workers, 1 CPU and 1 GPU each"),
        (["cluster.address=ray-head:6379", "cluster.cpus_per_actor=2", "cluster.gpus_per_actor=0.25"],
         "the Ray cluster at ray-head:6379: as many mining actors as fit, 2 CPUs and 0.25 GPUs each; "
         "1 training worker, its share of a machine each"),
    ],
)  # fmt: skip
def test_it_says_what_the_run_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overrides: list[str], words: str
) -> None:
    monkeypatch.setattr("mtcnn.dry_run.usable_cpus", lambda: 3)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    assert described(configured(tmp_path, *overrides)).endswith(f"runs on   {words}")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("sources.photos.url=nowhere", r"sources\.photos: no source shards in nowhere: make them with jobs/prepare"),
        ("sources.scenes.use=test", "none has use: train"),
        ("sources.photos={kind: folder, url: out, images: none}", "folder needs the folder of its images"),
    ],
)  # fmt: skip
def test_what_would_stop_the_run_stops_the_plan(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        plan(configured(tmp_path, override))


def test_it_is_an_option_of_the_command_and_starts_no_ray(tmp_path: Path) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = sys.argv[1:]\n"
        "sys.path.insert(0, sys.argv[0].rpartition('/')[0])\n"
        "try:\n"
        "    runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "finally:\n"
        "    print('ray' in sys.modules)\n"
    )
    job = [str(ROOT / "jobs" / "full_pipeline.py"), "--dry-run", "sources.scenes.count=7"]
    done = subprocess.run(
        [sys.executable, "-c", code, *job], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("prepare scenes     to do  1 shard: 7 images, ~")
    assert done.stdout.endswith("False\n")
    assert list(tmp_path.iterdir()) == []
