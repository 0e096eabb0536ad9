"""Octaves of a group of images as tensors on a device: what `image.Octaves` is for one image on a CPU.

Images of a group may differ in size. All their octaves lie in one tensor, so that one call cuts pyramid levels or
crops out of any of them: `GroupOctaves.cut` is the only resampling, and halving is a case of it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mtcnn.image import SMALLEST_OCTAVE, Pixels

BAND = 4_000_000
"""Pixels that are resampled, and looked at by a net, together: bounds the memory, about 100 bytes each."""


def stack(images: Sequence[Pixels], pinned: bool) -> Tensor:
    """Images (H, W, 3) in the corner of one uint8 tensor (N, H, W, 3), in memory that a GPU can fetch by itself.

    What lies beyond an image is never read.
    """
    height, width = (max(rgb.shape[axis] for rgb in images) for axis in (0, 1))
    stacked = torch.empty((len(images), height, width, 3), dtype=torch.uint8, pin_memory=pinned)
    for target, rgb in zip(stacked.numpy(), images, strict=True):
        target[: rgb.shape[0], : rgb.shape[1]] = rgb
    return stacked


def bands(count: int, size: int, multiple: int = 1) -> Iterator[tuple[int, int]]:
    """Where bands of 0..count start and end, if each step is `size` pixels; a multiple of steps long."""
    length = max(BAND // max(size, 1) // multiple, 1) * multiple
    for start in range(0, count, length):
        yield start, min(start + length, count)


class GroupOctaves:
    """N images and their halvings on one device."""

    def __init__(self, stacked: Tensor, shapes: Sequence[tuple[int, int]], device: torch.device) -> None:
        """Images as `stack` leaves them, and the height and width of each."""
        height, width = stacked.shape[1:3]
        sides, counts = [np.array(shapes)[:, ::-1]], np.ones(len(shapes), np.int64)
        while (more := sides[-1].min(axis=1) >= 2 * SMALLEST_OCTAVE).any():
            sides.append((sides[-1] + 1) // 2)
            counts += more
        self.sides, self.counts = np.stack(sides), counts
        """Width and height of each octave and image (K, N, 2), and how many octaves an image has (N,)."""
        places = [(-(-height // 2**k), -(-width // 2**k)) for k in range(len(sides))]
        sizes = np.array([h * w for h, w in places])
        starts = np.cumsum(sizes * len(shapes)) - sizes * len(shapes)
        # Pixels of four bytes, of which the last is not used: one number is fetched for each, instead of three.
        self._bytes = torch.zeros((int(sizes.sum()) * len(shapes), 4), dtype=torch.uint8, device=device)
        self._pixels = self._bytes.view(torch.int32).squeeze(1)
        self._places = torch.tensor(np.stack([starts, sizes, [w for _, w in places]], axis=1), device=device)
        self._limits = torch.tensor(self.sides, device=device)
        whole = self._octave(0, starts[0], *places[0])
        whole[..., :3] = stacked.to(device, non_blocking=True)
        every = torch.arange(len(shapes), device=device)
        for k in range(1, len(sides)):
            target = self._octave(k, starts[k], *places[k])
            rows, columns = places[k]
            before, side = torch.full_like(every, k - 1), self._limits[k - 1]
            steps = torch.full_like(side, 2, dtype=torch.float32)
            across = torch.arange(columns, device=device)[None]
            for top, bottom in bands(rows, columns * len(shapes)):
                down = torch.arange(top, bottom, device=device)[None]
                corners = torch.zeros_like(side)
                halved = self.cut(every, before, corners, side, steps, across, down)
                target[:, top:bottom, :, :3] = halved

    def _octave(self, k: int, start: int, rows: int, columns: int) -> Tensor:
        count = self.sides.shape[1]
        return self._bytes[start : start + count * rows * columns].view(count, rows, columns, 4)

    def cut(
        self,
        image: Tensor,
        octave: Tensor,
        corners: Tensor,
        sides: Tensor,
        steps: Tensor,
        columns: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """Windows uint8 (M, rows, columns, 3), resampled bilinearly; black beyond the border of the image.

        Window m is the rectangle at `corners[m]` (x, y) of `sides[m]` pixels of octave `octave[m]` of image
        `image[m]`, of which pixels `columns` and `rows` ((n,) of each, or (M, n)) are made, `steps[m]` apart. As in
        cv2.resize, pixels at the rim of a window do not mix with those outside.
        """
        start, size, width = self._places[octave].T
        limits = self._limits[octave, image]
        xs, across = _neighbours(columns, steps[:, 0], corners[:, 0], sides[:, 0], limits[:, 0])
        ys, down = _neighbours(rows, steps[:, 1], corners[:, 1], sides[:, 1], limits[:, 1])
        total: Tensor | int = 2
        for y, weight_y in zip(ys, down, strict=True):
            row = (start + image * size)[:, None] + y * width[:, None]
            line: Tensor | int = 0
            for x, weight_x in zip(xs, across, strict=True):
                pixels = self._pixels[row[:, :, None] + x[:, None, :]]
                line = pixels[..., None].view(torch.uint8) * weight_x[:, None, :, None] + line
            # The integers of cv2.resize, bit by bit: crops that differ by little are snapped to other pixels.
            total = ((line >> 4) * weight_y[:, :, None, None] >> 16) + total
        assert isinstance(total, Tensor)
        return (total >> 2).to(torch.uint8)[..., :3]


def _neighbours(
    wanted: Tensor, step: Tensor, corner: Tensor, side: Tensor, limit: Tensor
) -> tuple[Tensor, Tensor]:
    """The two pixels between which each of `wanted` lies along one axis, and their weights of 2048: both (2, M, n).

    Pixels outside the octave, 0..limit, weigh nothing.
    """
    at = ((wanted + 0.5) * step[:, None] - 0.5).clamp(min=0)
    at = torch.minimum(at, (side - 1)[:, None])
    low = at.floor()
    part = at - low
    first = low.long()
    both = torch.stack([first, torch.minimum(first + 1, (side - 1)[:, None])]) + corner[:, None]
    inside = (both >= 0) & (both < limit[:, None])
    weights = torch.round(torch.stack([1 - part, part]) * 2048).int() * inside
    return torch.minimum(both.clamp(min=0), (limit - 1)[:, None]), weights
