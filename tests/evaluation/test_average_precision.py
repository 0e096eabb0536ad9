"""Average precision against a slow, obvious computation, and the rules that make it fair."""

import numpy as np
import pytest

from mtcnn.evaluation.average_precision import FALSE_ALARM, NEUTRAL, Labelled, area_under, curve, match


def labelled(boxes, scores, truth, ignore=None):
    truth = np.array(truth, np.float32).reshape(-1, 4)
    ignore = np.zeros(len(truth), bool) if ignore is None else np.array(ignore, bool)
    return Labelled(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), truth, ignore)


def random_images(rng, count):
    """Images with faces, some ignored, and detections: jittered copies, duplicates and noise."""
    images = []
    for _ in range(count):
        faces = rng.integers(0, 7)
        corner, side = rng.uniform(0, 200, (faces, 2)), rng.uniform(10, 60, (faces, 1))
        truth = np.concatenate([corner, corner + side], axis=1)
        copies = np.repeat(truth, rng.integers(0, 3, faces), axis=0)
        copies = copies + rng.normal(0, 5, copies.shape)
        noise = rng.uniform(0, 200, (rng.integers(0, 5), 2))
        found = np.concatenate([copies, np.concatenate([noise, noise + 30], axis=1)])
        scores = rng.integers(1, 30, len(found)) / 30
        images.append(labelled(found, scores, truth, rng.random(faces) < 0.2))
    return images


def slow_iou(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def slow_counts(images, threshold, score):
    """True and false positives when only detections of at least `score` exist: loops over everything."""
    true = false = 0
    for image in images:
        free = [i for i in range(len(image.truth)) if not image.ignore[i]]
        for d in sorted(range(len(image.scores)), key=lambda i: -image.scores[i]):
            if image.scores[d] < score:
                continue
            overlaps = {i: slow_iou(image.boxes[d], image.truth[i]) for i in free}
            best = max(overlaps, key=overlaps.__getitem__, default=None)
            if best is not None and overlaps[best] >= threshold:
                free.remove(best)
                true += 1
                continue
            neutral = False
            for region in image.truth[image.ignore]:
                box = image.boxes[d]
                width = max(min(box[2], region[2]) - max(box[0], region[0]), 0)
                height = max(min(box[3], region[3]) - max(box[1], region[1]), 0)
                neutral |= bool(width * height / ((box[2] - box[0]) * (box[3] - box[1])) >= 0.5)
            false += not neutral
    return true, false


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_every_point_of_the_curve_is_what_a_recount_at_that_score_gives(threshold):
    images = random_images(np.random.default_rng(3), 12)
    faces = sum(int((~image.ignore).sum()) for image in images)
    result = curve(images, threshold)
    assert result.faces == faces
    assert len(result.scores) > 15
    for i, score in enumerate(result.scores):
        true, false = slow_counts(images, threshold, np.float32(score))
        assert result.recall[i] == pytest.approx(true / faces)
        assert result.precision[i] == pytest.approx(true / (true + false))
        assert result.false_positives[i] == false


def test_ap_is_the_mean_over_faces_of_the_best_precision_from_there_on():
    images = random_images(np.random.default_rng(4), 20)
    result = curve(images, 0.5)
    total = 0.0
    for found in range(1, result.faces + 1):
        reached = [
            p
            for p, r in zip(result.precision, result.recall, strict=True)
            if round(r * result.faces) >= found
        ]
        total += max(reached, default=0.0)
    assert result.ap == pytest.approx(total / result.faces)


def test_the_curve_does_not_depend_on_the_order_of_images():
    images = random_images(np.random.default_rng(5), 15)
    forward, backward = curve(images, 0.5), curve(images[::-1], 0.5)
    np.testing.assert_array_equal(forward.precision, backward.precision)
    assert forward.ap == backward.ap


def test_finding_every_face_and_nothing_else_is_an_ap_of_one():
    assert curve([labelled([[0, 0, 9, 9]], [0.4], [[0, 0, 9, 9]])], 0.5).ap == pytest.approx(1)


def test_a_second_detection_of_a_face_is_a_false_alarm():
    fate = match(labelled([[0, 0, 10, 10], [0, 0, 10, 9]], [0.5, 0.9], [[0, 0, 10, 10]]), 0.5)
    assert fate.tolist() == [FALSE_ALARM, 0]


def test_a_face_that_was_missed_lowers_recall_but_an_ignored_one_does_not():
    truth = [[0, 0, 10, 10], [50, 50, 60, 60]]
    assert curve([labelled([truth[0]], [0.9], truth)], 0.5).ap == pytest.approx(0.5)
    assert curve([labelled([truth[0]], [0.9], truth, [False, True])], 0.5).ap == pytest.approx(1)


def test_a_detection_half_inside_an_ignore_region_counts_for_nothing():
    image = labelled([[5, 0, 15, 10], [6, 0, 16, 10]], [0.9, 0.8], [[0, 0, 10, 10]], [True])
    assert match(image, 0.5).tolist() == [NEUTRAL, FALSE_ALARM]


def test_a_face_inside_an_ignore_region_is_still_found():
    image = labelled([[0, 0, 10, 10]], [0.9], [[0, 0, 10, 10], [0, 0, 100, 100]], [False, True])
    assert match(image, 0.5).tolist() == [0]


def test_recall_at_a_number_of_false_positives():
    boxes = [[0, 0, 10, 10], [70, 70, 80, 80], [20, 0, 30, 10], [90, 90, 99, 99]]
    result = curve([labelled(boxes, [0.9, 0.8, 0.7, 0.6], [boxes[0], boxes[2]])], 0.5)
    assert [result.recall_at(n) for n in (0, 1, 2)] == [0.5, 1.0, 1.0]


def test_nothing_found_is_an_ap_of_zero_and_nothing_to_find_has_none():
    assert curve([labelled([], [], [[0, 0, 10, 10]])], 0.5).ap == 0
    assert np.isnan(curve([labelled([[0, 0, 9, 9]], [0.9], [])], 0.5).ap)
    assert np.isnan(curve([], 0.5).ap)


def test_thinning_keeps_the_ends_and_the_ap():
    result = curve(random_images(np.random.default_rng(6), 30), 0.5)
    thin = result.thinned(5)
    assert len(thin.recall) == 5
    assert (thin.recall[0], thin.recall[-1], thin.ap) == (result.recall[0], result.recall[-1], result.ap)


def test_undefined_precision_adds_no_area():
    recall, precision = np.array([0.0, 0.0, 0.5]), np.array([np.nan, np.nan, 0.8])
    assert area_under(recall, precision) == pytest.approx(0.4)
