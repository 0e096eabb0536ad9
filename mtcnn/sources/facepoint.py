"""The lists of Sun, Wang, Tang 2013 (`trainImageList.txt`): `path x1 x2 y1 y2` and five points `x y`, a line a face.

Note the order of the box. Paths have back-slashes; points are left eye, right eye, nose, left and right mouth corner.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtcnn.sources.entry import BadLines, Entry, make_entry, only_file, read_lines, safe_path, to_numbers


def read_facepoint(images: Path, annotations: Sequence[Path], bad: BadLines) -> Iterator[Entry]:
    """Entries with one face and its points each."""
    for where, line in read_lines(only_file(annotations, "facepoint")):
        name, *texts = line.split()
        path = ""
        try:
            path = safe_path(name.replace("\\", "/"))
            numbers = to_numbers(texts)
            if len(numbers) != 14:
                raise ValueError(f"{len(numbers)} numbers instead of 14: x1 x2 y1 y2 and five points")
            x1, x2, y1, y2 = numbers[:4]
            yield make_entry(path, [[x1, y1, x2, y2]], landmarks=[numbers[4:]])
        except ValueError as error:
            bad.add(where, error, path)
