"""Labels against a loop over squares and faces, one by one, with the words of the paper."""

import numpy as np
import pytest

from mtcnn.config import Mining
from mtcnn.mining.labels import IGNORED_SHARE, choose, choose_negatives, label

NONE = np.zeros((0, 4), np.float32)


def random_boxes(rng: np.random.Generator, count: int, smallest: int, largest: int) -> np.ndarray:
    corner = rng.integers(0, 60, (count, 2))
    return np.concatenate([corner, corner + rng.integers(smallest, largest, (count, 2))], axis=1).astype(
        np.float32
    )


def shared(a: np.ndarray, b: np.ndarray) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return float(max(width, 0) * max(height, 0))


def size(a: np.ndarray) -> float:
    return float((a[2] - a[0]) * (a[3] - a[1]))


def named(square, score, faces, ignored, options) -> tuple[str, int]:  # type: ignore[no-untyped-def]
    """What one square is, and its nearest face."""
    overlaps = [shared(square, face) / (size(square) + size(face) - shared(square, face)) for face in faces]
    nearest = int(np.argmax(overlaps)) if overlaps else -1
    best = max(overlaps, default=0.0)
    if best >= options.positive_iou:
        return "pos", nearest
    if best >= options.part_iou:
        return "part", nearest
    if best >= options.negative_iou:
        return "unused", nearest
    if any(shared(square, region) / size(square) > IGNORED_SHARE for region in ignored):
        return "unused", nearest
    if score is not None and score > options.sure_negative:
        return "unused", nearest
    if score is not None and any(shared(square, face) / size(square) > options.inside_face for face in faces):
        return "unused", nearest
    return "neg", nearest


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", [Mining(), Mining(sure_negative=0.8, inside_face=0.7, negative_iou=0.2)])
def test_labels_are_those_of_the_loop(seed: int, options: Mining) -> None:
    rng = np.random.default_rng(seed)
    faces, ignored = random_boxes(rng, 4, 12, 40), random_boxes(rng, 3, 10, 30)
    jittered = faces[rng.integers(0, 4, 300)] + rng.uniform(-6, 6, (300, 1)).astype(np.float32)
    squares = np.concatenate([random_boxes(rng, 300, 12, 50), jittered])
    scores = np.where(rng.random(600) < 0.5, np.nan, rng.random(600)).astype(np.float32)
    expected = [
        named(square, None if np.isnan(score) else score, faces, ignored, options)
        for square, score in zip(squares, scores, strict=True)
    ]
    labels = label(squares, scores, faces, ignored, options)
    kinds = np.array([kind for kind, _ in expected])
    for name, found in (("pos", labels.pos), ("part", labels.part), ("neg", labels.neg)):
        assert len(found) > 5
        assert found.tolist() == np.flatnonzero(kinds == name).tolist()
    framed = np.concatenate([labels.pos, labels.part])
    assert labels.face[framed].tolist() == [expected[i][1] for i in framed]


def test_an_image_without_faces_is_all_negative() -> None:
    squares = random_boxes(np.random.default_rng(5), 20, 12, 30)
    labels = label(
        squares, np.full(20, np.nan, np.float32), NONE, NONE, Mining(sure_negative=0.5, inside_face=0.5)
    )
    assert labels.neg.tolist() == list(range(20)) and len(labels.pos) == len(labels.part) == 0
    assert set(labels.face) == {-1}


def test_the_limits_belong_to_the_better_class() -> None:
    face = np.array([[0, 0, 20, 20]], np.float32)
    # IoU 0.65, 0.4 and 0.3 to the last bit: 13, 8 and 6 of 20 columns.
    squares = np.array([[0, 0, 13, 20], [0, 0, 8, 20], [0, 0, 6, 20]], np.float32)
    nan = np.full(3, np.nan, np.float32)
    labels = label(squares, nan, face, NONE, Mining(positive_iou=0.625, part_iou=0.375, negative_iou=0.3125))
    assert (labels.pos.tolist(), labels.part.tolist(), labels.neg.tolist()) == ([0], [1], [2])
    labels = label(squares, nan, face, NONE, Mining(positive_iou=0.65, part_iou=0.4, negative_iou=0.25))
    assert (labels.pos.tolist(), labels.part.tolist(), labels.neg.tolist()) == ([0], [1], [])


def test_a_choice_is_bounded_in_order_and_without_repeats() -> None:
    candidates = np.array([3, 5, 8, 13, 21, 34])
    assert choose(np.random.default_rng(1), candidates, 6).tolist() == candidates.tolist()
    assert choose(np.random.default_rng(1), candidates, 0).tolist() == []
    counts = dict.fromkeys(candidates.tolist(), 0)
    for seed in range(300):
        chosen = choose(np.random.default_rng(seed), candidates, 3).tolist()
        assert chosen == sorted(set(chosen)) and len(chosen) == 3
        for index in chosen:
            counts[index] += 1
    assert min(counts.values()) > 110


@pytest.mark.parametrize(
    ("preferred", "others", "share", "most", "expected"),
    [
        (100, 100, 0.8, 50, (40, 10)),
        (100, 3, 0.8, 50, (47, 3)),
        (5, 100, 0.8, 50, (5, 45)),
        (5, 3, 0.5, 50, (5, 3)),
        (0, 100, 0.5, 20, (0, 20)),
        (100, 0, 0.5, 20, (20, 0)),
        (0, 0, 0.5, 20, (0, 0)),
    ],
)
def test_negatives_are_shared_out_and_one_kind_fills_in_for_the_other(
    preferred: int, others: int, share: float, most: int, expected: tuple[int, int]
) -> None:
    marks = np.zeros(300, bool)
    marks[:150] = True
    negatives = np.concatenate([np.arange(preferred), 150 + np.arange(others)])
    chosen = choose_negatives(np.random.default_rng(2), negatives, marks, share, most)
    assert (marks[chosen].sum(), (~marks[chosen]).sum()) == expected
    assert len(set(chosen.tolist())) == len(chosen) and set(chosen) <= set(negatives)
