"""jobs/evaluate.py: what it prints, what it writes, and how it answers wrong arguments."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from mtcnn.detector import Detector
from mtcnn.errors import MissingKey, UserError
from mtcnn.image import decode

JOBS = Path(__file__).parents[2] / "jobs"


@pytest.fixture
def job(monkeypatch, detector):
    """Run the job with these arguments and the fake detector; returns how the detector was loaded."""
    loaded = {}

    def load(weights=None, **options):
        loaded.update(weights=weights, **options)
        return detector

    monkeypatch.setattr(Detector, "load", load)
    monkeypatch.syspath_prepend(str(JOBS))

    def run(*arguments):
        spec = importlib.util.spec_from_file_location("evaluate_job", JOBS / "evaluate.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
        module.main()
        return loaded

    return run


def test_it_prints_the_figures_and_writes_json_plots_and_sheet(job, source, tmp_path, capsys):
    out, file = tmp_path / "pictures", tmp_path / "deep" / "result.json"
    loaded = job("--weights", "w", "--source", source, "--json", file, "--out", out)
    assert loaded == {"weights": "w", "device": "cpu", "min_face": 12, "thresholds": (0.4, 0.2, 0.02)}
    assert "9 images, 18 faces: AP@0.4 0.4444, AP@0.5 0.4444" in capsys.readouterr().out
    assert json.loads(file.read_text())["images"] == 9
    names = ["precision-recall.svg", "recall-by-size.svg", "recall-false-positives.svg", "worst.jpg"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert decode((out / "worst.jpg").read_bytes()).ndim == 3


def test_landmarks_and_options(job, source, tmp_path):
    file = tmp_path / "result.json"
    options = ("--min-face", 20, "--thresholds", 0.6, 0.7, 0.7, "--limit", 3, "--out", tmp_path / "plots")
    loaded = job("--source", source, "--protocol", "landmarks", "--json", file, *options)
    assert loaded == {"weights": None, "device": "cpu", "min_face": 20, "thresholds": (0.6, 0.7, 0.7)}
    tree = json.loads(file.read_text())
    assert (tree["protocol"], tree["images"] + len(tree["skipped"])) == ("landmarks", 3)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["landmark-errors.svg"]


def test_a_configuration_names_weights_source_and_thresholds(job, source, tmp_path):
    config = tmp_path / "run.yaml"
    config.write_text(f"name: mine\nsources:\n  held-out: {{url: {source}, use: test}}\n")
    loaded = job("--config", config, "evaluation.min_face=15", "evaluation.max_images=2")
    assert (loaded["weights"], loaded["min_face"]) == ("runs/mine/models", 15)


def test_a_test_source_that_can_be_made_is_made(job, tmp_path, capsys):
    config, url = tmp_path / "run.yaml", tmp_path / "scenes"
    config.write_text(f"sources:\n  scenes: {{kind: synthetic, url: {url}, count: 2, use: test}}\n")
    job("--config", config)
    assert "2 images" in capsys.readouterr().out
    assert (url / "index.json").is_file()


def test_weights_that_a_configuration_has_not_made_yet_are_missed_with_the_command(
    job, tmp_path, monkeypatch
):
    def load(*_args, **_options):
        raise MissingKey("runs/mine/models/pnet.pt: not found")

    monkeypatch.setattr(Detector, "load", load)
    config = tmp_path / "run.yaml"
    config.write_text("sources:\n  scenes: {kind: synthetic, url: scenes, use: test}\n")
    command = f"jobs/full_pipeline.py --config {config}"
    with pytest.raises(UserError, match=f"pnet.pt: not found: run {command} first"):
        job("--config", config)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "--source is needed"),
        (["--source", "nowhere"], "nowhere"),
        (["--source", "nowhere", "--protocol", "wider"], "--ground-truth"),
        (["--source", "nowhere", "--protocol", "landmarks", "--iou", "0.4"], "--protocol ap"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_missing(job, arguments, words):
    with pytest.raises(UserError, match=words) as caught:
        job(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["--thresholds", "2", "0", "0"], ["--limit", "0"], ["--protocol", "coco"], ["--iou", "0"]]
)
def test_values_out_of_range_end_with_exit_code_2(job, arguments):
    with pytest.raises(SystemExit) as caught:
        job("--source", "x", *arguments)
    assert caught.value.code == 2
