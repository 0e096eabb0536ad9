"""What is not a face: look-alikes that a detector must refuse, and things that hide part of a face."""

import dataclasses
from collections.abc import Callable

import numpy as np

from mtcnn.sources.synthetic_brush import Layer, Points, ellipse, points, random_colour, shade
from mtcnn.sources.synthetic_face import centres, draw_back_of_head, draw_head
from mtcnn.sources.synthetic_head import Centres, Head
from mtcnn.sources.synthetic_look import Look, random_hair, random_look, random_skin


def random_head(rng: np.random.Generator, side: float) -> Head:
    """A head in some pose whose box has `side` pixels on its longer side and its middle at (0, 0)."""
    roll = float(np.clip(rng.normal(0, 0.17), -0.43, 0.43))
    yaw, pitch, width, jaw = rng.uniform((-0.45, -0.2, 0.7, 0.1), (0.45, 0.2, 0.82, 0.3)).tolist()
    head = Head(0.0, 0.0, 1.0, roll, yaw, pitch, width, jaw)
    x1, y1, x2, y2 = head.box.tolist()
    size = side / max(x2 - x1, y2 - y1)
    # A narrow chin makes a tilted outline lopsided around the head's own centre.
    return dataclasses.replace(head, x=-size * (x1 + x2) / 2, y=-size * (y1 + y2) / 2, size=size)


def _scrambled(rng: np.random.Generator, look: Look) -> Centres:
    """The features of a face at each other's places, never both eyes on a level above a mouth."""
    proper = centres(look)
    left, right, nose, mouth = proper.left_eye, proper.right_eye, proper.nose, proper.mouth
    arrangements = (
        (left, mouth, right, nose),
        (mouth, right, left, nose),
        (nose, mouth, left, right),
        (mouth, nose, right, left),
        (left, nose, mouth, right),
        (nose, right, mouth, left),
    )
    chosen = arrangements[rng.integers(len(arrangements))]
    return Centres(*(place + rng.normal(0, 0.06, 2) for place in chosen))


def _blank_head(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    draw_head(layer, head, random_look(rng), None)


def _scrambled_head(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    look = dataclasses.replace(random_look(rng), glasses="none", beard="none")
    draw_head(layer, head, look, _scrambled(rng, look))


def _head_from_behind(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    draw_back_of_head(layer, head, random_look(rng))


def _blob(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """An ellipse in the colour of skin, with a few spots that are not a face."""
    skin = random_skin(rng)
    layer.fill(head.outline, skin)
    for x, y, rx, ry in rng.uniform(
        (-0.5, -0.7, 0.05, 0.05), (0.5, 0.7, 0.3, 0.2), (rng.integers(0, 4), 4)
    ).tolist():
        layer.fill(head.flat(ellipse(x, y, rx, ry)), shade(skin, 0.6))


def _single_eye(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """One eye as large as a face, on skin."""
    layer.fill(head.flat(ellipse(0, 0, 1.1, 0.9)), random_skin(rng))
    layer.fill(head.flat(ellipse(0, 0, 0.9, 0.4)), (236, 232, 228))
    layer.fill(head.flat(ellipse(0, 0, 0.38, 0.38)), random_colour(rng))
    layer.fill(head.flat(ellipse(0, 0, 0.18, 0.18)), (12, 10, 10))
    layer.stroke(head.flat(ellipse(0, 0, 0.9, 0.4)), 0.05 * head.size, (40, 25, 20), closed=True)


def _clock(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    rim, dial = random_colour(rng), (235, 232, 225) if rng.random() < 0.6 else random_skin(rng)
    layer.fill(head.flat(ellipse(0, 0, 1, 1, count=32)), rim)
    layer.fill(head.flat(ellipse(0, 0, 0.88, 0.88, count=32)), dial)
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False).tolist():
        direction = np.array([np.cos(angle), np.sin(angle)])
        layer.stroke(head.flat(np.stack([direction * 0.7, direction * 0.82])), 0.06 * head.size, (30, 30, 30))
    for angle, length in zip(rng.uniform(0, 2 * np.pi, 2).tolist(), (0.45, 0.7), strict=True):
        end = np.array([np.cos(angle), np.sin(angle)]) * length
        layer.stroke(head.flat(np.stack([end * -0.1, end])), 0.07 * head.size, (25, 25, 25))


def _button(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """A round button with two or four holes."""
    colour = random_colour(rng) if rng.random() < 0.5 else random_skin(rng)
    layer.fill(head.flat(ellipse(0, 0, 1, 1, count=32)), shade(colour, 0.8))
    layer.fill(head.flat(ellipse(0, 0, 0.78, 0.78, count=32)), colour)
    holes = [(-0.26, -0.26), (0.26, 0.26), (-0.26, 0.26), (0.26, -0.26)][: 2 * int(rng.integers(1, 3))]
    for x, y in holes:
        layer.fill(head.flat(ellipse(x, y, 0.13, 0.13, count=12)), shade(colour, 0.25))


def _wheel(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    hub = random_colour(rng)
    layer.fill(head.flat(ellipse(0, 0, 1, 1, count=32)), (28, 28, 30))
    layer.fill(head.flat(ellipse(0, 0, 0.68, 0.68, count=32)), hub)
    spokes = int(rng.integers(4, 9))
    for angle in np.linspace(0, 2 * np.pi, spokes, endpoint=False).tolist():
        hole = ellipse(0.42 * np.cos(angle), 0.42 * np.sin(angle), 0.16, 0.1, angle, count=12)
        layer.fill(head.flat(hole), shade(hub, 0.35))
    layer.fill(head.flat(ellipse(0, 0, 0.14, 0.14, count=12)), shade(hub, 1.3))


def _checker(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    first, second = random_colour(rng), random_colour(rng)
    count = int(rng.integers(3, 8))
    edges = np.linspace(-0.9, 0.9, count + 1)
    for row in range(count):
        for column in range(count):
            x1, x2, y1, y2 = edges[column], edges[column + 1], edges[row], edges[row + 1]
            square = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])
            layer.fill(head.flat(square), first if (row + column) % 2 else second)


def _boxes(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """A panel with rows of dark rectangles: windows, a cassette, a shelf."""
    colour = random_colour(rng) if rng.random() < 0.6 else random_skin(rng)
    layer.fill(head.flat(np.array([[-0.85, -1], [0.85, -1], [0.85, 1], [-0.85, 1]])), colour)
    rows, columns = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    for y in np.linspace(-0.9, 0.9, rows + 1)[:-1].tolist():
        for x in np.linspace(-0.75, 0.75, columns + 1)[:-1].tolist():
            w, h = 1.5 / columns * 0.75, 1.8 / rows * 0.7
            pane = np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]) + 0.06
            layer.fill(head.flat(pane), shade(colour, float(rng.uniform(0.2, 0.7))))


def _hand_outline() -> Points:
    """Palm and fingers as one outline (N, 2) around the origin, fingers up, about one unit wide."""
    edge = [[-0.45, 0.9], [-0.5, 0.1]]
    for x in np.linspace(-0.42, 0.42, 4).tolist():
        tip = -0.75 + 0.5 * abs(x + 0.05)
        edge += [[x - 0.1, 0.0], [x - 0.09, tip], [x, tip - 0.08], [x + 0.09, tip], [x + 0.1, 0.0]]
    return np.array([*edge, [0.5, 0.1], [0.75, -0.1], [0.8, 0.05], [0.45, 0.6], [0.4, 0.9]])


_HAND = _hand_outline()


def _hand(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    skin = random_skin(rng)
    shape = head.flat(_HAND)
    layer.fill(shape, skin)
    layer.stroke(shape, 0.03 * head.size, shade(skin, 0.7), closed=True)


_LOOK_ALIKES: tuple[tuple[Callable[[np.random.Generator, Layer, Head], None], float], ...] = (
    (_blank_head, 0.16),
    (_scrambled_head, 0.15),
    (_head_from_behind, 0.1),
    (_blob, 0.12),
    (_single_eye, 0.07),
    (_clock, 0.07),
    (_button, 0.07),
    (_wheel, 0.06),
    (_checker, 0.03),
    (_boxes, 0.06),
    (_hand, 0.06),
)
_SHARES = np.array([share for _, share in _LOOK_ALIKES]) / sum(share for _, share in _LOOK_ALIKES)


def draw_look_alike(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """Draw something where `head` would be that looks a little like a face and is none."""
    draw, _ = _LOOK_ALIKES[rng.choice(len(_LOOK_ALIKES), p=_SHARES)]
    draw(rng, layer, head)


def draw_occluder(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """Draw something in front of a face that hides up to about 40 % of it."""
    draw = (_pole, _hand_on_face, _mask, _wall, _lock)[rng.integers(5)]
    draw(rng, layer, head)


def _pole(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    angle, offset, half = rng.uniform((0, -0.5, 0.05), (np.pi, 0.5, 0.17)).tolist()
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    ends = np.stack([along * 1.7 + across * offset, along * -1.7 + across * offset])
    layer.fill(
        head.flat(np.concatenate([ends - across * half, ends[::-1] + across * half])), random_colour(rng)
    )


def _hand_on_face(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    skin = random_skin(rng)
    turn, side = rng.uniform(-0.8, 0.8), rng.choice((-1.0, 1.0))
    cos, sin = np.cos(turn), np.sin(turn)
    shape = 0.7 * _HAND @ np.array([[cos, sin], [-sin, cos]]) * (side, 1)
    shape = head.flat(shape + rng.uniform((0.25, 0.5), (0.6, 0.9)) * (side, 1))
    layer.fill(shape, skin)
    layer.stroke(shape, 0.03 * head.size, shade(skin, 0.7), closed=True)


def _mask(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """A cloth over mouth and nose."""
    cloth = (205, 225, 235) if rng.random() < 0.5 else random_colour(rng)
    across = np.linspace(-1, 1, 9)
    top = head.place(points(across * head.width, 0.3 - 0.12 * (1 - across**2)))
    angle = np.linspace(0, np.pi, 12)[1:-1]
    narrowing = 1 - head.jaw * np.sin(angle) ** 2
    chin = head.flat(points(np.cos(angle) * head.width * narrowing, np.sin(angle) * 1.02))
    layer.fill(np.concatenate([top, chin]), cloth)
    layer.stroke(top, 0.03 * head.size, shade(cloth, 0.8))


def _wall(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """A straight edge that cuts off one side or the chin: a wall, a book, a shoulder."""
    angle = rng.choice((0.0, np.pi / 2, np.pi)) + rng.uniform(-0.3, 0.3)
    away, along = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    near = away * rng.uniform(0.3, 0.7) * (head.width if abs(away[0]) > 0.7 else 1.0)
    edge = np.stack([near - along * 1.3, near + along * 1.3])
    layer.fill(head.flat(np.concatenate([edge, edge[::-1] + away])), random_colour(rng))


def _lock(rng: np.random.Generator, layer: Layer, head: Head) -> None:
    """A lock of hair."""
    lock = np.array([[-0.1, -1.2], [0.25, -0.9], [0.1, -0.2], [0.3, 0.4], [0.05, 0.1], [-0.15, -0.5]])
    side = rng.choice((-1.0, 1.0))
    layer.fill(head.flat(lock * (side, 1) + (side * rng.uniform(0.1, 0.5), 0)), random_hair(rng))
