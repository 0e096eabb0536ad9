"""DFace's text form of WIDER FACE (`wider_origin_anno.txt`): `path x1 y1 x2 y2 x1 y1 x2 y2 …`, a line an image.

DFace takes x2 and y2 as the last pixel, which makes its boxes one pixel too large: in that file x2 - x1 is WIDER's
width (on average to 0.03 px), so they are read as half open here. Rounding left coordinates of -1, which stay.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtcnn.sources.entry import BadLines, Entry, make_entry, only_file, read_lines, safe_path, to_numbers


def read_dface(images: Path, annotations: Sequence[Path], bad: BadLines) -> Iterator[Entry]:
    """Entries of a DFace list; the path ends at the first blank."""
    for where, line in read_lines(only_file(annotations, "dface")):
        name, *texts = line.split()
        path = ""
        try:
            path = safe_path(name)
            numbers = to_numbers(texts)
            if len(numbers) % 4:
                raise ValueError(f"{len(numbers)} numbers are not whole boxes x1 y1 x2 y2")
            yield make_entry(path, [numbers[i : i + 4] for i in range(0, len(numbers), 4)])
        except ValueError as error:
            bad.add(where, error, path)
