"""The cascade for groups of images on a GPU: `detector.Detector` calls it for every device but a CPU.

Pyramid, P-Net, suppression, crops, R-Net and O-Net all run on the device. The host waits for it only to learn counts
(how many proposals the fullest image has, whether a suppression is done), a few times a group and stage, and fetches
faces once. While the device works, a thread lays out the next group in pinned memory. On CUDA the nets run in
half precision.

Written in plain PyTorch: tests run it on a CPU, in float32, against the detector's own path there. Speed on a GPU, and
what half precision costs in AP, are not measured yet.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mtcnn.boxes import FINAL_IOU, STAGE_IOU
from mtcnn.canvas import CELL, STRIDE, scales
from mtcnn.device_boxes import Found, best, decode, most_of, nothing, ordered, peaks, square, suppressed
from mtcnn.device_pixels import GroupOctaves, bands, stack
from mtcnn.engine import ask
from mtcnn.faces import Faces, joined, margin_of
from mtcnn.image import Pixels
from mtcnn.nets import Net

GROUP = 32
"""Images that go through the cascade together, at most."""
GROUP_PIXELS = 32_000_000
"""Their pixels together, at most, but for a single larger image. The octaves take 5 bytes for each, and P-Net's
cells at min_face 12 about 20."""


@dataclass(frozen=True)
class _Level:
    """One level of the pyramids of N images, as arguments of `GroupOctaves.cut`."""

    octave: Tensor
    """(N,)"""
    sides: Tensor
    """Width and height in the octave (N, 2)."""
    size: Tensor
    """Width and height in pixels of the level (N, 2)."""
    steps: Tensor
    """From one pixel of the level to the next (N, 2), in pixels of the octave."""
    cells: Tensor
    """Columns and rows of cells (N, 2); 0 where an image has no such level."""
    columns: int
    rows: int
    """The most of any image."""


@dataclass(frozen=True)
class DeviceCascade:
    """Nets, which are on `device`, and the settings of the detector that they belong to."""

    nets: Sequence[Net]
    device: torch.device
    min_face: float
    factor: float
    thresholds: Sequence[float]
    max_proposals: int
    joins: bool
    """Whether a score also says what the nets before thought: `faces.joined`."""

    def detect(self, images: Sequence[Pixels]) -> list[Faces]:
        """Faces of each image, of any sizes; those of like sizes go together."""
        found: dict[int, Faces] = {}
        groups = in_groups([rgb.shape[:2] for rgb in images])
        with ThreadPoolExecutor(1) as pool:
            stacks = (pool.submit(self._stack, [images[i] for i in group]) for group in groups)
            ahead = next(stacks, None)
            for group in groups:
                assert ahead is not None
                stacked, ahead = ahead.result(), next(stacks, None)
                *_, last = self._stages(stacked, [images[i].shape[:2] for i in group])
                found.update(zip(group, last.faces(), strict=True))
        return [found[i] for i in range(len(images))]

    def stages(self, rgb: Pixels) -> Iterator[Faces]:
        """What is left of one image after each net."""
        for found in self._stages(self._stack([rgb]), [rgb.shape[:2]]):
            yield found.faces()[0]

    def _stack(self, images: Sequence[Pixels]) -> Tensor:
        return stack(images, pinned=self.device.type == "cuda")

    @torch.inference_mode()
    def _stages(self, stacked: Tensor, shapes: Sequence[tuple[int, int]]) -> Iterator[Found]:
        octaves = GroupOctaves(stacked, shapes, self.device)
        found = self._scan(octaves)
        yield found
        for net, threshold in zip(self.nets[1:], self.thresholds[1:], strict=False):
            found = self._refine(net, margin_of(threshold), octaves, found)
            yield found

    def _levels(self, octaves: GroupOctaves) -> list[_Level]:
        """The geometry of `Octaves.level` and `canvas.draw` for every level of every image."""
        sides = octaves.sides
        every = np.arange(sides.shape[1])
        shortest = sides[0].min(axis=1)
        levels = []
        for scale in scales(int(shortest.max()), self.min_face, self.factor):
            octave = np.clip(int(np.floor(np.log2(1 / scale) + 1e-6)), 0, octaves.counts - 1)
            source = sides[octave, every]
            size = np.maximum(np.rint(source * 2 ** octave[:, None] * scale), 1).astype(np.int64)
            cells = np.maximum(-(-size // STRIDE) - (CELL // STRIDE - 1), 0)
            cells[shortest * scale < CELL] = 0
            steps = torch.tensor(source / size, dtype=torch.float32, device=self.device)
            whole = (torch.tensor(part, device=self.device) for part in (octave, source, size, cells))
            first, second, third, last = whole
            columns, rows = cells.max(axis=0).tolist()
            levels.append(_Level(first, second, third, steps, last, columns, rows))
        return levels

    def _scan(self, octaves: GroupOctaves) -> Found:
        """P-Net over the pyramids: cells of all levels on one sheet, a level below the other, a row between."""
        levels, device, count = self._levels(octaves), self.device, octaves.sides.shape[1]
        if not levels:
            return nothing(count, device)
        tops = np.cumsum([0] + [level.rows + 1 for level in levels])
        sheet = int(tops[-1]), max(level.columns for level in levels)
        margins = torch.full((count, *sheet), -torch.inf, device=device)
        offsets = torch.zeros(
            (count, 4, *sheet), dtype=torch.float16 if device.type == "cuda" else torch.float32, device=device
        )
        for level, top in zip(levels, tops, strict=False):
            place = slice(0, level.columns)
            for first, end in bands(level.rows, STRIDE * STRIDE * level.columns):
                # Images are a step here, so that many small levels go together and a large one row by row.
                for start, stop in bands(count, (end - first) * level.columns * STRIDE * STRIDE):
                    some = slice(start, stop)
                    seen = ask(self.nets[0], _pixels(octaves, level, some, first, end))
                    rows = slice(int(top) + first, int(top) + end)
                    margins[some, rows, place] = _inside(level, some, first, end, seen.margins)
                    offsets[some, :, rows, place] = seen.offsets.to(offsets.dtype)
        kept = peaks(margins, margin_of(self.thresholds[0])).flatten(1)
        margin, at = torch.topk(kept, min(self.max_proposals, kept.shape[1]), dim=1)
        most = most_of(margin)
        margin, at = margin[:, :most], at[:, :most]
        row, column = at // sheet[1], at % sheet[1]
        starts = torch.tensor(tops[1:], device=device)
        of = torch.bucketize(row, starts, right=True)
        corner = torch.stack([column, row - torch.tensor(tops, device=device)[of]], dim=2) * STRIDE
        steps = torch.stack([level.steps * 2.0 ** level.octave[:, None] for level in levels])
        every = torch.arange(count, device=device)[:, None]
        cells = torch.cat([corner, corner + CELL], dim=2) * steps[of, every].repeat(1, 1, 2)
        margin = suppressed(cells, margin, STAGE_IOU)
        shifts = offsets.flatten(2).gather(2, at[:, None].expand(-1, 4, -1)).mT.float()
        return best(Found(decode(cells, shifts), margin, cells.new_full((*at.shape, 10), torch.nan)))

    def _refine(self, net: Net, floor: float, octaves: GroupOctaves, before: Found) -> Found:
        """R-Net or O-Net over the squares of the stage before, those of all images together."""
        octave, corners, cells, reachable = _snap(octaves, square(before.boxes), net.size)
        image, slot = (reachable & (before.margins > -torch.inf)).nonzero(as_tuple=True)
        octave, corners, cells = (part[image, slot] for part in (octave, corners, cells))
        pixel = torch.arange(net.size, device=self.device)[None]
        squares = torch.cat([corners, corners + cells[:, None]], dim=1) * 2.0 ** octave[:, None]
        margins = torch.full_like(before.margins, -torch.inf)
        boxes, found = torch.zeros_like(before.boxes), torch.zeros_like(before.boxes)
        points = torch.full_like(before.points, torch.nan)
        boxes[image, slot] = squares
        for start, stop in bands(len(image), net.size**2):
            some = slice(start, stop)
            sides = cells[some, None].expand(-1, 2)
            crops = octaves.cut(
                image[some], octave[some], corners[some], sides, sides / net.size, pixel, pixel
            )
            seen = ask(net, crops)
            where = image[some], slot[some]
            margin = joined(seen.margins, before.margins[where]) if self.joins else seen.margins
            margins[where] = torch.where(margin > floor, margin, -torch.inf)
            found[where] = decode(squares[some], seen.offsets)
            if seen.landmarks is not None:
                scaled = seen.landmarks * cells[some, None] * 2.0 ** octave[some, None]
                points[where] = scaled + squares[some, :2].repeat(1, 5)
        last = net.architecture.stage == "onet"
        order = ordered(Found(boxes, margins, torch.cat([found, points], dim=2)))
        found, points = order.points[..., :4], order.points[..., 4:]
        overlapping = found if last else order.boxes
        margins = suppressed(overlapping, order.margins, FINAL_IOU if last else STAGE_IOU)
        return best(Found(found, margins, points))


def in_groups(shapes: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Indices of images in groups of like sizes, bounded in number and in pixels after stacking."""
    groups: list[list[int]] = []
    widest = 0
    for index in sorted(range(len(shapes)), key=lambda i: shapes[i]):
        # Sorted by height, so this is the tallest of its group so far.
        height, width = shapes[index]
        widest = max(widest, width)
        if groups and len(groups[-1]) < GROUP and (len(groups[-1]) + 1) * height * widest <= GROUP_PIXELS:
            groups[-1].append(index)
        else:
            groups.append([index])
            widest = width
    return groups


def _pixels(octaves: GroupOctaves, level: _Level, some: slice, first: int, end: int) -> Tensor:
    """What P-Net needs of some images to see rows `first` to `end` of cells of a level."""
    device = level.sides.device
    sides, size = level.sides[some], level.size[some]
    # A level of an odd side gets its last row or column twice.
    margin = CELL - STRIDE
    columns = torch.arange(STRIDE * level.columns + margin, device=device)[None]
    rows = torch.arange(STRIDE * first, STRIDE * end + margin, device=device)[None]
    columns, rows = (torch.minimum(part, size[:, i, None] - 1) for i, part in enumerate((columns, rows)))
    every = torch.arange(some.start, some.stop, device=device)
    return octaves.cut(
        every, level.octave[some], torch.zeros_like(sides), sides, level.steps[some], columns, rows
    )


def _inside(level: _Level, some: slice, first: int, end: int, margins: Tensor) -> Tensor:
    """Margins (N, rows, columns), -inf at cells that are not the image's own."""
    columns = torch.arange(level.columns, device=margins.device) < level.cells[some, :1]
    rows = torch.arange(first, end, device=margins.device) < level.cells[some, 1:]
    return torch.where(rows[:, :, None] & columns[:, None, :], margins, -torch.inf)


def _snap(octaves: GroupOctaves, squares: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """As `Octaves.snap`, for squares (N, K, 4): octave, corners (N, K, 2), cells, and which squares are reachable."""
    side = squares[..., 2] - squares[..., 0]
    frame = torch.tensor(octaves.sides[0], device=squares.device)[:, None]
    touches = (torch.minimum(squares[..., 2:], frame) > squares[..., :2].clamp(min=0)).all(dim=2)
    reachable = touches & (side >= 1) & (side <= 4 * frame.amax(dim=2))
    side = torch.where(reachable, side, 1)
    octave = torch.floor(torch.log2((side / size).clamp(min=1e-6)) + 1e-6).clamp(min=0).long()
    octave = torch.minimum(octave, torch.tensor(octaves.counts - 1, device=squares.device)[:, None])
    factor = 2.0**octave
    cells = torch.round(side / factor).clamp(min=1).long()
    corners = torch.where(reachable[..., None], torch.round(squares[..., :2] / factor[..., None]), 0).long()
    return octave, corners, cells, reachable
