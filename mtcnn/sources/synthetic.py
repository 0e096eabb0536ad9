"""The embedded data set: drawn scenes with exact boxes and points of faces, made without a download.

Synthetic and nothing else: nets trained on it know cartoons. It serves newcomers, tests and debuggers.
"""

import math
from dataclasses import dataclass, replace

import cv2
import numpy as np

from mtcnn.boxes import FloatArray, clip, coverage, iou
from mtcnn.image import encode_jpeg
from mtcnn.sources.annotation import Annotation, BoolArray, SourceImage
from mtcnn.sources.synthetic_background import background
from mtcnn.sources.synthetic_brush import Image, Layer, Points, window_around
from mtcnn.sources.synthetic_camera import take_picture
from mtcnn.sources.synthetic_face import centres, draw_head, reach
from mtcnn.sources.synthetic_head import Head, landmarks
from mtcnn.sources.synthetic_look import Look, random_look
from mtcnn.sources.synthetic_things import draw_look_alike, draw_occluder, random_head

MIN_FACE, MAX_FACE = 12.0, 200.0
"""Longer side of a face's box in pixels."""

_EMPTY_SHARE = 0.15
_FACE_COUNT_SHARES = (0.13, 0.16, 0.16, 0.15, 0.13, 0.11, 0.09, 0.07)
_OCCLUDED_SHARE = 0.18
_CUT_SHARE = 0.2
_MAX_CUT = 0.2
_MAX_IOU = 0.2
_MAX_COVERED = 0.3
_MIN_VISIBLE = 0.5
_MIN_LOOK_ALIKE = 24.0
_PLACING_TRIES = 40
# A face fewer than this many blur sigmas across is a smudge that nobody would label.
_MIN_SIGMAS = 9.0
_JPEG_QUALITY = 90
_SHORTEST_SIDE, _LONGEST_SIDE = 240, 420


@dataclass(frozen=True, eq=False)
class Scene:
    """A drawn picture and what is in it."""

    image: Image
    """uint8 (H, W, 3) RGB."""
    boxes: FloatArray
    """(F, 4) x1 y1 x2 y2, hairline to chin and cheek to cheek, cut to the picture."""
    ignore: BoolArray
    """(F,): too hidden or too blurred to be asked for."""
    landmarks: FloatArray
    """(F, 5, 2) eyes, tip of the nose, corners of the mouth; known where hidden too."""


def synthetic_image(seed: int, index: int) -> SourceImage:
    """Picture `index` of data set `seed`: a JPEG of 240 to 420 pixels a side, the same on every worker."""
    rng = np.random.default_rng((seed, index))
    width, height = rng.integers(_SHORTEST_SIDE, _LONGEST_SIDE + 1, 2).tolist()
    drawn = scene(rng, width, height)
    key = f"synthetic-{index:06d}"
    annotation = Annotation(width, height, drawn.boxes, drawn.ignore, drawn.landmarks, name=f"{key}.jpg")
    return SourceImage(key, encode_jpeg(drawn.image, _JPEG_QUALITY), annotation)


def scene(rng: np.random.Generator, width: int, height: int) -> Scene:
    """Draw a scene of `width` x `height` pixels (at least 64 each) with 0 to 8 faces and some look-alikes."""
    if min(width, height) < 64:
        raise ValueError(f"a scene needs 64 pixels a side, not {width}x{height}")
    image = background(rng, width, height)
    light = rng.normal((0, -0.35, 1), (0.6, 0.4, 0.3))
    light[2] = max(light[2], 0.3)
    light /= np.linalg.norm(light)
    lighting = light, rng.uniform(0.35, 0.85)
    blur = rng.uniform(0.3, 1.4) if rng.random() < 0.35 else 0.0

    heads = _place_faces(rng, width, height)
    for head in _place_look_alikes(rng, width, height, heads):
        layer = _layer(head, width, height)
        draw_look_alike(rng, layer, head)
        layer.paste(image, head.light(layer.window, *lighting), _own_blur(rng, head))

    looks = [random_look(rng) for _ in heads]
    owner = np.zeros((height, width), np.uint8)
    sigmas = []
    for number, (head, look) in enumerate(zip(heads, looks, strict=True), start=1):
        sigma = _own_blur(rng, head)
        _draw_face(rng, image, owner, number, head, look, lighting, sigma)
        sigmas.append(math.hypot(sigma, blur))

    boxes = np.array([head.box for head in heads], np.float32).reshape(-1, 4)
    side = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    visible = np.array([_visible(owner, number, head) for number, head in enumerate(heads, start=1)])
    points = [
        landmarks(h, centres(look), look.mouth_width, look.smile)
        for h, look in zip(heads, looks, strict=True)
    ]
    return Scene(
        image=take_picture(rng, image, blur),
        boxes=clip(boxes, width, height),
        ignore=np.asarray((visible < _MIN_VISIBLE) | (side < _MIN_SIGMAS * np.array(sigmas)), bool),
        landmarks=np.array(points, np.float32).reshape(-1, 5, 2),
    )


def _layer(head: Head, width: int, height: int) -> Layer:
    window = window_around(reach(head), width, height)
    if window is None:
        raise ValueError("a head outside its scene")
    # Small faces are drawn large and averaged down, so that every size shows the same structure.
    return Layer(window, zoom=math.ceil(60 / head.size))


def _own_blur(rng: np.random.Generator, head: Head) -> float:
    """Out of focus or soft skin, in pixels: a share of the face's size, seldom a large one."""
    return head.size * (rng.uniform(0.02, 0.06) if rng.random() < 0.12 else rng.uniform(0.005, 0.015))


def _draw_face(
    rng: np.random.Generator,
    image: Image,
    owner: Image,
    number: int,
    head: Head,
    look: Look,
    lighting: tuple[Points, float],
    blur: float,
) -> None:
    """Draw a face, sometimes with something in front of it, and mark its pixels with `number` in `owner`."""
    height, width = owner.shape
    layer = _layer(head, width, height)
    draw_head(layer, head, look, centres(look))
    shading = head.light(layer.window, *lighting)
    _mark_nobody(owner, layer, layer.paste(image, shading, blur))
    # Fringe and glasses belong to the face: only what is in front of the person hides it.
    cv2.fillPoly(owner, [np.rint(head.outline - 0.5).astype(np.int32)], number)
    if rng.random() < _OCCLUDED_SHARE:
        layer = _layer(head, width, height)
        draw_occluder(rng, layer, head)
        _mark_nobody(owner, layer, layer.paste(image, shading, blur))


def _mark_nobody(owner: Image, layer: Layer, covered: Image) -> None:
    x1, y1, x2, y2 = layer.window
    owner[y1:y2, x1:x2][covered >= 128] = 0


def _visible(owner: Image, number: int, head: Head) -> float:
    """Share of the face inside the picture and not hidden, 0..1."""
    outline = head.outline.astype(np.float32)
    return float(np.count_nonzero(owner == number) / cv2.contourArea(outline))


def _place_faces(rng: np.random.Generator, width: int, height: int) -> list[Head]:
    """Heads, the ones farther back first, that leave enough of each other visible."""
    if rng.random() < _EMPTY_SHARE:
        return []
    count = 1 + int(rng.choice(len(_FACE_COUNT_SHARES), p=_FACE_COUNT_SHARES))
    sides = sorted((_random_side(rng, MIN_FACE, width, height) for _ in range(count)), reverse=True)
    heads: list[Head] = []
    for side in sides:
        overhang = _MAX_CUT if rng.random() < _CUT_SHARE else 0.0
        head = _place(rng, random_head(rng, side), overhang, (width, height), heads)
        if head is not None:
            heads.append(head)
    return heads[::-1]


def _place_look_alikes(rng: np.random.Generator, width: int, height: int, faces: list[Head]) -> list[Head]:
    """Where look-alikes are drawn: large enough to be told from a face, up to half of each cut off."""
    heads = []
    for _ in range(rng.integers(0, 5) if faces else rng.integers(2, 7)):
        side = _random_side(rng, _MIN_LOOK_ALIKE, width, height)
        head = _place(rng, random_head(rng, side), 0.5, (width, height), faces)
        if head is not None:
            heads.append(head)
    return heads


def _random_side(rng: np.random.Generator, smallest: float, width: int, height: int) -> float:
    largest = min(MAX_FACE, 0.8 * min(width, height))
    return math.exp(rng.uniform(math.log(smallest), math.log(largest)))


def _place(
    rng: np.random.Generator, head: Head, overhang: float, extent: tuple[int, int], in_front: list[Head]
) -> Head | None:
    """`head` moved to where the people `in_front` leave it visible; None when no try fits.

    At most the share `overhang` of its box's longer side is beyond the border of the scene's `extent`.
    """
    box = head.box
    side = float((box[2:] - box[:2]).max())
    margin = side * (0.5 - overhang)
    middles = rng.uniform(margin, np.array(extent) - margin, (_PLACING_TRIES, 2))
    fits = np.ones(_PLACING_TRIES, bool)
    if in_front:
        tried = box + np.tile(middles, 2).astype(np.float32)
        hidden = coverage(tried, np.stack([_person(other) for other in in_front])).sum(axis=1)
        overlap = iou(tried, np.stack([other.box for other in in_front])).max(axis=1)
        fits = (hidden < _MAX_COVERED) & (overlap < _MAX_IOU)
    if not fits.any():
        return None
    x, y = middles[np.argmax(fits)].tolist()
    return replace(head, x=head.x + x, y=head.y + y)


def _person(head: Head) -> FloatArray:
    """Box (4,) of what a person covers: hair, face, neck and shoulders."""
    corners = head.flat(np.array([[-1.0, -1.3], [1.0, -1.3], [1.5, 2.3], [-1.5, 2.3]]))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)]).astype(np.float32)
