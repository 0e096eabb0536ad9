"""Landmark error of known displacements, and which faces it counts."""

import numpy as np
import pytest

from mtcnn.evaluation.average_precision import Labelled
from mtcnn.evaluation.landmarks import landmark_errors

POINTS = np.array([[10, 10], [30, 10], [20, 20], [12, 30], [28, 30]], np.float32)
FACE = np.array([0, 0, 40, 40], np.float32)


def image(found, truth, ignore=None):
    truth = np.array(truth, np.float32).reshape(-1, 4)
    found = np.array(found, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(found), dtype=np.float32)
    return Labelled(found, scores, truth, np.zeros(len(truth), bool) if ignore is None else np.array(ignore))


def test_a_shift_of_a_tenth_of_the_eye_distance_is_an_error_of_ten_percent():
    errors = landmark_errors([(image([FACE], [FACE]), (POINTS + np.float32([2, 0]))[None], POINTS[None])])
    assert errors is not None
    assert errors.by_eyes == pytest.approx([0.1])
    assert errors.by_box == pytest.approx([2 / 40])
    assert errors.per_point == pytest.approx([0.1] * 5)


def test_each_point_is_averaged_and_reported_apart():
    moved = POINTS.copy()
    moved[2] += [3, 4]
    errors = landmark_errors([(image([FACE], [FACE]), moved[None], POINTS[None])])
    assert errors is not None
    assert errors.by_eyes == pytest.approx([5 / 20 / 5])
    assert errors.per_point == pytest.approx([0, 0, 0.25, 0, 0])


def test_mean_median_and_share_below_ten_percent():
    shifts = [0.0, 1.0, 10.0]
    rows = [(image([FACE], [FACE]), (POINTS + np.float32([s, 0]))[None], POINTS[None]) for s in shifts]
    errors = landmark_errors(rows)
    assert errors is not None
    summary = errors.summary()
    assert summary["nme_eyes_mean"] == pytest.approx((0 + 0.05 + 0.5) / 3)
    assert summary["nme_eyes_median"] == pytest.approx(0.05)
    assert summary["share_under_10_percent"] == pytest.approx(2 / 3)


def test_faces_without_a_detection_are_counted_apart():
    errors = landmark_errors([(image([], [FACE]), np.zeros((0, 5, 2), np.float32), POINTS[None])])
    assert errors is not None
    assert (errors.faces, errors.unmatched, len(errors.by_eyes)) == (1, 1, 0)
    assert errors.summary()["nme_eyes_mean"] is None


def test_ignored_faces_and_faces_with_an_unknown_point_do_not_count():
    partly = POINTS.copy()
    partly[4] = np.nan
    truth = [FACE, FACE + 100]
    rows = [(image(truth, truth, [True, False]), np.stack([POINTS, POINTS]), np.stack([POINTS, partly]))]
    assert landmark_errors(rows) is None


def test_a_box_of_another_convention_pairs_only_as_the_nearest():
    tight = np.array([10, 10, 30, 30], np.float32)
    rows = [(image([FACE + 200, FACE], [tight]), np.stack([POINTS + 200, POINTS]), POINTS[None])]
    matched, nearest = landmark_errors(rows, "matched"), landmark_errors(rows, "nearest")
    assert matched is not None
    assert nearest is not None
    assert (matched.unmatched, nearest.unmatched) == (1, 0)
    assert nearest.by_eyes == pytest.approx([0])
