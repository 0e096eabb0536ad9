"""Pictures of a test source with what was found and what was not, and close-ups of the worst mistakes.

The overlays are SVG over a JPEG: lines stay fine at any size, and every box says its score when pointed at.
"""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from mtcnn.boxes import FloatArray, area
from mtcnn.detector import Detector
from mtcnn.errors import ImageError
from mtcnn.evaluation import Evaluation
from mtcnn.evaluation.average_precision import FALSE_ALARM, Labelled, match
from mtcnn.evaluation.examples import Example
from mtcnn.image import Octaves, Pixels, encode_jpeg
from mtcnn.report.html import jpeg
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.read import read_index, read_shard
from mtcnn.store import open_store

PICTURES = 8
LONGEST = 640
"""Longer side in pixels of a picture on the page."""
ROW = 230
"""Height in pixels of a row of pictures on a desk."""
TILE = 144
CONTEXT = 2.2
SMALLEST_VIEW = 40.0
QUALITY = 80


def operating_score(evaluation: Evaluation) -> float:
    """The score at which precision and recall balance best (highest F1); 0.5 where nothing was found."""
    curve = evaluation.curve
    both = curve.precision + curve.recall
    f1 = np.divide(2 * curve.precision * curve.recall, both, out=np.zeros_like(both), where=both > 0)
    return float(curve.scores[np.argmax(f1)]) if f1.any() else 0.5


def pictures(evaluation: Evaluation, detector: Detector, score: float) -> str:
    """The first images with faces of the source, with detections from `score` up, misses and false alarms."""
    figures = []
    for image in _first_with_faces(evaluation.source, PICTURES):
        try:
            octaves = Octaves(image.decode())
        except ImageError:
            continue
        faces = detector.detect(octaves.levels[0])
        keep = faces.scores >= score
        truth = image.annotation
        labelled = Labelled(faces.boxes[keep], faces.scores[keep], truth.boxes, truth.ignore)
        small, (step_x, step_y) = octaves.level(min(1.0, LONGEST / max(octaves.width, octaves.height)))
        frame = (0.0, 0.0, small.shape[1] * step_x, small.shape[0] * step_y)
        marks = _fates(labelled, evaluation.iou) + _circles(faces.landmarks[keep], labelled.boxes)
        shot = _shot(small, frame, marks)
        # Rows of one height: the basis and the growth of each are its proportions.
        ratio = octaves.width / octaves.height
        caption = f"<figcaption>{escape(truth.name or image.key)}</figcaption>"
        figures.append(f'<figure style="flex:{ratio:.3f} 1 {ROW * ratio:.0f}px">{shot}{caption}</figure>')
    return f'<div class="pictures">{"".join(figures)}</div>' if figures else ""


def close_ups(source: str, examples: Sequence[Example], kind: str) -> str:
    """A tile for each example, in their order; `kind` is the CSS class of its box: missed or false."""
    tiles: dict[int, str] = {}
    store = open_store(source)
    for row in read_index(source).shards:
        numbers = [n for n, example in enumerate(examples) if example.shard == row.name]
        images = {image.key: image for image in read_shard(store, row)} if numbers else {}
        for number in numbers:
            tiles[number] = _close_up(images[examples[number].key], examples[number], kind)
    return f'<div class="tiles">{"".join(tiles[n] for n in sorted(tiles))}</div>' if tiles else ""


def _first_with_faces(source: str, most: int) -> Iterator[SourceImage]:
    """Images with a labelled face; sources are shuffled when packed, so the first are a fair sample."""
    store = open_store(source)
    for row in read_index(source).shards:
        for image in read_shard(store, row) if row.faces else ():
            if (~image.annotation.ignore).any():
                yield image
                most -= 1
                if most == 0:
                    return


def _close_up(image: SourceImage, example: Example, kind: str) -> str:
    try:
        octaves = Octaves(image.decode())
    except ImageError:
        return ""
    box = np.array([example.box], np.float32)
    x1, y1, x2, y2 = example.box
    side = max(max(x2 - x1, y2 - y1) * CONTEXT, SMALLEST_VIEW)
    corner = np.array([(x1 + x2 - side) / 2, (y1 + y2 - side) / 2])
    windows = octaves.snap(np.concatenate([corner, corner + side])[None].astype(np.float32), TILE)
    view = windows.squares[0].tolist()
    truth = image.annotation
    others = ~(truth.boxes == box).all(axis=1)
    marks = _rects(truth.boxes[truth.ignore & others], "ignored")
    marks += _rects(truth.boxes[~truth.ignore & others], "found")
    shot = _shot(
        octaves.cut(windows, TILE)[0], (view[0], view[1], view[2], view[3]), marks + _rects(box, kind)
    )
    size = float(np.sqrt(area(box)[0]))
    score = f"<b>{example.score:.2f}</b>" if example.score > 0 else "<b>no box</b>"
    name = escape(example.name.rpartition("/")[2])
    caption = f"{score} · {size:.0f} px<br>best IoU {example.iou:.2f}<br>{name}"
    return f"<figure>{shot}<figcaption>{caption}</figcaption></figure>"


def _fates(labelled: Labelled, iou: float) -> str:
    fate = match(labelled, iou)
    hit = np.zeros(len(labelled.truth), bool)
    hit[fate[fate >= 0]] = True
    marks = _rects(labelled.truth[labelled.ignore], "ignored")
    marks += _rects(labelled.truth[~hit & ~labelled.ignore], "missed")
    for kind, chosen in (("found", fate >= 0), ("false", fate == FALSE_ALARM)):
        marks += _rects(labelled.boxes[chosen], kind, labelled.scores[chosen])
    return marks


def _rects(boxes: FloatArray, kind: str, scores: FloatArray | None = None) -> str:
    parts = []
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist()):
        title = f"<title>{scores[number]:.2f}</title>" if scores is not None else ""
        place = f'x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}"'
        parts.append(f'<rect class="{kind}" {place}>{title}</rect>')
    return "".join(parts)


def _circles(points: FloatArray, boxes: FloatArray) -> str:
    parts = []
    for five, side in zip(points, np.sqrt(area(boxes)), strict=True):
        for x, y in five[np.isfinite(five).all(axis=1)].tolist():
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{max(side / 45, 0.8):.1f}"/>')
    return "".join(parts)


def _shot(picture: Pixels, view: tuple[float, float, float, float], marks: str) -> str:
    """A picture that shows `view` (x1 y1 x2 y2 in the pixels that `marks` are in)."""
    x1, y1, x2, y2 = view
    width, height = x2 - x1, y2 - y1
    source = escape(jpeg(encode_jpeg(picture, QUALITY)))
    return (
        f'<svg class="shot" viewBox="{x1:g} {y1:g} {width:g} {height:g}">'
        f'<image href="{source}" x="{x1:g}" y="{y1:g}" width="{width:g}" height="{height:g}" '
        f'preserveAspectRatio="none"/>{marks}</svg>'
    )
