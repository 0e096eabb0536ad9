"""The table of the cascade: proposals, coverage by size, and time, added up image by image."""

from typing import NamedTuple

import numpy as np
import pytest

from mtcnn.evaluation.cascade import SIZE_NAMES, CascadeMeter, covered, size_bins


class Found(NamedTuple):
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray


def found(*boxes):
    array = np.array(boxes, np.float32).reshape(-1, 4)
    return Found(array, np.ones(len(array), np.float32), np.full((len(array), 5, 2), np.nan, np.float32))


def test_sizes_are_binned_by_the_square_root_of_the_area():
    boxes = np.array(
        [[0, 0, 11.9, 11.9], [0, 0, 12, 12], [0, 0, 40, 10], [0, 0, 79, 79], [0, 0, 160, 160]], np.float32
    )
    assert [SIZE_NAMES[i] for i in size_bins(boxes)] == ["<12", "12-20", "20-40", "40-80", ">=160"]


def test_recall_falls_and_proposals_shrink_from_stage_to_stage():
    small, large = [0, 0, 15, 15], [100, 100, 200, 200]
    truth = np.array([small, large, [300, 300, 400, 400]], np.float32)
    ignore = np.array([False, False, True])
    meter = CascadeMeter()
    stages = {
        "pnet": found(small, small, large, [5, 5, 9, 9]),
        "rnet": found(small, large),
        "onet": found(large),
    }
    meter.add(stages, {"pnet": 99.0, "rnet": 9.0, "onet": 9.0}, truth, ignore)
    meter.add({"pnet": found(), "rnet": found(), "onet": found()}, {"pnet": 4.0, "rnet": 2.0, "onet": 1.0},
              np.zeros((0, 4), np.float32), np.zeros(0, bool))  # fmt: skip
    table = meter.table()
    assert (table.images, table.faces) == (2, 2)
    assert [row.stage for row in table.stages] == ["pnet", "rnet", "onet"]
    assert [row.proposals for row in table.stages] == [2.0, 1.0, 0.5]
    assert [row.recall for row in table.stages] == [1.0, 1.0, 0.5]
    by_size = dict(zip(SIZE_NAMES, table.stages[2].recall_by_size, strict=True))
    assert (by_size["12-20"], by_size["80-160"]) == (0.0, 1.0)
    assert np.isnan(by_size["20-40"])
    assert [row.milliseconds for row in table.stages] == [4.0, 2.0, 1.0], "the first image warms up"
    assert len(table.lines()) == 5


def test_a_face_is_covered_from_an_iou_of_one_half_however_many_proposals_there_are():
    faces = np.array([[0, 0, 10, 10], [50, 50, 60, 60]], np.float32)
    boxes = np.tile(np.array([[500, 500, 510, 510]], np.float32), (10_000, 1))
    boxes[9_999] = [0, 0, 10, 5]
    assert covered(boxes, faces).tolist() == [True, False]
    boxes[9_999] = [0, 0, 10, 4.9]
    assert covered(boxes, faces).tolist() == [False, False]


def test_a_detector_of_one_stage_has_one_row():
    meter = CascadeMeter()
    meter.add(
        {"pnet": found([0, 0, 20, 20])},
        {"pnet": 1.5},
        np.array([[0, 0, 20, 20]], np.float32),
        np.zeros(1, bool),
    )
    (row,) = meter.table().stages
    assert (row.recall, row.milliseconds) == (pytest.approx(1), 1.5)
