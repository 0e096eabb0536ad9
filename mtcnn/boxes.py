"""The box convention and everything computed from boxes alone.

A box is float32 `x1 y1 x2 y2` in pixels, half open: its width is x2 - x1, a pixel (i, j) covers [i, i+1) x [j, j+1).
Regression targets and landmarks follow Zhang et al. 2016 as DFace trains them.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

STAGE_IOU = 0.7
"""Overlap above which two proposals of P-Net or R-Net are one."""
FINAL_IOU = 0.5
"""Overlap above which two boxes of O-Net are one face. The original suppresses by the smaller area at 0.7, which
takes a face that lies within another's box: 0.005 less AP on crowded photos."""


def area(boxes: FloatArray) -> FloatArray:
    """Area in square pixels of boxes (N, 4): (N,); 0 for boxes turned inside out."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], 0) * np.maximum(boxes[:, 3] - boxes[:, 1], 0)


def intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """Area shared by every pair of boxes (N, 4) and (M, 4): (N, M)."""
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    return np.maximum(width, 0) * np.maximum(height, 0)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every pair of boxes (N, 4) and (M, 4): (N, M) in 0..1."""
    shared = intersection(a, b)
    return _ratio(shared, area(a)[:, None] + area(b)[None, :] - shared)


def paired_iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of box i of `a` with box i of `b`, both (N, 4): (N,) in 0..1."""
    extent = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0)
    shared = extent[:, 0] * extent[:, 1]
    return _ratio(shared, area(a) + area(b) - shared)


def overlap_min(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over the smaller area of every pair: (N, M) in 0..1."""
    return _ratio(intersection(a, b), np.minimum(area(a)[:, None], area(b)[None, :]))


def coverage(a: FloatArray, b: FloatArray) -> FloatArray:
    """How much of each box of `a` (N, 4) lies in each of `b` (M, 4): intersection over area of a, (N, M)."""
    shared = intersection(a, b)
    return _ratio(shared, np.broadcast_to(area(a)[:, None], shared.shape))


def square(boxes: FloatArray) -> FloatArray:
    """The squares (N, 4) with the same centres and the longer side of boxes (N, 4)."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    side = np.maximum(width, height)
    x1 = boxes[:, 0] + (width - side) * np.float32(0.5)
    y1 = boxes[:, 1] + (height - side) * np.float32(0.5)
    return np.stack([x1, y1, x1 + side, y1 + side], axis=1)


def clip(boxes: FloatArray, width: int, height: int) -> FloatArray:
    """Boxes (N, 4) cut to an image of `width` x `height` pixels."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limit)


def _corner_and_side(crops: FloatArray) -> tuple[FloatArray, FloatArray]:
    return crops[:, :2], (crops[:, 2:] - crops[:, :2])


def encode(boxes: FloatArray, crops: FloatArray) -> FloatArray:
    """Regression targets (N, 4) of faces `boxes` seen from `crops`: (face - crop) / crop side, per corner."""
    _, side = _corner_and_side(crops)
    return np.divide(boxes - crops, np.tile(side, 2), dtype=np.float32)


def decode(crops: FloatArray, offsets: FloatArray) -> FloatArray:
    """Boxes (N, 4) from crops (N, 4) and the offsets (N, 4) that a net gave for them: the inverse of `encode`."""
    _, side = _corner_and_side(crops)
    return crops + offsets * np.tile(side, 2)


def encode_points(points: FloatArray, crops: FloatArray) -> FloatArray:
    """Landmark targets (N, 10) `x1 y1 ... x5 y5` of points (N, 5, 2): (point - crop corner) / crop side."""
    corner, side = _corner_and_side(crops)
    return ((points - corner[:, None]) / side[:, None]).reshape(len(points), 10)


def decode_points(crops: FloatArray, targets: FloatArray) -> FloatArray:
    """Points (N, 5, 2) in pixels from landmark outputs (N, 10): the inverse of `encode_points`."""
    corner, side = _corner_and_side(crops)
    return targets.reshape(-1, 5, 2) * side[:, None] + corner[:, None]


def nms(
    boxes: FloatArray, scores: FloatArray, threshold: float, mode: Literal["iou", "min"] = "iou"
) -> IntArray:
    """Greedy non-maximum suppression: indices kept (K,), best score first.

    A box goes when its overlap with a better one that stays is above `threshold`; equal scores keep the earlier
    box. `mode` is the overlap: intersection over union, or over the smaller area. Memory is bounded: 256 boxes
    are held against the rest at a time.
    """
    overlap = iou if mode == "iou" else overlap_min
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while order.size:
        block = order[:256]
        hides = overlap(boxes[block], boxes[order]) > threshold
        alive = np.ones(order.size, bool)
        for row, index in enumerate(block):
            if alive[row]:
                kept.append(int(index))
                alive[row + 1 :] &= ~hides[row, row + 1 :]
        order = order[256:][alive[256:]]
    return np.array(kept, np.int64)
