"""The exact cascade against facenet-pytorch's way written out plainly, one crop and one box at a time."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mtcnn import Detector
from mtcnn.nets import Architecture, Net, build

Box = list[float]


@pytest.fixture(scope="module")
def nets() -> list[Net]:
    """Untrained nets: they find faces everywhere, and shift them a little."""
    found = []
    for number, stage in enumerate(("pnet", "rnet", "onet")):
        net = build(Architecture(stage, landmarks=stage == "onet")).eval()
        net.initialise(torch.Generator().manual_seed(number))
        with torch.no_grad():
            (
                net.conv4_2 if stage == "pnet" else net.dense5_2 if stage == "rnet" else net.dense6_2
            ).weight *= 0.1
        found.append(net)
    return found


def area_resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Pixel (i, j) is the mean of the pixels that its share of the image touches."""
    rows, columns = image.shape[:2]
    out = np.empty((height, width, 3), np.float32)
    for i in range(height):
        for j in range(width):
            top, bottom = i * rows // height, math.ceil((i + 1) * rows / height)
            left, right = j * columns // width, math.ceil((j + 1) * columns / width)
            out[i, j] = image[top:bottom, left:right].mean(axis=(0, 1))
    return out


def looked_at(net: Net, crop: np.ndarray) -> tuple[np.ndarray, ...]:
    x = torch.from_numpy((crop - 127.5) / 128).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        out = net(x)
    score = F.softmax(out.logits, 1)[0, 1].numpy()
    return score, out.offsets[0].numpy(), None if out.landmarks is None else out.landmarks[0].numpy()  # type: ignore[return-value]


def suppressed(boxes: list[Box], scores: list[float], threshold: float, smaller: bool = False) -> list[int]:
    """Indices that greedy suppression keeps; by the smaller area a pixel is added to every side."""
    more = 1 if smaller else 0

    def size(box: Box) -> float:
        return (box[2] - box[0] + more) * (box[3] - box[1] + more)

    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        box = boxes[index]
        for other in (boxes[k] for k in kept):
            width = max(min(box[2], other[2]) - max(box[0], other[0]) + more, 0)
            height = max(min(box[3], other[3]) - max(box[1], other[1]) + more, 0)
            shared = width * height
            whole = min(size(box), size(other)) if smaller else size(box) + size(other) - shared
            if shared / whole > threshold:
                break
        else:
            kept.append(index)
    return kept


def squared(box: Box) -> Box:
    width, height = box[2] - box[0], box[3] - box[1]
    side = max(width, height)
    x, y = box[0] + width / 2 - side / 2, box[1] + height / 2 - side / 2
    return [x, y, x + side, y + side]


def plain(nets: list[Net], rgb: np.ndarray, thresholds: list[float]) -> tuple[np.ndarray, ...]:
    """Boxes, scores and points, best first."""
    height, width = rgb.shape[:2]
    # Its cells are divided in single precision, which decides where they fall on whole pixels.
    scale, boxes, scores, offsets = 12 / 20, [], [], []  # type: ignore[var-annotated]
    while min(height, width) * scale >= 12:
        level = area_resized(rgb, int(height * scale + 1), int(width * scale + 1))
        probability, offset, _ = looked_at(nets[0], level)
        cells = [(i, j) for i, j in np.ndindex(*probability.shape) if probability[i, j] >= thresholds[0]]
        corners = [
            (2 * at + share) / np.float32(scale) for i, j in cells for share in (1, 12) for at in (j, i)
        ]
        here = np.floor(np.array(corners, np.float32)).reshape(-1, 4).tolist()
        certain = [float(probability[cell]) for cell in cells]
        for k in suppressed(here, certain, 0.5):  # type: ignore[arg-type]
            boxes.append(here[k])
            scores.append(certain[k])
            offsets.append(offset[:, cells[k][0], cells[k][1]])
        scale *= 0.709
    kept = suppressed(boxes, scores, 0.7)
    left = []
    for k in kept:
        side = [boxes[k][2] - boxes[k][0], boxes[k][3] - boxes[k][1]] * 2
        left.append([at + shift * s for at, shift, s in zip(boxes[k], offsets[k], side, strict=True)])
    points: list[np.ndarray] = []
    for net, threshold in zip(nets[1:], thresholds[1:], strict=True):
        seen = []
        for box in map(squared, left):
            x1, y1 = max(int(box[0]), 1), max(int(box[1]), 1)
            x2, y2 = min(int(box[2]), width), min(int(box[3]), height)
            if x2 >= x1 and y2 >= y1:
                crop = area_resized(rgb[y1 - 1 : y2, x1 - 1 : x2], net.size, net.size)
                seen.append((box, *looked_at(net, crop)))
        seen = [s for s in seen if s[1] > threshold]
        squares, scores = [s[0] for s in seen], [float(s[1]) for s in seen]
        sides = [square[2] - square[0] + 1 for square in squares]
        moved = [
            [a + d * side for a, d in zip(s[0], s[2], strict=True)]
            for s, side in zip(seen, sides, strict=True)
        ]
        last = net is nets[-1]
        kept = suppressed(moved, scores, 0.7, smaller=True) if last else suppressed(squares, scores, 0.7)
        if last:
            points = [seen[k][3].reshape(5, 2) * sides[k] + np.array(squares[k][:2]) - 1 for k in kept]
        left, scores = [moved[k] for k in kept], [scores[k] for k in kept]
    return np.array(left), np.array(scores), np.array(points)


def test_faces_are_those_of_facenet_pytorch(nets: list[Net]) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (29, 31, 3), dtype=np.uint8)
    thresholds = [0.4, 0.3, 0.3]
    boxes, scores, points = plain(nets, rgb, thresholds)
    found = Detector(nets, thresholds=thresholds, resampling="area").detect(rgb)
    assert len(boxes) > 3
    np.testing.assert_allclose(found.boxes, boxes, atol=1e-3)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    np.testing.assert_allclose(found.landmarks, points, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1), (11, 300), (20, 20), (13, 29)])
def test_images_of_any_size_are_looked_at_exactly(nets: list[Net], shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    detector = Detector(nets, min_face=12, thresholds=[0.3, 0.3, 0.3], resampling="area")
    faces = detector.detect(rgb)
    assert len(faces.boxes) == len(faces.scores) == len(faces.landmarks)
    assert list(detector.timings) == ["pnet", "rnet", "onet"]
