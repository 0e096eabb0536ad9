"""The WIDER FACE validation protocol, computed as the official MATLAB eval_tools do (Yang et al. 2016).

Scores are normalised over the whole set, each detection goes to the box it overlaps most (IoU >= 0.5, corner
pixels included), boxes outside a setting's list absorb detections without counting, and counts are summed
over images at 1,000 thresholds.
"""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from mtcnn.boxes import FloatArray
from mtcnn.errors import UserError
from mtcnn.evaluation.average_precision import Doubles, area_under

SETTINGS = ("easy", "medium", "hard")
THRESHOLDS = 1000
IOU = 0.5

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class WiderImage:
    """One image's boxes (G, 4) as x, y, width, height in pixels; which of them (G,) each setting counts."""

    boxes_xywh: Doubles
    counted: Mapping[str, Mask]


@dataclass(frozen=True)
class WiderCurve:
    """One setting: precision (NaN where nothing is found yet) and recall at 1,000 falling thresholds."""

    setting: str
    images: int
    faces: int
    precision: Doubles
    recall: Doubles
    ap: float


def read_ground_truth(folder: str | Path) -> dict[str, WiderImage]:
    """The official `wider_{easy,medium,hard}_val.mat` of a folder: `event/image` (no suffix) -> WiderImage.

    Raises UserError for a file that is missing, cannot be read, or contradicts the others.
    """
    boxes: dict[str, Doubles] = {}
    counted: dict[str, dict[str, Mask]] = {}
    for setting in SETTINGS:
        path = Path(folder) / f"wider_{setting}_val.mat"
        for name, listed, kept in _read_setting(path):
            if setting == SETTINGS[0]:
                boxes[name], counted[name] = listed, {}
            if name not in boxes or not np.array_equal(boxes[name], listed):
                raise UserError(
                    f"{path}: the boxes of {name} differ from wider_easy_val.mat; use one release's files"
                )
            counted[name][setting] = kept
    return {name: WiderImage(listed, counted[name]) for name, listed in boxes.items()}


def _read_setting(path: Path) -> list[tuple[str, Doubles, Mask]]:
    try:
        with path.open("rb") as file:
            lists = loadmat(file, variable_names=["event_list", "file_list", "face_bbx_list", "gt_list"])
        events, files = lists["event_list"], lists["file_list"]
        all_boxes, all_kept = lists["face_bbx_list"], lists["gt_list"]
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: not found; --ground-truth is the folder of the official .mat files"
        ) from error
    except (
        MatReadError,
        ValueError,
        LookupError,
        TypeError,
        OSError,
        NotImplementedError,
        zlib.error,
    ) as error:
        raise UserError(f"{path}: not an official WIDER FACE ground truth list ({error})") from error
    rows = []
    for event in range(len(events)):
        for image in range(len(files[event, 0])):
            name = f"{events[event, 0][0]}/{files[event, 0][image, 0][0]}"
            boxes = all_boxes[event, 0][image, 0].astype(np.float64).reshape(-1, 4)
            kept = np.zeros(len(boxes), bool)
            kept[all_kept[event, 0][image, 0].astype(np.int64).ravel() - 1] = True  # MATLAB counts from 1
            rows.append((name, boxes, kept))
    return rows


def official_name(path: str) -> str:
    """The protocol's `event/image` for an image's path, wherever its event folder lies."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return f"{parts.parent.name}/{parts.stem}"


def box_overlap(a_xyxy: Doubles, b_xyxy: Doubles) -> Doubles:
    """IoU (N, M) as the official `boxoverlap.m` has it: corners are inside, so every side is one longer."""
    lower = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    size = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:]) - lower + 1
    shared = np.where((size > 0).all(axis=2), size[:, :, 0] * size[:, :, 1], 0.0)
    area_a = (a_xyxy[:, 2] - a_xyxy[:, 0] + 1) * (a_xyxy[:, 3] - a_xyxy[:, 1] + 1)
    area_b = (b_xyxy[:, 2] - b_xyxy[:, 0] + 1) * (b_xyxy[:, 3] - b_xyxy[:, 1] + 1)
    return shared / (area_a[:, None] + area_b[None, :] - shared)


def evaluate_wider(
    truth: Mapping[str, WiderImage], detections: Mapping[str, tuple[FloatArray, FloatArray]]
) -> tuple[WiderCurve, ...]:
    """Easy, medium, hard over the images in `detections`: name -> boxes (D, 4) and scores (D,), D may be 0.

    Only these images' faces count, so a part of the set can be evaluated; the official figure needs all
    3,226. Raises UserError for an image that the ground truth does not know.
    """
    unknown = next((name for name in detections if name not in truth), None)
    if unknown is not None:
        raise UserError(
            f"{unknown} is not in the WIDER FACE validation lists; --protocol wider needs that set's images"
        )
    lowest, span = _score_range([scores for _, scores in detections.values()])
    sums = {setting: np.zeros((THRESHOLDS, 2)) for setting in SETTINGS}
    faces = dict.fromkeys(SETTINGS, 0)
    for name, (boxes, scores) in detections.items():
        image = truth[name]
        for setting in SETTINGS:
            faces[setting] += int(image.counted[setting].sum())
        if len(scores) == 0 or len(image.boxes_xywh) == 0:
            continue
        order = np.argsort(-scores, kind="stable")
        normalised = (scores[order].astype(np.float64) - lowest) / span
        for setting, counts in _image_counts(boxes[order].astype(np.float64), normalised, image).items():
            sums[setting] += counts
    return tuple(_curve(setting, len(detections), faces[setting], sums[setting]) for setting in SETTINGS)


def _score_range(all_scores: list[FloatArray]) -> tuple[float, float]:
    """Lowest score and the span to the highest, each started as the official tools start it."""
    limits = np.finfo(np.float32)
    highest, lowest = float(limits.tiny), float(limits.max)
    for scores in all_scores:
        if len(scores):
            highest, lowest = max(highest, float(scores.max())), min(lowest, float(scores.min()))
    # One score for all has no span, 0/0 in the tools; here the detections then pass the last threshold only.
    return lowest, (highest - lowest) or 1.0


def _image_counts(boxes: Doubles, scores: Doubles, image: WiderImage) -> dict[str, Doubles]:
    """For each setting (1000, 2): detections that count and faces found, at every threshold."""
    listed = image.boxes_xywh.copy()
    listed[:, 2:] += listed[:, :2]
    overlap = box_overlap(boxes, listed)
    target = overlap.argmax(axis=1)
    touches = overlap[np.arange(len(target)), target] >= IOU
    # thresholds 0.999, 0.998 … 0: how many of the sorted detections each one lets through
    passed = np.searchsorted(-scores, -(1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS), side="right")
    counts = {}
    for setting in SETTINGS:
        inside = image.counted[setting][target]
        valid = ~(touches & ~inside)
        first = np.zeros(len(target), bool)
        hits = np.flatnonzero(touches & inside)
        first[hits[np.unique(target[hits], return_index=True)[1]]] = True
        running = np.stack([np.cumsum(valid), np.cumsum(first)], axis=1).astype(np.float64)
        counts[setting] = np.concatenate([np.zeros((1, 2)), running])[passed]
    return counts


def _curve(setting: str, images: int, faces: int, sums: Doubles) -> WiderCurve:
    proposals, found = sums[:, 0], sums[:, 1]
    precision = np.divide(found, proposals, out=np.full(THRESHOLDS, np.nan), where=proposals > 0)
    recall = found / faces if faces else np.full(THRESHOLDS, np.nan)
    return WiderCurve(
        setting, images, faces, precision, recall, area_under(recall, precision) if faces else float("nan")
    )
