"""Packs images with their annotations into source shards: in parallel, shard by shard, the same bytes every time.

Images are shuffled by the seed first, so that every shard is a fair sample. What is made depends on the images, the
annotations and the settings only, not on the number of workers. `index.json` is written last.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np

from mtcnn.boxes import area
from mtcnn.errors import MissingKey, ShardError, UserError
from mtcnn.sources.annotation import Annotation, SourceImage
from mtcnn.sources.entry import Skipped
from mtcnn.sources.read import FORMAT, INDEX, SIZES, Index, ShardRow, Summary, read_index, write_tar
from mtcnn.store import Store, open_store

MAX_BAD_FRACTION = 0.01
IMAGES_PER_SHARD = 64
_SIZE_STEPS = (12, 20, 40, 80, 160)


@dataclass(frozen=True)
class Pictures:
    """A data set to pack: `make(i)` for i below `count` gives image i, or why it is left out."""

    kind: str
    """KIND it comes from."""
    count: int
    """Images that can be tried."""
    make: Callable[[int], SourceImage | Skipped]
    """Called from several threads."""
    digest: str
    """sha256 of all that decides what `make` gives."""
    missing: tuple[Skipped, ...] = ()
    """Images that are not there; they count as bad images."""
    bad_lines: tuple[Skipped, ...] = ()
    """Annotation lines that were left out; whoever asked for that has accepted them."""


def pack(
    pictures: Pictures,
    out: str,
    *,
    seed: int = 0,
    max_bad_fraction: float = MAX_BAD_FRACTION,
    images_per_shard: int = IMAGES_PER_SHARD,
    workers: int = 0,
    done: Callable[[int], None] = lambda count: None,
) -> Index:
    """Write the source shards of `pictures` to the folder or URL `out`; those that are there already are kept.

    Each of the `workers` (0: one a core) holds one shard. `done` is called with the number of images of each shard
    that is finished. UserError when more than `max_bad_fraction` of the images have to be left out, or all.
    """
    store = open_store(out)
    bad = list(pictures.missing)
    there = store.size(INDEX) is not None
    kept = packed_before(
        pictures, out, seed=seed, max_bad_fraction=max_bad_fraction, images_per_shard=images_per_shard
    )
    if kept is not None:
        done(pictures.count)
        return kept
    old = _existing(store)

    # Without its index a folder is not a data set: nothing reads half of the old and half of the new. An index that was
    # not there just now is new: another driver has made the same shards meanwhile.
    if there:
        store.delete(INDEX)
    order = np.random.default_rng(seed).permutation(pictures.count).tolist()
    chunks = [order[i : i + images_per_shard] for i in range(0, len(order), images_per_shard)]
    packed: dict[int, _Packed] = {}
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1, thread_name_prefix="pack")
    try:
        jobs = {
            pool.submit(_pack_shard, store, number, chunk, pictures): number
            for number, chunk in enumerate(chunks)
        }
        for job in as_completed(jobs):
            number = jobs[job]
            packed[number] = job.result()
            bad += packed[number].skipped
            _check_bad(pictures, bad, max_bad_fraction)
            done(len(chunks[number]))
    finally:
        pool.shutdown(cancel_futures=True)

    parts = [packed[number] for number in range(len(chunks))]
    index = Index(
        kind=pictures.kind,
        inputs=_inputs(pictures, seed, images_per_shard, max_bad_fraction),
        shards=tuple(part.row for part in parts if part.row is not None),
        summary=_total([part.summary for part in parts]),
        skipped=(*pictures.bad_lines, *pictures.missing, *(one for part in parts for one in part.skipped)),
    )
    store.put(INDEX, index.to_json())
    for row in old.shards if old is not None else ():
        if row.name not in {new.name for new in index.shards}:
            store.delete(row.name)
    return index


def packed_before(
    pictures: Pictures, out: str, *, seed: int, max_bad_fraction: float, images_per_shard: int
) -> Index | None:
    """The index of the shards in `out` where `pack` would keep them as they are; None where it would pack.

    UserError where packing these pictures is refused.
    """
    if images_per_shard < 1:
        raise UserError(f"{images_per_shard} images in a shard: at least 1")
    _check_bad(pictures, pictures.missing, max_bad_fraction)
    store = open_store(out)
    index = _existing(store)
    if index is None or index.inputs != _inputs(pictures, seed, images_per_shard, max_bad_fraction):
        return None
    return index if all(store.size(row.name) == row.bytes for row in index.shards) else None


def surveyed(pictures: Pictures, most: int) -> tuple[Summary, int]:
    """Counts over at most `most` of the pictures, evenly spread, and the bytes of their images."""
    some = np.linspace(0, pictures.count - 1, min(most, pictures.count)).round().astype(int).tolist()
    images = [made for i in some if isinstance(made := pictures.make(i), SourceImage)]
    return _total([_summary(image.annotation) for image in images]), sum(len(image.data) for image in images)


@dataclass(frozen=True)
class _Packed:
    row: ShardRow | None
    summary: Summary
    skipped: tuple[Skipped, ...]


def _existing(store: Store) -> Index | None:
    try:
        return read_index(store.url)
    except (MissingKey, ShardError):
        return None


def _pack_shard(store: Store, number: int, chunk: Sequence[int], pictures: Pictures) -> _Packed:
    made = [pictures.make(i) for i in chunk]
    images = [one for one in made if isinstance(one, SourceImage)]
    skipped = tuple(one for one in made if isinstance(one, Skipped))
    summary = _total([_summary(image.annotation) for image in images])
    if not images:
        return _Packed(None, summary, skipped)
    data = write_tar(images)
    name = f"{number:05d}.tar"
    store.put(name, data)
    row = ShardRow(name, len(images), summary.faces, len(data), hashlib.sha256(data).hexdigest())
    return _Packed(row, summary, skipped)


def _summary(annotation: Annotation) -> Summary:
    faces = annotation.boxes[~annotation.ignore]
    short = np.minimum(faces[:, 2] - faces[:, 0], faces[:, 3] - faces[:, 1])
    known = np.isfinite(annotation.landmarks[~annotation.ignore]).all(axis=(1, 2))
    return Summary(
        images=1,
        empty=int(len(annotation.boxes) == 0),
        faces=len(faces),
        sizes=tuple(np.bincount(np.digitize(short, _SIZE_STEPS), minlength=len(SIZES)).tolist()),
        ignored=int(annotation.ignore.sum()),
        without_area=int((area(annotation.boxes) == 0).sum()),
        with_landmarks=int(known.sum()),
    )


def _total(parts: Sequence[Summary]) -> Summary:
    sizes = [sum(part.sizes[i] for part in parts) for i in range(len(SIZES))]
    others = {
        name: sum(getattr(part, name) for part in parts)
        for name in ("images", "empty", "faces", "ignored", "without_area", "with_landmarks")
    }
    return Summary(sizes=tuple(sizes), **others)


def _check_bad(pictures: Pictures, bad: Sequence[Skipped], allowed: float) -> None:
    total = pictures.count + len(pictures.missing)
    if total == 0:
        raise UserError(f"{pictures.kind}: there is not one image to pack")
    if len(bad) == total or len(bad) > allowed * total:
        first = "; ".join(f"{one.name}: {one.reason}" for one in bad[:3])
        raise UserError(
            f"{pictures.kind}: at least {len(bad)} of {total} images cannot be used, "
            f"limits.max_bad_fraction is {allowed:g}: {first}{'; …' if len(bad) > 3 else ''}"
        )


def _inputs(pictures: Pictures, seed: int, images_per_shard: int, max_bad_fraction: float) -> str:
    settings = [FORMAT, pictures.kind, pictures.digest, seed, images_per_shard, max_bad_fraction]
    skipped = [[one.name, one.reason] for one in (*pictures.missing, *pictures.bad_lines)]
    return hashlib.sha256(json.dumps([settings, skipped]).encode()).hexdigest()
