"""CelebA (Liu et al. 2015): `list_bbox_celeba.txt` and `list_landmarks_celeba.txt`, given in either order.

Both are for the images in the wild (`img_celeba`): a number of images, a header, a line an image. One face of each
image is labelled, so these images can give landmark crops but no negatives.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtcnn.errors import UserError
from mtcnn.sources.entry import BadLines, Entry, make_entry, read_lines, to_numbers

BOX_HEADER = ("x_1", "y_1", "width", "height")
LANDMARK_HEADER = tuple(
    f"{p}_{c}" for p in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth") for c in "xy"
)


def read_celeba(images: Path, annotations: Sequence[Path], bad: BadLines) -> Iterator[Entry]:
    """Entries with one face each; the file of the landmarks may be left away."""
    files = {_header(path): path for path in annotations}
    if BOX_HEADER not in files or len(files) != len(annotations):
        raise UserError(
            "celeba takes --annotations list_bbox_celeba.txt --annotations list_landmarks_celeba.txt, "
            f"not {', '.join(map(str, annotations)) or 'none'}"
        )
    landmarks: dict[str, list[float]] = {}
    has_landmarks = LANDMARK_HEADER in files
    if has_landmarks:
        landmarks = {
            name: numbers for _, name, numbers in _rows(files[LANDMARK_HEADER], LANDMARK_HEADER, bad)
        }
    for where, name, (x, y, w, h) in _rows(files[BOX_HEADER], BOX_HEADER, bad):
        if name in bad.paths:
            continue
        try:
            if has_landmarks and name not in landmarks:
                raise ValueError(f"{name} is not in {files[LANDMARK_HEADER]}")
            points = [landmarks.pop(name)] if has_landmarks else None
            yield make_entry(name, [[x, y, x + w, y + h]], landmarks=points)
        except ValueError as error:
            bad.add(where, error, name)
    for name in landmarks:
        bad.add(f"{files[LANDMARK_HEADER]}", f"{name} is not in {files[BOX_HEADER]}", name)


def _header(path: Path) -> tuple[str, ...]:
    for _, line in read_lines(path):
        words = tuple(line.split())
        if words[-4:] == BOX_HEADER:
            return BOX_HEADER
        if words[-10:] == LANDMARK_HEADER:
            if "align" in path.name:
                raise UserError(
                    f"{path}: these points are for the aligned images, the boxes are for img_celeba"
                )
            return LANDMARK_HEADER
        if len(words) > 1:
            break
    raise UserError(
        f"{path}: the header of a CelebA list is '… {' '.join(BOX_HEADER)}' or '{LANDMARK_HEADER[0]} …'"
    )


def _rows(path: Path, header: tuple[str, ...], bad: BadLines) -> Iterator[tuple[str, str, list[float]]]:
    announced = rows = 0
    for where, line in read_lines(path):
        name, *texts = line.split()
        if line.isdecimal():
            announced = int(line)
            continue
        if tuple(line.split()[-len(header) :]) == header:
            continue
        rows += 1
        try:
            numbers = to_numbers(texts)
            if len(numbers) != len(header):
                raise ValueError(f"{len(numbers)} numbers instead of {len(header)}: {' '.join(header)}")
            yield where, name, numbers
        except ValueError as error:
            bad.add(where, error, name)
    if announced and rows != announced:
        bad.add(str(path), f"announces {announced} images and has {rows}: is it cut off?")
