"""The way users come from, as a baseline for mining: what DFace's gen_{P,R,O}net_train_data scripts do.

A detection per image and level in eager mode (contiguous layout, PReLU before pooling, levels resized from the whole
image), suppression in numpy, a Python loop over crops, IoU box by box, and one JPEG file a crop with a line of text.
Its separate script for landmark crops is left out, which favours it.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from mtcnn.nets import SIZES, Net
from mtcnn.sources.annotation import SourceImage

Array = NDArray[np.float32]
MIN_FACE = 12
FACTOR = 0.709
RANDOM_NEGATIVES, NEAR_NEGATIVES, JITTERED = 50, 5, 20


class DFaceMiner:
    """Writes the crops of one stage under a folder."""

    def __init__(
        self, stage: str, nets: Sequence[Net], thresholds: Sequence[float], folder: Path, device: str
    ) -> None:
        self.size, self.folder, self.device = SIZES[stage], folder, device
        self.nets = [_plain(net).to(device) for net in nets]
        self.thresholds = thresholds
        self.written = 0
        folder.mkdir(parents=True, exist_ok=True)

    @torch.inference_mode()
    def mine(self, images: Sequence[SourceImage], seed: int = 0) -> int:
        """Crops of `images`; returns how many images."""
        rng = np.random.default_rng(seed)
        with (self.folder / "list.txt").open("w", encoding="utf-8") as rows:
            for image in images:
                bgr = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
                assert bgr is not None
                faces = image.annotation.boxes[~image.annotation.ignore]
                boxes = self._detect(bgr) if self.nets else _squares(rng, faces, bgr.shape[1], bgr.shape[0])
                for box in boxes:
                    self._keep(bgr, box, faces, rows)
        return len(images)

    def _keep(self, bgr: np.ndarray, box: Array, faces: Array, rows: object) -> None:
        """One crop → IoU with every face → its JPEG file and its line, if it is anything."""
        x1, y1, x2, y2 = box.astype(int)
        if x2 - x1 < 12 or x1 < 0 or y1 < 0 or x2 > bgr.shape[1] or y2 > bgr.shape[0]:
            return
        overlap = _iou(box, faces) if len(faces) else np.zeros(1, np.float32)
        best = int(np.argmax(overlap))
        if 0.3 <= overlap[best] < 0.4:
            return
        crop = cv2.resize(bgr[y1:y2, x1:x2], (self.size, self.size), interpolation=cv2.INTER_LINEAR)
        name = f"{self.written}.jpg"
        line = f"{name} 0"
        if overlap[best] >= 0.4:
            offsets = (faces[best] - box) / (box[2] - box[0])
            kind = 1 if overlap[best] >= 0.65 else -1
            line = f"{name} {kind} " + " ".join(f"{value:.2f}" for value in offsets)
        cv2.imwrite(str(self.folder / name), crop)
        rows.write(line + "\n")  # type: ignore[attr-defined]
        self.written += 1

    def _detect(self, bgr: np.ndarray) -> Array:
        squares = _square(self._scan(bgr))
        for net, threshold in zip(self.nets[1:], self.thresholds[1:], strict=False):
            squares = _square(self._refine(net, bgr, squares, threshold))
        return squares

    def _scan(self, bgr: np.ndarray) -> Array:
        """P-Net level by level."""
        found = []
        scale = 12 / MIN_FACE
        level = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        while min(level.shape[:2]) > 12:
            out = self.nets[0](_tensor(level)[None].to(self.device))
            scores = torch.softmax(out.logits, dim=1)[0, 1].cpu().numpy()
            offsets = out.offsets[0].cpu().numpy()
            rows, columns = np.where(scores > self.thresholds[0])
            corners = np.stack([columns, rows, columns, rows], axis=1) * 2 + np.array([0, 0, 12, 12])
            boxes = np.concatenate(
                [corners / scale, scores[rows, columns, None], offsets[:, rows, columns].T], axis=1
            )
            found.append(boxes[_nms(boxes, 0.5)])
            scale *= FACTOR
            level = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        boxes = np.concatenate(found)
        return _calibrated(boxes[_nms(boxes, 0.7)])

    def _refine(self, net: Net, bgr: np.ndarray, squares: Array, threshold: float) -> Array:
        """R-Net on crops that are cut one by one."""
        tensors, kept = [], []
        for box in squares:
            x1, y1, x2, y2 = np.round(box[:4]).astype(int)
            if x2 - x1 < 1:
                continue
            window = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
            left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, bgr.shape[1]), min(y2, bgr.shape[0])
            if left >= right or top >= bottom:
                continue
            window[top - y1 : bottom - y1, left - x1 : right - x1] = bgr[top:bottom, left:right]
            tensors.append(_tensor(cv2.resize(window, (net.size, net.size))))
            kept.append(box[:4])
        if not tensors:
            return np.zeros((0, 4), np.float32)
        out = net(torch.stack(tensors).to(self.device))
        scores = torch.softmax(out.logits, dim=1)[:, 1].cpu().numpy()
        boxes = np.concatenate([np.stack(kept), scores[:, None], out.offsets.cpu().numpy()], axis=1)
        boxes = boxes[scores > threshold]
        return _calibrated(boxes[_nms(boxes, 0.7)])


def _plain(net: Net) -> Net:
    net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    net.monotone = False  # PReLU first, as the nets are written down
    return net.eval()


def _tensor(bgr: np.ndarray) -> torch.Tensor:
    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(np.float32)
    return torch.from_numpy(((rgb - 127.5) / 128).transpose(2, 0, 1).copy())


def _iou(box: Array, faces: Array) -> Array:
    """IoU of one box (4,) with faces (F, 4)."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    areas = (faces[:, 2] - faces[:, 0]) * (faces[:, 3] - faces[:, 1])
    width = np.maximum(0, np.minimum(box[2], faces[:, 2]) - np.maximum(box[0], faces[:, 0]))
    height = np.maximum(0, np.minimum(box[3], faces[:, 3]) - np.maximum(box[1], faces[:, 1]))
    shared = width * height
    return shared / np.maximum(area + areas - shared, 1e-9)


def _nms(boxes: Array, threshold: float) -> list[int]:
    """Greedy suppression of boxes (N, 5+) by their scores: one box against the rest at a time."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    order = boxes[:, 4].argsort()[::-1]
    keep = []
    while order.size:
        first, rest = order[0], order[1:]
        keep.append(int(first))
        width = np.minimum(boxes[first, 2], boxes[rest, 2]) - np.maximum(boxes[first, 0], boxes[rest, 0])
        height = np.minimum(boxes[first, 3], boxes[rest, 3]) - np.maximum(boxes[first, 1], boxes[rest, 1])
        shared = np.maximum(0, width) * np.maximum(0, height)
        order = rest[shared / (areas[first] + areas[rest] - shared) <= threshold]
    return keep


def _calibrated(boxes: Array) -> Array:
    """Boxes (N, 4) moved by their offsets, from rows x1 y1 x2 y2 score and four offsets."""
    side = (boxes[:, 2] - boxes[:, 0])[:, None]
    return (boxes[:, :4] + boxes[:, 5:9] * side).astype(np.float32)


def _square(boxes: Array) -> Array:
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)[:, None] / 2
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)


def _squares(rng: np.random.Generator, faces: Array, width: int, height: int) -> Array:
    """P-Net's squares, drawn one by one: anywhere, near each face, and around each face."""
    drawn = []
    for _ in range(RANDOM_NEGATIVES):
        side = rng.integers(12, max(min(width, height) // 2, 13))
        x, y = rng.integers(0, width - side), rng.integers(0, height - side)
        drawn.append((x, y, x + side, y + side))
    for x1, y1, x2, y2 in faces:
        longer, shorter = max(x2 - x1, y2 - y1), min(x2 - x1, y2 - y1)
        for _ in range(NEAR_NEGATIVES):
            wide = rng.uniform(12, max(min(width, height) / 2, 13))
            left, top = x1 + rng.uniform(-wide, x2 - x1), y1 + rng.uniform(-wide, y2 - y1)
            drawn.append((left, top, left + wide, top + wide))
        for _ in range(JITTERED):
            half = rng.uniform(0.8 * shorter, 1.25 * longer) / 2
            centre_x = (x1 + x2) / 2 + rng.uniform(-0.2, 0.2) * (x2 - x1)
            centre_y = (y1 + y2) / 2 + rng.uniform(-0.2, 0.2) * (y2 - y1)
            drawn.append((centre_x - half, centre_y - half, centre_x + half, centre_y + half))
    return np.array(drawn, np.float32).reshape(-1, 4)
