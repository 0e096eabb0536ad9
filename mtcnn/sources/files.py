"""Image files and what their annotations say of them, ready to be packed: each is read, decoded and checked.

Boxes without area or wholly outside their image become ignore regions here; those that cross the border stay whole,
because crops are filled up with black beyond it.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mtcnn.boxes import FloatArray, area, clip
from mtcnn.errors import ImageError
from mtcnn.image import decode
from mtcnn.sources.annotation import Annotation, SourceImage
from mtcnn.sources.entry import Entry, Skipped


@dataclass(frozen=True)
class ImageFiles:
    """Entry i as a SourceImage, or why it is left out; threads may share it."""

    root: Path
    """The images folder."""
    entries: Sequence[Entry]
    """What the annotations say."""
    max_pixels: int
    """Larger images are left out."""

    def __call__(self, i: int) -> SourceImage | Skipped:
        entry = self.entries[i]
        try:
            data = (self.root / entry.path).read_bytes()
            height, width = decode(data, self.max_pixels).shape[:2]
        except OSError as error:
            return Skipped(entry.path, str(error.strerror))
        except ImageError as error:
            return Skipped(entry.path, str(error))
        if entry.size is not None and entry.size != (width, height):
            said = "x".join(map(str, entry.size))
            return Skipped(entry.path, f"{width}x{height} pixels, but its annotation is for {said}")
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(entry.path).stem)[:60]
        return SourceImage(f"{i:06d}-{stem}", data, settle(entry, width, height))

    def digest(self) -> str:
        """sha256 over annotations, settings and sizes of the files: changes when the shards would."""
        total = hashlib.sha256(f"{self.max_pixels} {len(self.entries)}".encode())
        for entry in self.entries:
            length = (self.root / entry.path).stat().st_size
            said = [entry.path, length, entry.size, dict(sorted(entry.attributes.items())), len(entry.boxes)]
            total.update(json.dumps(said).encode())
            for array in (entry.boxes, entry.ignore, entry.landmarks):
                total.update(array.tobytes())
        return total.hexdigest()


def find_files(root: Path, entries: Sequence[Entry]) -> tuple[list[Entry], list[Skipped]]:
    """The entries whose image is there, and the others."""
    # What is no plain file counts as missing: reading a pipe or a device would never end.
    there = [(root / entry.path).is_file() for entry in entries]
    found = [entry for entry, yes in zip(entries, there, strict=True) if yes]
    return found, [
        Skipped(entry.path, "no such file") for entry, yes in zip(entries, there, strict=True) if not yes
    ]


def settle(entry: Entry, width: int, height: int) -> Annotation:
    """The annotation of an entry now that its image is known to be `width` x `height` pixels."""
    inside = clip(entry.boxes, width, height)
    gone = area(inside) == 0
    boxes: FloatArray = np.where(gone[:, None], inside, entry.boxes)
    # A box that was inside out has no area either way round; as a region it shall be in order.
    boxes[gone] = np.concatenate([np.minimum(inside[gone, :2], inside[gone, 2:]), inside[gone, 2:]], axis=1)
    return Annotation(
        width=width,
        height=height,
        boxes=boxes,
        ignore=entry.ignore | gone,
        landmarks=entry.landmarks,
        attributes=entry.attributes,
        name=entry.path,
    )
