"""Boxes in a CSV file with a header, a row a face: the plain form that any data set can be brought into.

Columns in any order: the image (`name` `path` `image` `filename` or `file`); its box as `xmin ymin xmax ymax`,
`x1 y1 x2 y2` or `x y w h`; where known the points `lex ley rex rey nx ny lmx lmy rmx rmy`, `ignore` (0 or 1) and the
image's `width` and `height`, which are then checked. A row with an empty box is an image without faces.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtcnn.errors import UserError
from mtcnn.sources.entry import BadLines, Entry, make_entry, only_file, read_text, safe_path, to_numbers

NAMES = ("name", "path", "image", "filename", "file")
BOXES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"), ("x", "y", "w", "h"))
LANDMARKS = ("lex", "ley", "rex", "rey", "nx", "ny", "lmx", "lmy", "rmx", "rmy")
SIZE = ("width", "height")
YES_NO = {"": False, "0": False, "false": False, "1": True, "true": True}


def read_csv(images: Path, annotations: Sequence[Path], bad: BadLines) -> Iterator[Entry]:
    """Entries of a CSV file, a row each."""
    path = only_file(annotations, "csv")
    rows = _rows(path)
    header = [cell.lower() for cell in next(rows, ("", []))[1]]
    name = next((column for column in NAMES if column in header), None)
    box = next((columns for columns in BOXES if set(columns) <= set(header)), None)
    if name is None or box is None:
        raise UserError(
            f"{path}:1: the header {','.join(header)[:80]!r} needs one of {' '.join(NAMES)} and "
            f"{' or '.join(' '.join(columns) for columns in BOXES)}"
        )
    sizes: dict[str, tuple[int, int] | None] = {}
    for where, cells in rows:
        if not any(cells):
            continue
        image = ""
        try:
            row = dict(zip(header, cells, strict=False))
            image = safe_path(row.get(name, ""))
            if len(cells) != len(header):
                raise ValueError(f"{len(cells)} cells under {len(header)} columns")
            entry = _entry(image, row, box)
            if sizes.setdefault(image, entry.size) != entry.size:
                raise ValueError(f"width and height of {image} differ from an earlier row")
            yield entry
        except ValueError as error:
            bad.add(where, error, image)


def _rows(path: Path) -> Iterator[tuple[str, list[str]]]:
    rows = csv.reader(io.StringIO(read_text(path), newline=""))
    try:
        for cells in rows:
            yield f"{path}:{rows.line_num}", [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UserError(f"{path}:{rows.line_num}: not CSV: {error}") from error


def _entry(image: str, row: dict[str, str], box: tuple[str, ...]) -> Entry:
    size = None
    if set(SIZE) <= row.keys() and row["width"] and row["height"]:
        width, height = to_numbers([row[column] for column in SIZE])
        size = int(width), int(height)
    if not any(row[column] for column in box):
        return make_entry(image, [], size=size)
    a, b, c, d = to_numbers([row[column] for column in box])
    points = [row.get(column, "") for column in LANDMARKS]
    ignore = row.get("ignore", "").lower()
    if ignore not in YES_NO:
        raise ValueError(f"ignore is '{ignore}', neither 0 nor 1")
    return make_entry(
        image,
        [[a, b, a + c, b + d] if box == BOXES[2] else [a, b, c, d]],
        ignore=[YES_NO[ignore]],
        landmarks=[[to_numbers([point])[0] if point else math.nan for point in points]],
        size=size,
    )
