"""Every path runs on tiny work and reports what its issue asks for; how fast is left to real runs."""

import dataclasses
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from mtcnn import boxes as bx
from mtcnn.bench import detector, dface, mining, shards, training
from mtcnn.bench.data import Setting, material
from mtcnn.bench.engines import canvas_shape, engines, pyramid_pixels
from mtcnn.bench.report import Report
from mtcnn.errors import UserError
from mtcnn.image import Octaves
from mtcnn.shards import read_manifest
from mtcnn.sources.read import read_shard
from mtcnn.store import open_store


def names(report: Report) -> list[str]:
    return [row.name for row in report.rows]


def test_mining_is_held_against_what_cannot_be_left_out_and_against_dfaces_way(tiny: Setting) -> None:
    report = mining.run(tiny)
    goals = {(row.name, row.limit_is == "DFace's way"): row.goal for row in report.rows if row.goal}
    assert goals == {
        ("mining P-Net crops", False): 0.8,
        ("mining R-Net crops", False): 0.7,
        ("mining O-Net crops", False): 0.7,
        ("mining R-Net crops", True): 6,
        ("mining O-Net crops", True): 6,
    }
    assert all(row.figure > 0 and row.limit and row.ratio and row.cpu_ratio for row in report.rows)


def test_without_weights_only_pnet_crops_are_measured_and_the_report_says_so(tiny: Setting, tmp_path) -> None:
    report = mining.run(dataclasses.replace(tiny, weights=str(tmp_path / "none")))
    assert set(names(report)) == {"mining P-Net crops"}
    assert any("no pnet.pt, rnet.pt, onet.pt" in note for note in report.notes)


def test_shards_are_read_cold_and_from_memory_at_every_size(tiny: Setting) -> None:
    report = shards.run(tiny)
    goals = {row.name: row.goal for row in report.rows if row.goal}
    assert goals == {
        name: goal
        for size in (12, 24, 48)
        for name, goal in (
            (f"{size} px, cold, normalised", 0.7),
            (f"{size} px, memory, normalised", 0.9),
            (f"{size} px, shards", 1.05),
        )
    }


def test_the_limit_of_shards_reads_every_crop_that_there_is(tiny: Setting) -> None:
    shards.run(tiny)
    store = open_store(str(tiny.folder / "rnet"))
    manifest = read_manifest(store)
    crops = sum(manifest.count(name, "train") for name in ("pos", "part", "neg"))
    assert shards._members(store, manifest)() == crops


@pytest.mark.slow
def test_training_is_held_against_one_batch_a_plain_step_and_one_worker(tiny: Setting) -> None:
    report = training.run(tiny)
    for net in ("P-Net", "R-Net", "O-Net"):
        assert {
            f"training {net}, from shards",
            f"training {net}, the step",
            f"training {net}, 2 workers",
        } <= set(names(report))


def test_the_detector_is_held_against_convolutions_for_each_thread_count_and_min_face(
    tiny: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Large faces only: nets that have learned nothing would propose thousands of small ones.
    monkeypatch.setattr(detector, "MIN_FACES", (60.0, 80.0))
    report = detector.run(tiny)
    assert {"1 thread, min_face 60, torch: P-Net proposals", "1 thread, min_face 80, torch: cascade"} <= set(
        names(report)
    )
    stages = report.tables[0]
    assert stages[0] == ["ms an image", "pnet", "rnet", "onet"]
    assert all(len(row) == 4 for row in stages)


def test_the_limits_canvas_has_as_many_pixels_as_the_pyramids(tiny: Setting) -> None:
    octaves = Octaves(np.zeros((300, 400, 3), np.uint8))
    scales = [12 / 20 * 0.709**k for k in range(30) if 300 * 12 / 20 * 0.709**k >= 12]
    levels = sum(pixels.shape[0] * pixels.shape[1] for pixels, _ in map(octaves.level, scales))
    assert pyramid_pixels(400, 300, 20, 0.709) == pytest.approx(levels, rel=0.01)
    height, width = canvas_shape([(400, 300)], 20, 0.709)
    assert height * width == pytest.approx(levels, rel=0.02)


def test_every_engine_that_is_installed_runs(tiny: Setting) -> None:
    ways = engines(material(tiny).weights[0], (1, 60, 80), "cpu", 1)
    assert set(ways) >= {"eager"} | {name for name in ("onnxruntime", "openvino") if find_spec(name)}
    for way in ways.values():
        way()


def test_material_is_made_of_a_given_source_in_pieces_of_the_size_asked_for(tiny: Setting, tmp_path) -> None:
    first = material(dataclasses.replace(tiny, images=3))
    store = open_store(first.url)
    assert [image.key for image in read_shard(store, first.units[0].shard)] == [i.key for i in first.images]
    assert len(first.images) == 3
    with pytest.raises(UserError):
        material(dataclasses.replace(tiny, source=str(tmp_path / "nothing")))


def test_dfaces_way_writes_a_file_a_crop_and_suppresses_as_we_do(tiny: Setting, tmp_path) -> None:
    found = material(tiny)
    worker = dface.DFaceMiner("pnet", [], [], tmp_path / "crops", "cpu")
    assert worker.mine(found.images) == len(found.images)
    files = list((tmp_path / "crops").glob("*.jpg"))
    lines = (tmp_path / "crops" / "list.txt").read_text().splitlines()
    assert len(files) == len(lines) == worker.written > 0
    assert cv2.imread(str(files[0])).shape == (12, 12, 3)

    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 50, (80, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(10, 40, (80, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(80).astype(np.float32)
    kept = dface._nms(np.concatenate([boxes, scores[:, None]], axis=1), 0.5)
    assert kept == bx.nms(boxes, scores, 0.5).tolist()
