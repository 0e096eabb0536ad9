"""The cascade for one image on a CPU: `detector.Detector` calls it there, and `device.DeviceCascade` elsewhere."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtcnn import boxes as bx
from mtcnn.boxes import FloatArray
from mtcnn.canvas import CELL, STRIDE, Level, draw, scales
from mtcnn.engine import Engine
from mtcnn.faces import Faces, joined, margin_of, moved, no_faces, without_landmarks
from mtcnn.image import Octaves, Windows
from mtcnn.nets import Net
from mtcnn.peaks import peaks

CHUNK = 512
"""Crops a net looks at together: bounds the memory whatever the number of proposals."""
BAND = 4_000_000
"""Pixels of a canvas that P-Net looks at together, for the same reason."""
LEVELS_APART = 0.76
"""Up to this factor no two boxes of different levels overlap by STAGE_IOU, levels being rounded by 4 % at most."""


@dataclass(frozen=True)
class HostCascade:
    """Nets, each with its engine, and the settings of the detector that they belong to."""

    nets: Sequence[Net]
    engines: Sequence[Engine]
    min_face: float
    factor: float
    thresholds: Sequence[float]
    max_proposals: int
    theirs: bool
    """Whether the nets are of facenet-pytorch: see `Detector.__init__`."""

    @torch.inference_mode()
    def stages(self, octaves: Octaves) -> Iterator[Faces]:
        """What is left of one image after each net."""
        found = self._scan(octaves)
        yield self._reported(found)
        for index in range(1, len(self.nets)):
            found = self._refine(index, octaves, found)
            yield self._reported(found)

    def _reported(self, found: Faces) -> Faces:
        """Of what a stage hands on, with margins for scores, what is told to the outside."""
        faces = found._replace(scores=torch.sigmoid(torch.from_numpy(found.scores)).numpy())
        return moved(faces, 1) if self.theirs else faces

    def _scan(self, octaves: Octaves) -> Faces:
        """P-Net over the pyramid, in bands where the canvas is very large."""
        pixels, levels = draw(octaves, scales(min(octaves.height, octaves.width), self.min_face, self.factor))
        height, width = pixels.shape[:2]
        rows = max(BAND // width // STRIDE, 1) * STRIDE
        seen = [
            self.engines[0](pixels[None, top : top + rows + CELL - STRIDE])
            for top in range(0, height - CELL + STRIDE, rows)
        ]
        margins = torch.cat([s.margins[0] for s in seen]).numpy()
        return self._cells(levels, margins, torch.cat([s.offsets[0] for s in seen], dim=1))

    def _cells(self, levels: Sequence[Level], margins: FloatArray, offsets: Tensor) -> Faces:
        """Proposals of one image from the margins (rows, columns) and offsets (4, rows, columns) of its canvas."""
        if not levels:
            return no_faces()
        # Windows that lie on no level or on two are left out; they also keep the levels' cells apart.
        valid = np.full(margins.shape, -np.inf, np.float32)
        level_of = np.zeros(margins.shape, np.uint16)
        for number, level in enumerate(levels):
            valid[level.cells] = margins[level.cells]
            level_of[level.cells] = number
        rows, columns = peaks(valid, self.thresholds[0])
        seen_on = level_of[rows, columns]
        first = np.array([(level.x, level.y) for level in levels])[seen_on]
        steps = np.array([level.steps for level in levels], np.float32)[seen_on]
        corner = np.stack([columns, rows], axis=1) * STRIDE - first
        cells = np.concatenate([corner * steps, (corner + CELL) * steps], axis=1).astype(np.float32)
        margin = valid[rows, columns]
        keep = np.argsort(-margin, kind="stable")[: self.max_proposals]
        if self.factor > LEVELS_APART:
            keep = keep[bx.nms(cells[keep], margin[keep], bx.STAGE_IOU)]
        shifts = offsets[:, torch.from_numpy(rows[keep]), torch.from_numpy(columns[keep])].T.numpy()
        return without_landmarks(bx.decode(cells[keep], shifts), margin[keep])

    def _refine(self, index: int, octaves: Octaves, before: Faces) -> Faces:
        """R-Net or O-Net over the squares of the stage before."""
        squares = bx.square(before.boxes)
        reachable = _reachable(squares, octaves)
        if not reachable.any():
            return no_faces()
        windows = octaves.snap(squares[reachable], self.nets[index].size)
        margins, offsets, points = self._look(index, octaves, windows)
        if not self.theirs:
            margins = joined(margins, before.scores[reachable])
        over = np.flatnonzero(margins > margin_of(self.thresholds[index]))
        squares, margins, offsets, points = (
            array[over] for array in (windows.squares, margins, offsets, points)
        )
        found = bx.decode(squares, offsets)
        # By margin: scores of sure faces are all 1.0 in float32, and the best box of a face would be any of them.
        if self.nets[index].architecture.stage == "onet":
            keep = bx.nms(found, margins, bx.FINAL_IOU)
        else:
            keep = bx.nms(squares, margins, bx.STAGE_IOU)
        return Faces(found[keep], margins[keep], bx.decode_points(squares[keep], points[keep]))

    def _look(self, index: int, octaves: Octaves, windows: Windows) -> tuple[FloatArray, ...]:
        """Margins (N,), offsets (N, 4) and points (N, 10) of a net for N windows, a chunk of crops at a time."""
        size, count, seen = self.nets[index].size, len(windows.octave), []
        for start in range(0, count, CHUNK):
            crops = octaves.cut(windows[np.arange(start, min(start + CHUNK, count))], size, self.theirs)
            out = self.engines[index](crops)
            unknown = out.offsets.new_full((len(crops), 10), torch.nan)
            seen.append((out.margins, out.offsets, unknown if out.landmarks is None else out.landmarks))
        return tuple(torch.cat(part).numpy() for part in zip(*seen, strict=True))


def _reachable(squares: FloatArray, octaves: Octaves) -> np.ndarray:
    """Squares that touch the image and are not absurdly large: regression can throw a box anywhere."""
    frame = np.array([[0, 0, octaves.width, octaves.height]], np.float32)
    side = squares[:, 2] - squares[:, 0]
    touches = bx.intersection(squares, frame)[:, 0] > 0
    return touches & (side >= 1) & (side <= 4 * max(octaves.width, octaves.height))
