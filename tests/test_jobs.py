"""The commands as users run them: what they print and leave, and one line with exit code 2 for a mistake."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtcnn.nets import STAGES, Architecture, Weights, build, save
from mtcnn.video import Video, VideoFile

ROOT = Path(__file__).resolve().parents[1]
JOBS = ROOT / "jobs"
# One thread: tests share a machine.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": ""}


def command(job: str, *arguments: object) -> list[str]:
    return [sys.executable, str(JOBS / f"{job}.py"), *map(str, arguments)]


def run(job: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(job, *arguments), capture_output=True, text=True, check=False, cwd=cwd, env=ENVIRONMENT
    )


def mistake(done: subprocess.CompletedProcess[str]) -> str:
    """The one line about a mistake of the user's."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and done.stderr.splitlines()[-1] == lines[0]
    return lines[0]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained nets: they say something of anything."""
    folder = tmp_path_factory.mktemp("weights")
    for number, stage in enumerate(STAGES):
        net = build(Architecture(stage, landmarks=stage == "onet"))
        net.initialise(torch.Generator().manual_seed(number))
        (folder / f"{stage}.pt").write_bytes(save(Weights(net)))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images of every kind, some in a folder below, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    rng = np.random.default_rng(1)
    rgb = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    rgb.save(folder / "colour.jpg")
    rgb.convert("L").save(folder / "grey.png")
    rgb.convert("RGBA").save(folder / "below" / "colour.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "turned.JPG", exif=turned)
    Image.new("RGB", (1, 1)).save(folder / "one.png")
    Image.new("RGB", (70, 50), (90, 90, 90)).save(folder / "empty.bmp")
    (folder / "notes.txt").write_text("not an image, and not taken for one")
    return folder


def test_help_of_every_job_says_what_it_is_for() -> None:
    jobs = sorted(path for path in JOBS.glob("*.py") if not path.stem.startswith("_"))
    assert {"prepare", "mine", "train", "evaluate", "detect", "full_pipeline"} <= {path.stem for path in jobs}
    # One process for all: what they import takes seconds.
    code = (
        "import runpy, sys\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "for job in sys.argv[1:]:\n"
        "    sys.argv = [job, '--help']\n"
        "    try:\n"
        "        runpy.run_path(job, run_name='__main__')\n"
        "    except SystemExit as end:\n"
        "        print('exit code', end.code)\n"
    )
    asked = [sys.executable, "-c", code, str(JOBS), *map(str, jobs)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    texts = done.stdout.split("exit code 0\n")[:-1]
    assert len(texts) == len(jobs), done.stderr
    for path, text in zip(jobs, texts, strict=True):
        assert text.startswith(f"usage: {path.name}") and "--help" in text


# detect


def test_detect_in_a_folder_of_every_kind_of_image(photos: Path, weights: Path, tmp_path: Path) -> None:
    out, pictures = tmp_path / "faces.jsonl", tmp_path / "drawn"
    done = run(
        "detect", photos, "--weights", weights, "--json", out, "--draw", pictures, "--min-face", 12,
        "--thresholds", 0.3, 0.3, 0.3,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    rows = [json.loads(line, parse_constant=pytest.fail) for line in out.read_text().splitlines()]
    names = ["below/colour.png", "colour.jpg", "empty.bmp", "grey.png", "one.png", "turned.JPG"]
    assert [row["image"] for row in rows] == [str(photos / name) for name in names]
    sizes = [(row["width"], row["height"]) for row in rows]
    assert sizes == [(90, 60), (90, 60), (70, 50), (90, 60), (1, 1), (60, 90)]
    assert rows[4]["faces"] == [] and sum(len(row["faces"]) for row in rows) > 0
    for row in rows:
        assert set(row) == {"image", "width", "height", "faces"}
        for face in row["faces"]:
            assert set(face) == {"box", "score", "landmarks"}
            assert len(face["box"]) == 4 and 0.3 <= face["score"] <= 1
            assert [len(point) for point in face["landmarks"]] == [2] * 5
        scores = [face["score"] for face in row["faces"]]
        assert scores == sorted(scores, reverse=True)
    # One picture each, also where two images have one name.
    assert sorted(path.name for path in pictures.iterdir()) == [
        "colour-2.jpg", "colour.jpg", "empty.jpg", "grey.jpg", "one.jpg", "turned.jpg",
    ]  # fmt: skip


def test_detect_prints_json_and_names_what_it_could_not_read(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    broken = photos / "notes.txt"
    done = run("detect", broken, photos / "grey.png", "--weights", weights, "--thresholds", 1, 1, 1)
    assert mistake(done) == f"error: {broken}: not an image file, or a damaged one"
    assert json.loads(done.stdout) == {
        "image": str(photos / "grey.png"), "width": 90, "height": 60, "faces": []
    }  # fmt: skip


def test_detect_without_a_head_for_points_still_writes_json(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    for stage in STAGES:
        (tmp_path / f"{stage}.pt").write_bytes((weights / f"{stage}.pt").read_bytes())
    net = build(Architecture("onet"))
    net.initialise(torch.Generator().manual_seed(2))
    (tmp_path / "onet.pt").write_bytes(save(Weights(net)))
    done = run("detect", photos / "colour.jpg", "--weights", tmp_path, "--thresholds", 0.1, 0.1, 0.1)
    assert done.returncode == 0, done.stderr
    (row,) = [json.loads(line, parse_constant=pytest.fail) for line in done.stdout.splitlines()]
    assert row["faces"] and all(face["landmarks"] is None for face in row["faces"])


def test_detect_reads_standard_input_and_videos_in_the_order_given(
    photos: Path, weights: Path, tmp_path: Path
) -> None:
    film, drawn, out = tmp_path / "film.mp4", tmp_path / "drawn", tmp_path / "new" / "faces.jsonl"
    with VideoFile(film, 10) as video:
        for number in range(3):
            video.add(np.full((120, 160, 3), 80 * number, np.uint8))
    asked = ["detect", film, "-", "--weights", weights, "--draw", drawn, "--json", out]
    with (photos / "grey.png").open("rb") as file:
        done = subprocess.run(command(*asked), stdin=file, capture_output=True, check=False, env=ENVIRONMENT)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["image"] for row in rows] == [str(film)] * 3 + ["-"]
    assert [(row.get("frame"), row.get("seconds"), row["width"]) for row in rows] == [
        (0, 0.0, 160), (1, 0.1, 160), (2, 0.2, 160), (None, None, 90),
    ]  # fmt: skip
    assert sorted(path.name for path in drawn.iterdir()) == ["film.mp4", "stdin.jpg"]
    assert Video(drawn / "film.mp4").announced == 3
    # Drawn beside itself, a video would be written over while it is read.
    assert "would write over it" in mistake(run("detect", film, "--weights", weights, "--draw", tmp_path))
    assert Video(film).announced == 3


def test_detect_writes_over_no_photo_that_it_was_given(photos: Path, weights: Path, tmp_path: Path) -> None:
    for name in ("2023/x.jpg", "x.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((photos / "one.png").read_bytes())
    before = (tmp_path / "x.jpg").read_bytes()
    words = mistake(run("detect", tmp_path, "--weights", weights, "--draw", tmp_path))
    assert "x.jpg: --draw" in words and "would write over it" in words
    assert (tmp_path / "x.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{photos}/none.jpg"], r"{photos}/none\.jpg: no such file or folder"),
        (["{photos}/below", "{nothing}"], r"{nothing}: no images \(.*\.jpg.*\) in this folder"),
        (["{photos}", "--weights", "{nothing}"], r"{nothing}/pnet\.pt: not found"),
        (["{photos}/one.png", "--json", "{photos}/one.png/x"], r"{photos}/one\.png/x: cannot be written: "),
    ],
)
def test_detect_says_what_is_wrong(
    photos: Path, weights: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    places = {"photos": str(photos), "nothing": str(nothing)}
    given = [argument.format(**places) for argument in arguments]
    if "--weights" not in given:
        given += ["--weights", str(weights)]
    escaped = {name: re.escape(place) for name, place in places.items()}
    assert re.match(rf"error: {words.format(**escaped)}", mistake(run("detect", *given)))


# phases


TINY = [
    "cluster.mode=local", "name=tiny", "sources.scenes.count=6", "sources.scenes.images_per_shard=2",
    "sources.held-out.count=2", "sources.scenes.url=scenes", "sources.held-out.url=held-out", "store.runs=runs",
    *(f"stages.{stage}.mining.min_face=40" for stage in STAGES),
    *(f"stages.{stage}.training.epochs=1" for stage in STAGES),
    *(f"stages.{stage}.training.steps_per_epoch=4" for stage in STAGES),
    *(f"stages.{stage}.training.batch_size=32" for stage in STAGES),
    "stages.pnet.training.recall=0.3", "stages.rnet.training.recall=0.3", "evaluation.min_face=40",
]  # fmt: skip


@pytest.mark.parametrize(
    ("job", "arguments", "words"),
    [
        ("full_pipeline", ["stages.pnet.trainin.lr=1"], "the command line: unknown key 'stages.pnet.trainin': did"),
        ("mine", ["pnet", "--config", "none.yaml"], "none.yaml: No such file or directory"),
        ("train", ["pnet", "--config", str(ROOT / "configs/demo.yaml"), "sed=1"], "the command line: unknown key"),
        ("prepare", ["celeba", "--images", ".", "--annotations", "a.txt", "b.txt"], "annotation file a.txt: No"),
        ("mine", ["rnet", *TINY], "rnet is mined with the weights of pnet, .* run jobs/mine.py pnet and jobs/train.py"),
        ("train", ["pnet", *TINY], "train pnet: no crops in .*: run jobs/mine.py pnet"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path: Path, job: str, arguments: list[str], words: str) -> None:
    assert re.match(f"error: {words}", mistake(run(job, *arguments, cwd=tmp_path)))


def test_a_stage_that_does_not_exist_is_a_mistake_too(tmp_path: Path) -> None:
    done = run("train", "qnet", cwd=tmp_path)
    assert done.returncode == 2 and "invalid choice: 'qnet'" in done.stderr


def test_phases_one_by_one_then_the_rest(tmp_path: Path) -> None:
    mined = run("mine", "pnet", *TINY, cwd=tmp_path)
    assert mined.returncode == 0, mined.stderr
    assert re.match(
        r"pnet: \d+ pos, \d+ part, \d+ neg, 0 landmark\ncrops  .*/runs/tiny/crops/pnet-[0-9a-f]{16}\n$",
        mined.stdout,
    )
    trained = run("train", "pnet", *TINY, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert re.search(
        r"positive_accuracy \d\.\d+.*, mining threshold 0\.\d+\nweights  .*/runs/tiny/models/pnet\.pt\n$",
        trained.stdout,
    )
    rest = run("full_pipeline", *TINY, cwd=tmp_path)
    assert rest.returncode == 0, rest.stderr
    assert "mine pnet: there already" in rest.stderr and "train pnet: there already" in rest.stderr
    assert "mine onet: 3/3 units" in rest.stderr
    for stage in STAGES:
        assert re.search(rf"^ *{stage} +[\d,]+ ", rest.stdout, re.MULTILINE)
    places = dict(line.split(maxsplit=1) for line in rest.stdout.splitlines()[-2:])
    assert places["weights"].endswith("/runs/tiny/models") and places["report"].endswith(
        "/runs/tiny/report.html"
    )
    assert (tmp_path / "runs" / "tiny" / "report.html").stat().st_size > 1000


@pytest.mark.parametrize(
    ("mode", "ending"),
    [("local", signal.SIGINT), pytest.param("ray", signal.SIGTERM, marks=pytest.mark.ray)],
)
def test_ctrl_c_or_a_cluster_manager_stops_it_with_one_line_and_keeps_what_is_done(
    tmp_path: Path, mode: str, ending: signal.Signals
) -> None:
    arguments = [*TINY, "sources.scenes.count=40", "stages.pnet.mining.random_squares=3000"]
    arguments.append(f"cluster.mode={mode}")
    started = subprocess.Popen(
        command("full_pipeline", *arguments), stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=ENVIRONMENT,
        # Tests that a script runs in the background are started with SIGINT ignored, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/tiny/crops/pnet-*/scenes-*.json")) and started.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    started.send_signal(ending)
    errors = started.communicate(timeout=60)[1]
    assert started.returncode == 130, errors
    assert errors.splitlines()[-1] == "stopped; the same command goes on from here"
    assert "Traceback" not in errors
    assert list(tmp_path.glob("runs/tiny/crops/pnet-*/scenes-*.json"))


def line_of(file: Path, text: str) -> int:
    """Number of the line that holds a text."""
    return next(n for n, line in enumerate(file.read_text().splitlines(), start=1) if text in line)


def test_a_debugger_stops_in_the_mining_and_in_the_training_code(tmp_path: Path) -> None:
    unit, loop = ROOT / "mtcnn" / "mining" / "unit.py", ROOT / "mtcnn" / "training" / "loop.py"
    places = f"{unit}:{line_of(unit, 'labels = label(')}", f"{loop}:{line_of(loop, 'loss = losses(')}"
    asked = [
        f"b {places[0]}", f"b {places[1]}", "c", "p 'squares', exact.shape[1]", "clear 1", "c",
        "p 'pixels', tuple(x.shape)", "q",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "pdb", *command("full_pipeline", *TINY)[1:]],
        input="\n".join(asked) + "\n",
        capture_output=True, text=True, check=False, cwd=tmp_path, env=ENVIRONMENT, timeout=300,
    )  # fmt: skip
    assert "('squares', 4)" in done.stdout, done.stdout + done.stderr
    assert "('pixels', (32, 3, 12, 12))" in done.stdout
    for place in places:
        assert re.search(rf"> {re.escape(place.replace(':', '('))}\)", done.stdout)
