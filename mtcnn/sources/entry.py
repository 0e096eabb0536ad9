"""What every annotation reader gives: entries (one image and its faces as the file says), and bad lines.

A reader is a function (images folder, annotation files, BadLines) -> entries; the same path may come many times.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mtcnn.boxes import FloatArray
from mtcnn.errors import UserError
from mtcnn.sources.annotation import Attributes, BoolArray, check_faces

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
LARGEST_COORDINATE = 1e6

# Of any system: an archive made on one is unpacked on another.
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
_SEPARATOR = re.compile(r"[/\\]")
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, eq=False)
class Entry:
    """An image by its path below the images folder, and its F faces before the image has been seen."""

    path: str
    """Relative, with forward slashes."""
    boxes: FloatArray
    """(F, 4) x1 y1 x2 y2 half open."""
    ignore: BoolArray
    """(F,)"""
    landmarks: FloatArray
    """(F, 5, 2), NaN where unknown."""
    attributes: Attributes = field(default_factory=dict)
    """Lists of F values."""
    size: tuple[int, int] | None = None
    """Width and height where the file gives them: an image of another size has other coordinates."""


@dataclass(frozen=True)
class Skipped:
    """An image or an annotation line that was left out."""

    name: str
    """Path of the image, or file:line."""
    reason: str
    """Why."""


class BadLines:
    """What happens to a line that cannot be read: UserError, or with `skip` counted and listed.

    The other faces of its image are left out with it: an image that misses a face would teach that it is background.
    """

    def __init__(self, skip: bool = False) -> None:
        self.skip = skip
        self.skipped: list[Skipped] = []
        self.paths: set[str] = set()

    def add(self, where: str, reason: object, path: str = "") -> None:
        """Report the line `where` (file:line), which belongs to the image `path` if that much is known."""
        if not self.skip:
            raise UserError(f"{where}: {reason} (mend it, or leave such lines out with --skip-bad)")
        self.skipped.append(Skipped(where, f"{reason}; {path} left out" if path else str(reason)))
        if path:
            self.paths.add(path)


def make_entry(
    path: str,
    boxes: Sequence[Sequence[float]],
    ignore: Sequence[bool] | None = None,
    landmarks: Sequence[Sequence[float]] | None = None,
    attributes: Attributes | None = None,
    size: tuple[int, int] | None = None,
) -> Entry:
    """An entry of F boxes x1 y1 x2 y2 and F times ten landmark numbers; ValueError for numbers that make no sense."""
    count = len(boxes)
    array = np.array(boxes, np.float64).reshape(count, 4)
    points = (
        np.full((count, 10), np.nan)
        if landmarks is None
        else np.array(landmarks, np.float64).reshape(count, 10)
    )
    # A comparison with NaN is false: NaN fails as a box and passes as a point.
    if not (np.abs(array) <= LARGEST_COORDINATE).all() or (np.abs(points) > LARGEST_COORDINATE).any():
        raise ValueError(f"a coordinate is not a finite number within ±{LARGEST_COORDINATE:g}")
    entry = Entry(
        path=safe_path(path),
        boxes=array.astype(np.float32),
        ignore=np.zeros(count, bool) if ignore is None else np.array(ignore, bool),
        landmarks=points.astype(np.float32).reshape(count, 5, 2),
        attributes=attributes or {},
        size=size,
    )
    check_faces(entry.boxes, entry.ignore, entry.landmarks, entry.attributes)
    return entry


def gather(entries: Iterable[Entry], bad: BadLines) -> list[Entry]:
    """One entry an image, in the order of first mention; images with a bad line are left out."""
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.path, []).append(entry)
    return [_joined(parts) for path, parts in rows.items() if path not in bad.paths]


def _joined(parts: list[Entry]) -> Entry:
    if len(parts) == 1:
        return parts[0]
    # Those that all parts have: an attribute has a value for every face.
    keys = sorted(set.intersection(*(set(part.attributes) for part in parts)))
    return Entry(
        path=parts[0].path,
        boxes=np.concatenate([part.boxes for part in parts]),
        ignore=np.concatenate([part.ignore for part in parts]),
        landmarks=np.concatenate([part.landmarks for part in parts]),
        attributes={key: tuple(v for part in parts for v in part.attributes[key]) for key in keys},
        size=parts[0].size,
    )


def safe_path(text: str) -> str:
    """A relative path with its redundant dots removed; ValueError where it is absolute or climbs out of its folder."""
    if _ABSOLUTE.match(text) or ".." in _SEPARATOR.split(text):
        raise ValueError(f"the path '{text}' leaves the images folder")
    path = "/".join(part for part in text.split("/") if part not in ("", "."))
    if not path or _ODD.search(path):
        raise ValueError(f"{text!r} is not the path of an image")
    return path


def read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines of a text file that are not blank as (file:line, text without surrounding blanks)."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if text := line.strip():
            yield f"{path}:{number}", text


def read_text(path: Path) -> str:
    """The text of an annotation file in UTF-8; UserError if there is none."""
    data = read_bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8 text; is this the annotation file?") from error


def read_bytes(path: Path) -> bytes:
    """The content of an annotation file; UserError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"annotation file {path}: {error.strerror}") from error


def to_numbers(texts: Sequence[str]) -> list[float]:
    """Finite numbers of a line; ValueError that quotes the first text that is none."""
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise ValueError(f"not a number: {str(error).rpartition(': ')[2]}") from None
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("a number is not finite")
    return numbers


def only_file(annotations: Sequence[Path], kind: str) -> Path:
    """The annotation file of a kind that has one."""
    if len(annotations) != 1:
        raise UserError(f"{kind} takes one annotation file, not {len(annotations)}: --annotations FILE")
    return annotations[0]
