"""Boxes against what can be counted: pixels of a drawn mask, and suppression as a loop over pairs."""

import numpy as np
import pytest

from mtcnn import boxes as bx


def some_boxes(seed: int, count: int, extent: int = 40) -> np.ndarray:
    """Boxes (N, 4) with whole corners inside `extent` pixels, none of them empty."""
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, extent - 2, (count, 2))
    side = np.stack([rng.integers(1, extent - corner[:, 0]), rng.integers(1, extent - corner[:, 1])], axis=1)
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def mask(box: np.ndarray, extent: int = 40) -> np.ndarray:
    """The pixels that a box covers."""
    x1, y1, x2, y2 = box.astype(int)
    pixels = np.zeros((extent, extent), bool)
    pixels[y1:y2, x1:x2] = True
    return pixels


def test_overlaps_are_those_of_counted_pixels() -> None:
    a, b = some_boxes(1, 25), some_boxes(2, 30)
    shared = np.array([[(mask(p) & mask(q)).sum() for q in b] for p in a])
    union = np.array([[(mask(p) | mask(q)).sum() for q in b] for p in a])
    size_a, size_b = (np.array([mask(box).sum() for box in boxes]) for boxes in (a, b))
    np.testing.assert_array_equal(bx.area(a), size_a)
    np.testing.assert_array_equal(bx.intersection(a, b), shared)
    np.testing.assert_allclose(bx.iou(a, b), shared / union, rtol=1e-6)
    np.testing.assert_allclose(bx.coverage(a, b), shared / size_a[:, None], rtol=1e-6)
    smaller = np.minimum(size_a[:, None], size_b[None])
    np.testing.assert_allclose(bx.overlap_min(a, b), shared / smaller, rtol=1e-6)
    np.testing.assert_allclose(bx.paired_iou(a, b[:25]), np.diag(shared / union), rtol=1e-6)


def test_boxes_that_only_touch_share_nothing() -> None:
    boxes = np.array([[0, 0, 5, 5], [5, 0, 9, 5], [0, 5, 5, 9]], np.float32)
    np.testing.assert_array_equal(bx.iou(boxes, boxes), np.eye(3))


def test_boxes_without_area_overlap_nothing_and_divide_by_nothing() -> None:
    boxes = np.array([[3, 3, 3, 9], [5, 5, 4, 4], [0, 0, 9, 9]], np.float32)
    with np.errstate(all="raise"):
        for overlap in (bx.iou, bx.overlap_min, bx.coverage):
            values = overlap(boxes, boxes)
            assert values[2, 2] == 1
            assert values.sum() == 1
        np.testing.assert_array_equal(bx.paired_iou(boxes, boxes), [0, 0, 1])


def test_no_boxes_are_boxes_too() -> None:
    none, some = np.zeros((0, 4), np.float32), some_boxes(3, 4)
    assert bx.iou(none, some).shape == (0, 4)
    assert bx.coverage(some, none).shape == (4, 0)
    assert bx.square(none).shape == bx.clip(none, 5, 5).shape == bx.decode(none, none).shape == (0, 4)
    assert bx.nms(none, np.zeros(0, np.float32), 0.5).shape == (0,)
    assert bx.decode_points(none, np.zeros((0, 10), np.float32)).shape == (0, 5, 2)


def test_a_square_keeps_centre_and_longer_side() -> None:
    boxes = some_boxes(4, 50)
    squares = bx.square(boxes)
    np.testing.assert_allclose(squares[:, :2] + squares[:, 2:], boxes[:, :2] + boxes[:, 2:], atol=1e-4)
    longer = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    np.testing.assert_allclose(squares[:, 2:] - squares[:, :2], np.stack([longer, longer], axis=1), atol=1e-4)
    assert squares.dtype == np.float32


def test_clipping_leaves_what_is_inside_the_image() -> None:
    boxes = some_boxes(5, 50)
    inside = np.array([mask(box)[:20, :30].sum() for box in boxes])
    np.testing.assert_array_equal(bx.area(bx.clip(boxes, 30, 20)), inside)


def test_targets_are_shares_of_the_crops_side() -> None:
    crop = np.array([[10, 20, 30, 40]], np.float32)
    face = np.array([[12, 18, 34, 39]], np.float32)
    np.testing.assert_allclose(bx.encode(face, crop), [[0.1, -0.1, 0.2, -0.05]], atol=1e-6)
    points = np.array([[[10, 20], [30, 40], [20, 30], [0, 50], [15, 25]]], np.float32)
    targets = [[0, 0, 1, 1, 0.5, 0.5, -0.5, 1.5, 0.25, 0.25]]
    np.testing.assert_allclose(bx.encode_points(points, crop), targets, atol=1e-6)


def test_decoding_undoes_encoding() -> None:
    rng = np.random.default_rng(6)
    crops, faces = bx.square(some_boxes(7, 200)), some_boxes(8, 200)
    points = rng.uniform(-10, 50, (200, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(bx.decode(crops, bx.encode(faces, crops)), faces, atol=1e-4)
    decoded = bx.decode_points(crops, bx.encode_points(points, crops))
    np.testing.assert_allclose(decoded, points, atol=1e-4)
    assert decoded.dtype == bx.encode(faces, crops).dtype == np.float32


def literal_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, mode: str) -> list[int]:
    """The best box that is left stays and removes what overlaps it, box by box."""
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], i))
    kept = []
    while left:
        best, *others = left
        kept.append(best)
        left = []
        for other in others:
            shared = (mask(boxes[best]) & mask(boxes[other])).sum()
            sizes = mask(boxes[best]).sum(), mask(boxes[other]).sum()
            whole = sum(sizes) - shared if mode == "iou" else min(sizes)
            if shared / whole <= threshold:
                left.append(other)
    return kept


@pytest.mark.parametrize("mode", ["iou", "min"])
@pytest.mark.parametrize("threshold", [0.0, 0.35, 0.7, 1.0])
def test_suppression_keeps_what_the_literal_loop_keeps(mode: str, threshold: float) -> None:
    boxes = some_boxes(9, 120)
    # A dozen values only: many scores are equal, and the earlier box has to win.
    scores = np.random.default_rng(10).integers(0, 12, 120).astype(np.float32)
    kept = bx.nms(boxes, scores, threshold, mode)  # type: ignore[arg-type]
    assert kept.tolist() == literal_nms(boxes, scores, threshold, mode)


@pytest.mark.parametrize("mode", ["iou", "min"])
def test_suppression_goes_on_beyond_a_block_of_boxes(mode: str) -> None:
    boxes = some_boxes(11, 700, extent=400)
    boxes[:, 2:] = boxes[:, :2] + 20
    scores = np.random.default_rng(12).permutation(700).astype(np.float32)
    overlap = bx.iou(boxes, boxes) if mode == "iou" else bx.overlap_min(boxes, boxes)
    kept: list[int] = []
    for index in np.argsort(-scores):
        if not (overlap[index, kept] > 0.3).any():
            kept.append(int(index))
    assert 256 < len(kept) < 700
    assert bx.nms(boxes, scores, 0.3, mode).tolist() == kept  # type: ignore[arg-type]
