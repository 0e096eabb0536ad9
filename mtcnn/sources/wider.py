"""WIDER FACE annotations (Yang et al. 2016) in both official forms: `*_bbx_gt.txt` and `wider_face_*.mat`.

Boxes there are x y w h. Faces marked invalid become ignore regions; every mark is kept as an attribute.
"""

import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import scipy.io

from mtcnn.errors import UserError
from mtcnn.sources.entry import (
    IMAGE_ENDINGS,
    BadLines,
    Entry,
    make_entry,
    only_file,
    read_bytes,
    read_lines,
    safe_path,
    to_numbers,
)

UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    IndexError,
    NotImplementedError,
    zlib.error,
    scipy.io.matlab.MatReadError,
)
"""What scipy raises, depending on where a file is damaged."""
MARKS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")


def read_wider(images: Path, annotations: Sequence[Path], bad: BadLines) -> Iterator[Entry]:
    """Entries of `wider_face_*_bbx_gt.txt` or `wider_face_*.mat`, told apart by the ending."""
    path = only_file(annotations, "wider")
    return _read_mat(path, bad) if path.suffix.lower() == ".mat" else _read_txt(path, bad)


def _read_txt(path: Path, bad: BadLines) -> Iterator[Entry]:
    # An image is its path, the number of faces, and that many lines. Images without faces announce 0 and have one line
    # of zeros (train), or announce 1 (val): that box has no area and becomes an ignore region when it is packed.
    blocks: list[list[tuple[str, str]]] = []
    for where, text in read_lines(path):
        if text.lower().endswith(IMAGE_ENDINGS):
            blocks.append([])
        elif not blocks:
            bad.add(where, f"'{text[:60]}' is not the path of an image")
            continue
        blocks[-1].append((where, text))
    for block in blocks:
        where, name = block[0]
        try:
            name = safe_path(name)
        except ValueError as error:
            bad.add(where, error)
            continue
        # The line that is wrong is named, not the first of its block.
        at = [where]
        try:
            yield _entry(name, _rows(block, at))
        except ValueError as error:
            bad.add(at[-1], error, name)


def _rows(block: list[tuple[str, str]], at: list[str]) -> list[list[float]]:
    if len(block) < 2:
        raise ValueError("the number of faces does not follow")
    at.append(block[1][0])
    if not block[1][1].isdecimal():
        raise ValueError(f"'{block[1][1][:60]}' is not a number of faces")
    count = int(block[1][1])
    rows = []
    for where, text in block[2:]:
        at.append(where)
        row = to_numbers(text.split())
        if len(row) not in (4, 4 + len(MARKS)):
            raise ValueError(f"{len(row)} numbers instead of x y w h {' '.join(MARKS)}")
        rows.append(row)
    if count == 0 and len(rows) == 1 and not any(rows[0]):
        return []
    if len(rows) != count:
        raise ValueError(f"{len(rows)} faces follow where {count} are announced")
    return rows


def _entry(name: str, rows: list[list[float]]) -> Entry:
    marks: dict[str, tuple[int | str, ...]] = {}
    if all(len(row) > 4 for row in rows):
        marks = {mark: tuple(int(row[4 + column]) for row in rows) for column, mark in enumerate(MARKS)}
    return make_entry(
        name,
        boxes=[[x, y, x + w, y + h] for x, y, w, h in (row[:4] for row in rows)],
        ignore=[bool(mark) for mark in marks["invalid"]] if marks else None,
        attributes=marks,
    )


def _read_mat(path: Path, bad: BadLines) -> Iterator[Entry]:
    try:
        lists: dict[str, Any] = scipy.io.loadmat(io.BytesIO(read_bytes(path)))
        columns = [lists[f"{mark}_label_list"] for mark in MARKS]
        events, files, boxes = lists["event_list"], lists["file_list"], lists["face_bbx_list"]
    except KeyError as error:
        raise UserError(f"{path}: has no {error}; the files of the WIDER FACE ground truth have") from error
    except UNREADABLE as error:
        raise UserError(f"{path}: not a MATLAB 5 file, or a damaged one: {error}") from error
    for event in range(len(events)):
        for image in range(len(files[event, 0])):
            name = f"{events[event, 0][0]}/{files[event, 0][image, 0][0]}.jpg"
            try:
                faces = boxes[event, 0][image, 0].tolist()
                marks = zip(*(column[event, 0][image, 0].ravel().tolist() for column in columns), strict=True)
                rows = [[*face, *mark] for face, mark in zip(faces, marks, strict=True)]
                yield _entry(name, rows)
            except (ValueError, TypeError, AttributeError) as error:
                bad.add(f"{path}: {name}", error)
