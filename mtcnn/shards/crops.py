"""Crops of one class as arrays, and how a record of them is laid out in a crop shard.

A shard is a tar of records of up to RECORD crops, four `.npy` members each: KEY.image, KEY.box, KEY.landmarks
and KEY.origin. One tar entry a crop would read up to a hundred times slower and take several times the bytes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FORMAT = 2
"""Version of the layout of crop shards; part of every digest of crops."""
CLASSES = ("pos", "part", "neg", "landmark")
RECORD = 1024
"""Most crops in a record."""
MEMBERS = (
    ("image", np.dtype(np.uint8)),
    ("box", np.dtype(np.float32)),
    ("landmarks", np.dtype(np.float32)),
    ("origin", np.dtype(np.int32)),
)
"""Members of a record in order: name and dtype."""


@dataclass(frozen=True)
class Crops:
    """N crops of one class. Raises ValueError where shapes or dtypes are not these."""

    images: NDArray[np.uint8]
    """(N, S, S, 3) RGB."""
    boxes: NDArray[np.float32]
    """(N, 4) box targets, (gt - crop) / crop side; zeros where there are none."""
    landmarks: NDArray[np.float32]
    """(N, 10) landmark targets x1 y1 … x5 y5, (point - crop corner) / crop side; zeros likewise."""
    origin: NDArray[np.int32]
    """(N, 4) index of the image in its unit, x1, y1 and side of the crop in pixels."""

    def __post_init__(self) -> None:
        size = self.images.shape[1] if self.images.ndim == 4 else 0
        for (name, dtype), array in zip(MEMBERS, self.arrays(), strict=True):
            shape = (len(self.images), *row_shape(name, size))
            if array.dtype != dtype or array.shape != shape:
                raise ValueError(f"crops: {name} is {array.dtype} {array.shape}, not {dtype} {shape}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of a crop in pixels."""
        return int(self.images.shape[1])

    def arrays(self) -> tuple[NDArray[np.generic], ...]:
        """The four arrays in the order of MEMBERS."""
        return self.images, self.boxes, self.landmarks, self.origin

    def slice(self, start: int, stop: int) -> "Crops":
        """Crops start to stop, as views."""
        rows = slice(start, stop)
        return Crops(self.images[rows], self.boxes[rows], self.landmarks[rows], self.origin[rows])


def row_shape(member: str, size: int) -> tuple[int, ...]:
    """Shape of one crop's row of a member, for crops of `size` pixels."""
    shapes = {"image": (size, size, 3), "box": (4,), "landmarks": (10,), "origin": (4,)}
    return shapes[member]


def member_name(unit: str, cls: str, record: int, member: str) -> str:
    """Name of a member in its tar; its first dot is where WebDataset splits it."""
    return f"{unit}-{cls}-{record:04d}.{member}.npy"
