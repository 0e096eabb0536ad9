"""From images and annotations of any supported kind to source shards, and back.

`prepare` is what jobs/prepare.py and the pipeline call; a kind is a reader function and nothing else.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from mtcnn.errors import UserError
from mtcnn.image import MAX_PIXELS
from mtcnn.progress import progress
from mtcnn.sources.celeba import read_celeba
from mtcnn.sources.csv_boxes import read_csv
from mtcnn.sources.dface import read_dface
from mtcnn.sources.entry import BadLines, Entry, gather
from mtcnn.sources.facepoint import read_facepoint
from mtcnn.sources.files import ImageFiles, find_files
from mtcnn.sources.folder import read_folder
from mtcnn.sources.pack import IMAGES_PER_SHARD, MAX_BAD_FRACTION, Pictures, packed_before
from mtcnn.sources.pack import pack as pack_pictures
from mtcnn.sources.read import Index
from mtcnn.sources.synthetic import synthetic_image
from mtcnn.sources.wider import read_wider
from mtcnn.store import open_store

log = logging.getLogger(__name__)

__all__ = ["KINDS", "pictures_of", "prepare", "read_entries"]

Reader = Callable[[Path, Sequence[Path], BadLines], Iterator[Entry]]
READERS: dict[str, Reader] = {
    "wider": read_wider,
    "dface": read_dface,
    "celeba": read_celeba,
    "facepoint": read_facepoint,
    "csv": read_csv,
    "folder": read_folder,
}
KINDS = (*READERS, "synthetic")


def prepare(
    kind: str,
    images: str | None,
    annotations: Sequence[str],
    out: str,
    *,
    count: int = 0,
    seed: int = 0,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    images_per_shard: int = IMAGES_PER_SHARD,
    workers: int = 0,
    done: Callable[[int], None] | None = None,
) -> Index:
    """Make the source shards of a data set in the folder or URL `out`; what is there already is kept.

    `images` is the folder that the paths in `annotations` start from; kind `synthetic` takes `count` instead of both.
    Without `done`, which is told of images finished, a progress bar is shown. UserError names what is wrong.
    """
    pictures = pictures_of(
        kind, images, annotations, count=count, seed=seed, skip_bad=skip_bad, max_pixels=max_pixels
    )
    packing = partial(
        pack_pictures, pictures, out, seed=seed, max_bad_fraction=max_bad_fraction, images_per_shard=images_per_shard,
        workers=workers,
    )  # fmt: skip
    if done is not None:
        return packing(done=done)
    label = f"prepare {PurePosixPath(out).name or kind}"
    kept = packed_before(
        pictures, out, seed=seed, max_bad_fraction=max_bad_fraction, images_per_shard=images_per_shard
    )
    if kept is not None:
        log.info("%s: there already, %s", label, open_store(out).url)
        return kept
    with progress(pictures.count, label, "images") as bar:
        return packing(done=bar.update)


def pictures_of(
    kind: str,
    images: str | None,
    annotations: Sequence[str],
    *,
    count: int = 0,
    seed: int = 0,
    skip_bad: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Pictures:
    """What `prepare` with these arguments packs: annotations are read, images are not yet."""
    if kind == "synthetic":
        return _drawn(images, annotations, count, seed)
    if kind in READERS:
        return _files(kind, images, annotations, count, skip_bad, max_pixels)
    raise UserError(f"unknown kind '{kind}': one of {' '.join(KINDS)}")


def read_entries(kind: str, images: Path, annotations: Sequence[Path], bad: BadLines) -> list[Entry]:
    """One entry an image of the data set, in the order of its annotations; UserError or `bad` for bad lines."""
    return gather(READERS[kind](images, annotations, bad), bad)


def _files(
    kind: str, images: str | None, annotations: Sequence[str], count: int, skip_bad: bool, max_pixels: int
) -> Pictures:
    if images is None or not Path(images).is_dir():
        raise UserError(f"{kind} needs the folder of its images: --images {images or 'DIR'} is not one")
    if count:
        raise UserError(f"{kind} packs all its images; --count is for synthetic")
    root = Path(images)
    if kind in ("wider", "dface") and (root / "images").is_dir():
        # WIDER's archives unpack to WIDER_train/images/0--Parade/…
        root /= "images"
    bad = BadLines(skip_bad)
    entries = read_entries(kind, root, [Path(path) for path in annotations], bad)
    found, missing = find_files(root, entries)
    files = ImageFiles(root, found, max_pixels)
    return Pictures(kind, len(found), files, files.digest(), tuple(missing), tuple(bad.skipped))


def _drawn(images: str | None, annotations: Sequence[str], count: int, seed: int) -> Pictures:
    if images or annotations or count < 1:
        raise UserError("synthetic takes a number of scenes and no files: --count N")
    # The first scene stands for the drawing code and the libraries under it: other pictures are other shards.
    first = synthetic_image(seed, 0)
    digest = hashlib.sha256(f"{seed} {count}".encode() + first.data + first.annotation.to_json()).hexdigest()
    return Pictures("synthetic", count, partial(synthetic_image, seed), digest)
