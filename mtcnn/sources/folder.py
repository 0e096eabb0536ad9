"""A plain folder of photos without faces: every image below it, no annotations."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from mtcnn.errors import UserError
from mtcnn.sources.entry import IMAGE_ENDINGS, BadLines, Entry, make_entry


def read_folder(images: Path, annotations: Sequence[Path], bad: BadLines) -> Iterator[Entry]:
    """Entries without faces, sorted by path; hidden files are passed over."""
    if annotations:
        raise UserError("folder takes no annotation file: its images have no faces (for boxes: csv)")
    found = sorted(path.relative_to(images).as_posix() for path in images.rglob("*"))
    for path in found:
        hidden = any(part.startswith(".") for part in path.split("/"))
        if path.lower().endswith(IMAGE_ENDINGS) and not hidden:
            try:
                yield make_entry(path, [])
            except ValueError as error:
                bad.add(str(images), error)
