"""What is known about one image, and an image with it: what source shards hold and every later phase reads.

Coordinates are those of the decoded image, after its EXIF rotation. In a shard an annotation is `KEY.json`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mtcnn.boxes import FloatArray
from mtcnn.image import Pixels, decode

BoolArray = npt.NDArray[np.bool_]
Attributes = Mapping[str, tuple[int | str, ...]]


@dataclass(frozen=True, eq=False)
class Annotation:
    """Size of an image and its F faces; raises ValueError where the parts do not fit each other."""

    width: int
    """Pixels of the decoded image."""
    height: int
    """Pixels of the decoded image."""
    boxes: FloatArray
    """(F, 4) x1 y1 x2 y2 half open; may reach beyond the border."""
    ignore: BoolArray
    """(F,): neither a face to find nor background."""
    landmarks: FloatArray
    """(F, 5, 2) left eye, right eye, nose, left and right corner of the mouth as seen in the image; NaN: unknown."""
    attributes: Attributes = field(default_factory=dict)
    """Lists of F values that a data set gives: blur, occlusion, invalid …"""
    name: str = ""
    """Path of the image in the data set it comes from."""

    def __post_init__(self) -> None:
        check_faces(self.boxes, self.ignore, self.landmarks, self.attributes)
        if self.width < 1 or self.height < 1:
            raise ValueError(f"an image of {self.width}x{self.height} pixels")

    def to_json(self) -> bytes:
        """One JSON object `width height boxes ignore landmarks attributes name`, null for unknown points."""
        known = np.all(np.isfinite(self.landmarks), axis=2)
        points = [
            [_numbers(point) if there else None for point, there in zip(face, seen, strict=True)]
            for face, seen in zip(self.landmarks, known, strict=True)
        ]
        tree = {
            "name": self.name,
            "width": self.width,
            "height": self.height,
            "boxes": [_numbers(box) for box in self.boxes],
            "ignore": self.ignore.tolist(),
            "landmarks": [face if any(face) else None for face in points],
            "attributes": {key: list(values) for key, values in sorted(self.attributes.items())},
        }
        return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Annotation":
        """The inverse of `to_json`, to the last bit; ValueError for anything else."""
        try:
            tree: dict[str, Any] = json.loads(data)
            faces = [face or [None] * 5 for face in tree["landmarks"]]
            points = [[point or [np.nan, np.nan] for point in face] for face in faces]
            return cls(
                width=int(tree["width"]),
                height=int(tree["height"]),
                boxes=np.array(tree["boxes"], np.float32).reshape(-1, 4),
                ignore=np.array(tree["ignore"], bool),
                landmarks=np.array(points, np.float32).reshape(-1, 5, 2),
                attributes={key: tuple(values) for key, values in tree.get("attributes", {}).items()},
                name=str(tree.get("name", "")),
            )
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"not an annotation: {error!r}") from error


@dataclass(frozen=True, eq=False)
class SourceImage:
    """One image of a source shard."""

    key: str
    """Unique in its data set; letters, digits, `_` and `-`."""
    data: bytes
    """The original file, whatever its format."""
    annotation: Annotation
    """Size and faces."""

    def decode(self) -> Pixels:
        """Its pixels (height, width, 3) RGB; raises ImageError.

        However large it is: `limits.max_pixels` was held against it when it was packed.
        """
        return decode(self.data, self.annotation.width * self.annotation.height)


def check_faces(boxes: FloatArray, ignore: BoolArray, landmarks: FloatArray, attributes: Attributes) -> None:
    """Raise ValueError unless these describe the same number of faces with finite boxes."""
    count = len(boxes)
    shapes = boxes.shape == (count, 4) and ignore.shape == (count,) and landmarks.shape == (count, 5, 2)
    if not shapes or any(len(values) != count for values in attributes.values()):
        found = {key: len(values) for key, values in attributes.items()}
        raise ValueError(
            f"boxes {boxes.shape}, ignore {ignore.shape}, landmarks {landmarks.shape}, attributes {found} do not fit"
        )
    if not np.isfinite(boxes).all():
        raise ValueError("a box is not finite")


def _numbers(values: FloatArray) -> list[float]:
    # The shortest text that reads back as the same float32: 140.55, not 140.5500030517578.
    return [float(str(value)) for value in values]
