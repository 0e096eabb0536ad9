"""One picture of the worst misses and false alarms, to look at before believing a number."""

from collections.abc import Sequence

import cv2
import numpy as np

from mtcnn.boxes import FloatArray, square
from mtcnn.errors import ImageError
from mtcnn.evaluation.examples import Example
from mtcnn.evaluation.run import Evaluation
from mtcnn.image import Octaves, Pixels, encode_jpeg
from mtcnn.sources.read import read_index, read_shard
from mtcnn.store import open_store

TILE = 180
CAPTION = 34
COLUMNS = 8
CONTEXT = 2.4
SMALLEST_VIEW = 40.0
GAP = 3
DARK = 24

WHITE, GREY = (255, 255, 255), (150, 150, 150)
MISSED, FALSE, LABELLED, IGNORED = (255, 200, 0), (255, 60, 60), (80, 220, 80), (130, 130, 255)


def draw_sheet(evaluation: Evaluation) -> bytes:
    """The worst misses, then the worst false alarms, as one JPEG; the images are read from the source again.

    Yellow: the missed face; red: the false alarm; green: labelled faces; blue: ignore regions. Below each:
    score, largest IoU, size in pixels and the image's name.
    """
    wanted = [*evaluation.misses, *evaluation.alarms]
    tiles = _tiles(
        evaluation.source, wanted, [MISSED] * len(evaluation.misses) + [FALSE] * len(evaluation.alarms)
    )
    count = len(evaluation.misses)
    rows = [
        _title(f"worst misses: {count} of {evaluation.faces} faces, never found and large first"),
        *_grid(tiles[:count]),
        _title(f"worst false alarms at IoU {evaluation.iou:g}: highest scores first"),
        *_grid(tiles[count:]),
    ]
    return encode_jpeg(np.concatenate(rows), 88)


def _tiles(source: str, wanted: Sequence[Example], colours: Sequence[tuple[int, int, int]]) -> list[Pixels]:
    """A tile for each example; every shard is read once, and one shard is held at a time."""
    store, index = open_store(source), read_index(source)
    tiles: dict[int, Pixels] = {}
    for row in index.shards:
        numbers = [n for n, example in enumerate(wanted) if example.shard == row.name]
        images = {image.key: image for image in read_shard(store, row)} if numbers else {}
        for number in numbers:
            image = images[wanted[number].key]
            try:
                rgb = image.decode()
            except ImageError:
                rgb = np.zeros((1, 1, 3), np.uint8)
            truth = image.annotation
            tiles[number] = _tile(
                rgb, wanted[number], colours[number], truth.boxes[~truth.ignore], truth.boxes[truth.ignore]
            )
    return [tiles[number] for number in sorted(tiles)]


def _tile(
    rgb: Pixels, example: Example, colour: tuple[int, int, int], faces: FloatArray, ignored: FloatArray
) -> Pixels:
    box = np.array([example.box], np.float32)
    octaves = Octaves(rgb)
    windows = octaves.snap(_view(box), TILE)
    tile = np.full((TILE + CAPTION, TILE, 3), DARK, np.uint8)
    tile[:TILE] = octaves.cut(windows, TILE)[0]
    view = windows.squares[0]
    for boxes, line in ((ignored, IGNORED), (faces, LABELLED), (box, colour)):
        for x1, y1, x2, y2 in ((boxes - np.tile(view[:2], 2)) * (TILE / (view[2] - view[0]))).clip(
            -999, 9999
        ):
            cv2.rectangle(
                tile[:TILE], (round(x1), round(y1)), (round(x2), round(y2)), line, 2 if line == colour else 1
            )
    side = float(np.sqrt(max((box[0, 2] - box[0, 0]) * (box[0, 3] - box[0, 1]), 0)))
    tile[:, TILE - GAP :] = DARK
    _write(tile, f"score {example.score:.2f} IoU {example.iou:.2f} {side:.0f} px", TILE + 14, WHITE, 0.4)
    _write(tile, example.name[-28:], TILE + 28, GREY, 0.36)
    return tile


def _view(box: FloatArray) -> FloatArray:
    """The square (1, 4) around a box that a tile shows."""
    side = max(float(max(box[0, 2] - box[0, 0], box[0, 3] - box[0, 1])) * CONTEXT, SMALLEST_VIEW)
    centre = (square(box)[:, :2] + square(box)[:, 2:]) / 2
    return np.concatenate([centre - side / 2, centre + side / 2], axis=1).astype(np.float32)


def _grid(tiles: Sequence[Pixels]) -> list[Pixels]:
    """Rows of COLUMNS tiles; the last one is filled up."""
    if not tiles:
        return [_title("none")]
    blank = np.full_like(tiles[0], DARK)
    padded = [*tiles, *[blank] * (-len(tiles) % COLUMNS)]
    return [np.concatenate(padded[i : i + COLUMNS], axis=1) for i in range(0, len(padded), COLUMNS)]


def _title(text: str) -> Pixels:
    band = np.full((34, COLUMNS * TILE, 3), DARK, np.uint8)
    _write(band, text, 23, WHITE, 0.6)
    return band


def _write(image: Pixels, text: str, y: int, colour: tuple[int, int, int], scale: float) -> None:
    cv2.putText(image, text, (6, y), cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
