"""Run a detector over a source: images are decoded ahead in threads; detections stay, pixels do not."""

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np

from mtcnn.ahead import ahead
from mtcnn.boxes import FloatArray
from mtcnn.errors import ImageError
from mtcnn.evaluation.average_precision import Labelled
from mtcnn.evaluation.cascade import CascadeMeter, CascadeTable, FacesLike, Tracer
from mtcnn.image import Pixels, resize_to_width
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.read import Index, read_index, read_shard
from mtcnn.store import open_store

log = logging.getLogger(__name__)

BATCH = 8
"""Images given to `detect_batch` at once."""
THREADS = 2
AHEAD = 4

Item = TypeVar("Item")


@dataclass(frozen=True)
class ImageResult:
    """What a detector found in one image of a source, and what is labelled there; float32 pixels."""

    shard: str
    key: str
    name: str
    """The image's path in the data set that it came from."""
    labelled: Labelled
    points: FloatArray
    """(D, 5, 2) found, NaN where the detector gives none."""
    labelled_points: FloatArray
    """(F, 5, 2) labelled, NaN where unknown."""


@dataclass(frozen=True)
class SourceResult:
    """What a detector found in a source."""

    url: str
    digest: str
    images: tuple[ImageResult, ...]
    skipped: tuple[str, ...]
    """`name: reason` of images that could not be decoded; they are in none of the other fields."""
    cascade: CascadeTable | None
    seconds: float


@dataclass(frozen=True)
class _Decoded:
    shard: str
    image: SourceImage
    pixels: Pixels | ImageError


def detect_source(
    detector: Tracer,
    source_url: str,
    *,
    limit: int | None = None,
    width: int | None = None,
    cascade: bool = False,
    done: Callable[[int], object] | None = None,
) -> SourceResult:
    """Detect on the first `limit` images of a source (None: all); `cascade` counts and times every stage.

    With `width` every image is brought to that many pixels first; boxes and points are those of the image as it is,
    stages and times those of the image as it was looked at. `done` is called with the number of images since its
    last call. An image that cannot be decoded is skipped and named. Raises StoreError or ShardError for a source
    that cannot be read.
    """
    index = read_index(source_url)
    total = index.images if limit is None else min(index.images, limit)
    meter = CascadeMeter() if cascade else None
    results: list[ImageResult] = []
    skipped: list[str] = []
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        for batch in _batches(_decoded(pool, source_url, index, total, width), 1 if cascade else BATCH):
            readable = [d for d in batch if not isinstance(d.pixels, ImageError)]
            skipped += [
                f"{d.image.annotation.name}: {d.pixels}" for d in batch if isinstance(d.pixels, ImageError)
            ]
            results += _detect(detector, readable, meter)
            if done is not None:
                done(len(batch))
    for line in skipped:
        log.warning("skipped %s", line)
    table = meter.table() if meter else None
    return SourceResult(
        source_url, index.digest, tuple(results), tuple(skipped), table, time.perf_counter() - start
    )


def _decoded(
    pool: ThreadPoolExecutor, source_url: str, index: Index, total: int, width: int | None
) -> Iterator[_Decoded]:
    """The first `total` images of a source in its order, decoded and brought to `width` a few ahead."""
    store = open_store(source_url)
    before = [0, *itertools.accumulate(row.images for row in index.shards)]
    rows = [row for row, images in zip(index.shards, before, strict=False) if images < total]

    def read(number: int) -> list[tuple[str, SourceImage]]:
        return [(rows[number].name, image) for image in read_shard(store, rows[number])]

    shards = ahead(pool, read, range(len(rows)), 1)
    images = itertools.islice(itertools.chain.from_iterable(shards), total)
    yield from ahead(pool, partial(_decode, width), images, AHEAD)


def _decode(width: int | None, entry: tuple[str, SourceImage]) -> _Decoded:
    shard, image = entry
    try:
        rgb = image.decode()
        return _Decoded(shard, image, resize_to_width(rgb, width) if width else rgb)
    except ImageError as error:
        return _Decoded(shard, image, error)


def _batches(items: Iterator[Item], size: int) -> Iterator[list[Item]]:
    while batch := list(itertools.islice(items, size)):
        yield batch


def _detect(detector: Tracer, batch: list[_Decoded], meter: CascadeMeter | None) -> Iterator[ImageResult]:
    pixels = [d.pixels for d in batch if not isinstance(d.pixels, ImageError)]
    if meter is None:
        for decoded, rgb, faces in zip(
            batch, pixels, detector.detect_batch(pixels) if pixels else [], strict=True
        ):
            yield _result(decoded, rgb, faces)
        return
    for decoded, rgb in zip(batch, pixels, strict=True):
        stages = detector.trace(rgb)
        truth = decoded.image.annotation
        meter.add(stages, detector.timings, truth.boxes / _steps(decoded, rgb), truth.ignore)
        yield _result(decoded, rgb, list(stages.values())[-1])


def _steps(decoded: _Decoded, rgb: Pixels) -> FloatArray:
    """Pixels (x, y, x, y) of the image as it is to a pixel of `rgb`, which may be another size of it."""
    truth = decoded.image.annotation
    return np.array([truth.width / rgb.shape[1], truth.height / rgb.shape[0]] * 2, np.float32)


def _result(decoded: _Decoded, rgb: Pixels, faces: FacesLike) -> ImageResult:
    image, truth, steps = decoded.image, decoded.image.annotation, _steps(decoded, rgb)
    labelled = Labelled(faces.boxes * steps, faces.scores, truth.boxes, truth.ignore)
    return ImageResult(
        decoded.shard,
        image.key,
        image.annotation.name,
        labelled,
        faces.landmarks * steps[:2],
        truth.landmarks,
    )
