"""The cascade as facenet-pytorch runs it (`detect_face.py`), for weights that come from there: slow and exact.

Pyramid and crops are area averages. Its boxes are whole pixels counted from 1 with both ends included, so that a box
covers the pixels x1 - 1 to x2 and its side is x2 - x1 + 1; where it leaves the + 1 out, so does this.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcnn import boxes as bx
from mtcnn.boxes import FloatArray
from mtcnn.faces import Faces, no_faces, without_landmarks
from mtcnn.nets import Net

CHUNK = 512
ONE = np.array([1, 1, 0, 0], np.float32)


def stages(
    nets: Sequence[Net], rgb: Tensor, scales: Iterable[float], thresholds: Sequence[float], limit: int
) -> Iterator[Faces]:
    """Faces left after each net, of an image uint8 (H, W, 3) on the device of the nets.

    `scales` are those of the pyramid; the best `limit` proposals go on.
    """
    image = rgb.permute(2, 0, 1).to(torch.float32)
    faces = _scan(nets[0], image, scales, thresholds[0], limit)
    yield faces
    for net, threshold in zip(nets[1:], thresholds[1:], strict=False):
        faces = _refine(net, image, bx.square(faces.boxes), threshold)
        yield faces


def _scan(pnet: Net, image: Tensor, scales: Iterable[float], threshold: float, limit: int) -> Faces:
    levels = [_level(pnet, image, scale, threshold) for scale in scales]
    if not levels:
        return no_faces()
    cells, scores, offsets = (np.concatenate(parts) for parts in zip(*levels, strict=True))
    best = np.argsort(-scores, kind="stable")[:limit]
    keep = best[bx.nms(cells[best], scores[best], 0.7)]
    return without_landmarks(bx.decode(cells[keep], offsets[keep]), scores[keep])


def _level(
    pnet: Net, image: Tensor, scale: float, threshold: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    height, width = (int(side * scale + 1) for side in image.shape[1:])
    out = pnet(_normalised(F.adaptive_avg_pool2d(image, (height, width))[None]))
    probability = out.logits[0].softmax(0)[1]
    rows, columns = torch.nonzero(probability >= threshold, as_tuple=True)
    scores = probability[rows, columns].cpu().numpy()
    offsets = out.offsets[0, :, rows, columns].T.cpu().numpy()
    corner = torch.stack([columns, rows], dim=1).to(torch.float32) * 2
    cells = torch.cat([((corner + 1) / scale).floor(), ((corner + 12) / scale).floor()], dim=1).cpu().numpy()
    keep = bx.nms(cells, scores, 0.5)
    return cells[keep], scores[keep], offsets[keep]


def _refine(net: Net, image: Tensor, squares: FloatArray, threshold: float) -> Faces:
    height, width = image.shape[1:]
    # What is seen of a square is cut off at the border and resized to the net's size all the same.
    low, high = (
        np.maximum(np.trunc(squares[:, :2]), 1) - 1,
        np.minimum(np.trunc(squares[:, 2:]), (width, height)),
    )
    touching = (high > low).all(axis=1)
    squares = squares[touching]
    seen = np.concatenate([low, high], axis=1)[touching].astype(np.int64)
    if not len(squares):
        return no_faces()
    crops = [F.adaptive_avg_pool2d(image[:, y1:y2, x1:x2], net.size) for x1, y1, x2, y2 in seen.tolist()]
    parts = [_look(net, _normalised(torch.stack(crops[i : i + CHUNK]))) for i in range(0, len(crops), CHUNK)]
    scores, offsets, points = (np.concatenate(part) for part in zip(*parts, strict=True))
    keep = np.flatnonzero(scores > threshold)
    squares, scores, offsets, points = squares[keep], scores[keep], offsets[keep], points[keep]
    found = bx.decode(squares - ONE, offsets) + ONE
    if net.architecture.stage == "onet":
        # Of equal scores, which are common at 1, its own suppression takes the last first.
        last = len(found) - 1
        keep = last - bx.nms(found[::-1] - ONE, scores[::-1], 0.7, "min")
    else:
        keep = bx.nms(squares, scores, 0.7)
    return Faces(found[keep], scores[keep], bx.decode_points(squares - ONE, points)[keep])


def _look(net: Net, crops: Tensor) -> tuple[FloatArray, FloatArray, FloatArray]:
    out = net(crops)
    unknown = out.offsets.new_full((len(crops), 10), float("nan"))
    points = unknown if out.landmarks is None else out.landmarks
    return out.logits.softmax(1)[:, 1].cpu().numpy(), out.offsets.cpu().numpy(), points.cpu().numpy()


def _normalised(pixels: Tensor) -> Tensor:
    return (pixels - 127.5) / 128
