"""One unit of images → crops by class. Pure and seeded: the same unit and nets give the same bytes anywhere."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mtcnn import boxes as bx
from mtcnn.boxes import FloatArray, IntArray
from mtcnn.config import Mining
from mtcnn.detector import Detector, Faces
from mtcnn.errors import ImageError
from mtcnn.image import Octaves, Pixels
from mtcnn.mining import squares as sq
from mtcnn.mining.labels import choose, choose_negatives, label
from mtcnn.shards import CLASSES, Crops
from mtcnn.sources.annotation import Annotation, SourceImage

PROPOSED_SHARE = 0.8
"""Share of an image's negatives that are proposals of the nets so far; the others are random."""
NEAR_SHARE = 0.5
"""Share of P-Net's negatives that touch a face."""
LANDMARK_IOU = 0.65
SMALLEST = 1 / 3
"""Scale down to which an image is shrunk (`Mining.shrunk`)."""
HIT_IOU = 0.5
NEGATIVE, LANDMARK = CLASSES.index("neg"), CLASSES.index("landmark")
NO_POINTS = np.zeros((0, 5, 2), np.float32)
NO_PROPOSALS = Faces(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), NO_POINTS)


@dataclass(frozen=True)
class Recipe:
    """What is to be mined: a stage's crops of one source."""

    size: int
    """Side of a crop in pixels."""
    options: Mining
    classes: frozenset[str]
    """Classes of crops wanted."""


@dataclass(frozen=True)
class UnitCrops:
    """What one unit of images gave."""

    crops: dict[str, Crops]
    stats: dict[str, int]
    """images, faces (large enough, not ignored), proposals, hit: faces with a proposal at IoU >= 0.5."""
    bad: list[tuple[str, str]]
    """Images left out, each with the reason."""


def generator(seed: int, stage: str, unit: str) -> np.random.Generator:
    """The random generator of one unit of one stage."""
    digest = hashlib.sha256(f"{seed}/{stage}/{unit}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


@dataclass(frozen=True)
class _Part:
    """Crops of one image, of any classes: what takes time an image is kept small, and the rest is done by unit."""

    image: int
    """Index of the image in its unit."""
    kinds: IntArray
    """Class of each (N,), index in CLASSES."""
    pixels: Pixels
    """(N, S, S, 3)."""
    squares: FloatArray
    """Where they were cut (N, 4)."""
    framed: FloatArray
    """The boxes (N, 4) that their box targets point at; the square itself where there is none."""
    points: FloatArray
    """Points (L, 5, 2) of the faces in landmark crops; L is 0 in a part of other classes."""


def mine_unit(
    images: Sequence[SourceImage], recipe: Recipe, proposer: Detector | None, rng: np.random.Generator
) -> UnitCrops:
    """Crops of `images`: from random squares and, with a `proposer` (the nets so far), from its proposals."""
    parts: list[_Part] = []
    stats = dict.fromkeys(("images", "faces", "proposals", "hit"), 0)
    bad = []
    for index, image in enumerate(images):
        try:
            octaves = Octaves(image.decode())
        except ImageError as error:
            bad.append((image.key, str(error)))
            continue
        annotation = image.annotation
        if recipe.options.shrunk and rng.random() < recipe.options.shrunk:
            octaves, annotation = _shrink(octaves, annotation, SMALLEST ** rng.random())
        cut, counts = _mine_image(octaves, annotation, index, recipe, proposer, rng)
        parts += cut
        stats["images"] += 1
        for name, count in counts.items():
            stats[name] += count
    return UnitCrops(_by_class(parts, rng), stats, bad)


def _shrink(octaves: Octaves, annotation: Annotation, scale: float) -> tuple[Octaves, Annotation]:
    """An image at a smaller `scale`, with its faces."""
    pixels, steps = octaves.level(scale)
    height, width = pixels.shape[:2]
    step = np.array(steps, np.float32)
    boxes: FloatArray = (annotation.boxes / np.tile(step, 2)).astype(np.float32)
    landmarks: FloatArray = (annotation.landmarks / step).astype(np.float32)
    return Octaves(pixels), replace(annotation, width=width, height=height, boxes=boxes, landmarks=landmarks)


def _mine_image(
    octaves: Octaves,
    annotation: Annotation,
    index: int,
    recipe: Recipe,
    proposer: Detector | None,
    rng: np.random.Generator,
) -> tuple[list[_Part], dict[str, int]]:
    """The crops of one image, and its counts of faces, proposals and hits."""
    options = recipe.options
    counts = ~annotation.ignore & (_longer_side(annotation.boxes) >= options.min_face)
    faces, ignored, points = annotation.boxes[counts], annotation.boxes[~counts], annotation.landmarks[counts]

    proposals = proposer.propose(octaves) if proposer else NO_PROPOSALS
    proposed = proposals.boxes
    drawn = [
        sq.anywhere(rng, options.random_squares, octaves.width, octaves.height, options.min_face),
        sq.near(rng, faces, options.near_squares, options.min_face),
        sq.around(rng, faces, options.jittered_squares),
    ]
    squares = np.concatenate([proposed, *drawn])
    scores = np.full(len(squares), np.nan, np.float32)
    scores[: len(proposed)] = proposals.scores

    windows = octaves.snap(squares, recipe.size)
    exact = windows.squares
    labels = label(exact, scores, faces, ignored, options)
    preferred, share = (np.isfinite(scores), PROPOSED_SHARE) if proposer else (labels.iou > 0, NEAR_SHARE)
    most = options.crops_per_face * len(faces)
    chosen = {
        "pos": choose(rng, labels.pos, most),
        "part": choose(rng, labels.part, most),
        "neg": choose_negatives(rng, labels.neg, preferred, share, options.negatives_per_image),
    }
    wanted = [name for name in chosen if name in recipe.classes]
    parts = []
    if wanted:
        rows = np.concatenate([chosen[name] for name in wanted])
        kinds = np.repeat([CLASSES.index(name) for name in wanted], [len(chosen[name]) for name in wanted])
        framed = exact[rows]
        near_face = kinds != NEGATIVE
        framed[near_face] = faces[labels.face[rows[near_face]]]
        pixels = octaves.cut(windows[rows], recipe.size)
        parts.append(_Part(index, kinds, pixels, exact[rows], framed, NO_POINTS))
    overlap = bx.iou(faces, proposed) if len(proposed) else np.zeros((len(faces), 0), np.float32)
    known = np.isfinite(points).all(axis=(1, 2))
    if "landmark" in recipe.classes and known.any():
        frames = _frames(faces[known], proposed, overlap[known])
        parts.append(_landmark_crops(octaves, frames, points[known], index, recipe, rng))
    hit = (overlap >= HIT_IOU).any(axis=1).sum()
    return parts, {"faces": len(faces), "proposals": len(proposed), "hit": int(hit)}


def _frames(faces: FloatArray, proposed: FloatArray, overlap: FloatArray) -> FloatArray:
    """Where faces (F, 4) are looked for points: the proposal that found each, by their IoU (F, P), or else its box.

    Data sets frame faces differently; a net has to place points in crops framed as the nets before it frame them.
    """
    found = overlap.max(axis=1, initial=0) >= HIT_IOU
    frames = faces.copy()
    if found.any():
        frames[found] = proposed[overlap.argmax(axis=1)[found]]
    return frames


def _landmark_crops(
    octaves: Octaves,
    frames: FloatArray,
    points: FloatArray,
    index: int,
    recipe: Recipe,
    rng: np.random.Generator,
) -> _Part:
    """Crops around `frames` (F, 4) of faces whose `points` (F, 5, 2) are known."""
    tried = sq.around(rng, frames, recipe.options.landmark_squares)
    face = np.repeat(np.arange(len(frames)), recipe.options.landmark_squares)
    windows = octaves.snap(tried, recipe.size)
    exact = windows.squares
    good = np.flatnonzero(bx.paired_iou(exact, frames[face]) >= LANDMARK_IOU)
    pixels = octaves.cut(windows[good], recipe.size)
    kinds = np.full(len(good), LANDMARK)
    return _Part(index, kinds, pixels, exact[good], exact[good], points[face[good]])


def _by_class(parts: list[_Part], rng: np.random.Generator) -> dict[str, Crops]:
    """The crops of all images by class, without the classes that have none.

    Permuted across images, so that a reader finds variety in every record.
    """
    if not parts:
        return {}
    kinds, pixels, squares, framed, points = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("kinds", "pixels", "squares", "framed", "points")
    )
    image = np.repeat([part.image for part in parts], [len(part.kinds) for part in parts])
    side = squares[:, 2] - squares[:, 0]
    origin = np.stack([image, squares[:, 0], squares[:, 1], side], axis=1).astype(np.int32)
    boxes = bx.encode(framed, squares)
    landmarks = np.zeros((len(kinds), 10), np.float32)
    with_points = kinds == LANDMARK
    landmarks[with_points] = bx.encode_points(points, squares[with_points])
    found = {}
    for name in sorted(CLASSES):
        rows = np.flatnonzero(kinds == CLASSES.index(name))
        if len(rows):
            rows = rows[rng.permutation(len(rows))]
            found[name] = Crops(pixels[rows], boxes[rows], landmarks[rows], origin[rows])
    return found


def _longer_side(boxes: FloatArray) -> FloatArray:
    return (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0)
