"""Draws one synthetic person, from the back to the front: body, hair, skin, features, hair again."""

import numpy as np

from mtcnn.sources.synthetic_brush import Colour, Layer, Points, ellipse, mix, points, shade
from mtcnn.sources.synthetic_head import NOSE_LIFT, Centres, Head
from mtcnn.sources.synthetic_look import Look

# Half extents of everything that is drawn around the middle of the face, in head coordinates: x, up, down.
_REACH_SIDE, _REACH_UP, _REACH_DOWN = 1.75, 1.75, 2.4

_ACROSS = np.linspace(-1, 1, 13)
_BROW_ACROSS = np.linspace(-1, 1, 7)
_CROWN = np.linspace(np.pi, 2 * np.pi, 20)


def centres(look: Look) -> Centres:
    """Where this person's features belong."""
    return Centres(
        np.array([-look.eye_distance, look.eye_height]),
        np.array([look.eye_distance, look.eye_height]),
        np.array([0.0, look.nose_tip]),
        np.array([0.0, look.mouth_height]),
    )


def reach(head: Head) -> Points:
    """Corners (4, 2) in scene pixels of the area that `draw_head` may paint."""
    side, up, down = _REACH_SIDE, _REACH_UP, _REACH_DOWN
    return head.flat(np.array([[-side, -up], [side, -up], [side, down], [-side, down]]))


def draw_head(layer: Layer, head: Head, look: Look, features: Centres | None) -> None:
    """Draw a person with `features` where these centres say (`centres` for a face); None leaves them out."""
    if look.body:
        _body(layer, head, look)
    _hair_behind(layer, head, look)
    _skin(layer, head, look)
    if features is not None:
        _beard(layer, head, look, features)
        _nose(layer, head, look, features.nose)
        _mouth(layer, head, look, features.mouth)
        _eye(layer, head, look, features.left_eye, -1)
        _eye(layer, head, look, features.right_eye, 1)
        if look.glasses != "none":
            _glasses(layer, head, look, features)
    _hair_in_front(layer, head, look)


def draw_back_of_head(layer: Layer, head: Head, look: Look) -> None:
    """Draw the person from behind: hair where the face would be."""
    if look.body:
        _body(layer, head, look)
    _ears(layer, head, look)
    crown = np.concatenate(
        [_cap(head, look, 1.0), [[head.width * 0.9, 0.5], [0, 0.85], [-head.width * 0.9, 0.5]]]
    )
    layer.fill(head.flat(crown), look.hair)
    _strands(layer, head, look, -0.9)


def _body(layer: Layer, head: Head, look: Look) -> None:
    neck = head.width * 0.62
    shoulders = np.array(
        [[-neck, 1.05], [-1.2, 1.35], [-1.6, 1.75], [-1.65, 2.35], [1.65, 2.35], [1.6, 1.75], [1.2, 1.35]]
    )
    layer.fill(head.flat(np.concatenate([shoulders, [[neck, 1.05]]])), look.cloth)
    layer.fill(
        head.flat(np.array([[-neck, 0.3], [neck, 0.3], [neck, 1.2], [0, 1.5], [-neck, 1.2]])),
        shade(look.skin, 0.78),
    )


def _cap(head: Head, look: Look, volume: float) -> Points:
    """Upper edge of the hair in head coordinates, from the left ear over the crown to the right ear."""
    top = 0.9 + 0.28 * volume
    # A turned head shows more hair on the side that it turns away from.
    rounder = np.sign(np.cos(_CROWN)) * np.abs(np.cos(_CROWN)) ** 0.8
    x = head.width * volume * rounder - 0.22 * np.sin(head.yaw)
    return points(x, -0.1 + top * np.sin(_CROWN))


def _hair_behind(layer: Layer, head: Head, look: Look) -> None:
    cap = _cap(head, look, look.hair_volume)
    if look.haircut == "long":
        side = head.width * look.hair_volume * 1.08
        length = 1.1 + 0.5 * (look.fringe + 0.95) / 0.45
        ends = np.array([[side, 0.5], [side * 1.05, length * 0.8], [side * 0.85, length]])
        ends = np.concatenate([ends, ends[::-1] * (-1, 1)])
        layer.fill(head.flat(np.concatenate([cap, ends])), shade(look.hair, 0.8))
    elif look.haircut == "scarf":
        edge = ellipse(-0.1 * np.sin(head.yaw), 0.05, head.width * 1.22, 1.36)
        layer.fill(head.flat(edge), look.headwear)
        layer.fill(
            head.flat(np.array([[-0.8, 0.7], [0.8, 0.7], [1.2, 1.7], [-1.2, 1.7]])),
            shade(look.headwear, 0.85),
        )
    elif look.haircut == "curly":
        curl = 0.22 * look.hair_volume
        for x, y in np.concatenate(
            [cap[::2], [[head.width * 1.05, 0.15], [-head.width * 1.05, 0.15]]]
        ).tolist():
            layer.fill(head.flat(ellipse(x, y, curl, curl, count=12)), look.hair)
        layer.fill(head.flat(cap), look.hair)
    elif look.haircut == "bald":
        layer.fill(head.flat(_cap(head, look, 0.98)), look.skin)
    else:
        layer.fill(head.flat(cap), look.hair)


def _ears(layer: Layer, head: Head, look: Look) -> None:
    for side in (-1, 1):
        if side * head.yaw < 0.2:
            x = side * head.width * (1.02 - 0.35 * abs(np.sin(head.yaw)))
            layer.fill(head.flat(ellipse(x, 0.05, 0.1, 0.22, count=16)), shade(look.skin, 0.86))
            layer.fill(head.flat(ellipse(x, 0.05, 0.05, 0.14, count=12)), shade(look.skin, 0.7))


def _skin(layer: Layer, head: Head, look: Look) -> None:
    if look.haircut not in ("long", "scarf"):
        _ears(layer, head, look)
    layer.fill(head.outline, look.skin)
    _cheeks(layer, head, look)


def _cheeks(layer: Layer, head: Head, look: Look) -> None:
    blush = mix(look.skin, (215, 90, 80), 0.12)
    for side in (-1, 1):
        layer.fill(head.place(ellipse(side * 0.4, 0.25, 0.17, 0.14, count=16)), blush)


def _eye(layer: Layer, head: Head, look: Look, centre: Points, side: int) -> None:
    x, y = centre.tolist()
    half, opening = look.eye_width, look.eye_opening
    layer.fill(head.place(ellipse(x, y - 0.02, half * 1.3, 0.15, count=16)), shade(look.skin, 0.84))
    brow_y = y - look.brow_height
    across = _BROW_ACROSS
    arch = 0.05 * (1 - across**2) + look.brow_tilt * across * side
    thick = look.brow_thickness * (1 - 0.35 * across * side)
    upper = points(x + across * half * 1.25, brow_y - arch - thick / 2)
    lower = points(x + across * half * 1.25, brow_y - arch + thick / 2)
    brow = mix(look.hair, (30, 22, 18), 0.45) if look.haircut != "scarf" else (40, 30, 24)
    layer.fill(head.place(np.concatenate([upper, lower[::-1]])), mix(brow, look.skin, 0.12))

    almond = ellipse(x, y, half, opening, count=20)
    layer.fill(head.place(almond), (236, 232, 228))
    radius = max(0.075, opening * 0.95)
    for share, colour in ((1.0, look.iris), (0.5, (12, 10, 10))):
        disc = ellipse(x + look.gaze * half * 0.5, y, radius * share, radius * share, count=16)
        lid = opening * np.sqrt(np.maximum(0, 1 - ((disc[:, 0] - x) / half) ** 2))
        disc[:, 1] = y + np.clip(disc[:, 1] - y, -lid, lid)
        layer.fill(head.place(disc), colour)
    if opening > 0.05:
        spark = ellipse(x + look.gaze * half * 0.5 + 0.025, y - 0.03, 0.018, 0.018, count=8)
        layer.fill(head.place(spark), (250, 250, 250))
    layer.stroke(head.place(almond[10:]), 0.028 * head.size, shade(look.skin, 0.3))


def _nose(layer: Layer, head: Head, look: Look, tip: Points) -> None:
    x, y = tip.tolist()
    half = look.nose_width
    dark = shade(look.skin, 0.78)
    bridge = np.array(
        [
            [x - 0.07, y - 0.42],
            [x - 0.09, y - 0.1],
            [x - half, y + 0.06],
            [x - 0.03, y + 0.1],
            [x - 0.03, y - 0.4],
        ]
    )
    bridge = bridge if head.yaw >= 0 else bridge * (-1, 1) + (2 * x, 0)
    layer.fill(head.place(bridge, NOSE_LIFT * 0.5), dark)
    layer.fill(
        head.place(ellipse(x, y + 0.05, half, 0.07, count=16), NOSE_LIFT * 0.6), shade(look.skin, 0.86)
    )
    layer.fill(head.place(ellipse(x, y, half * 0.6, 0.08, count=16), NOSE_LIFT), shade(look.skin, 1.08))
    for side in (-1, 1):
        nostril = ellipse(x + side * half * 0.5, y + 0.085, half * 0.24, 0.025, count=12)
        layer.fill(head.place(nostril, NOSE_LIFT * 0.6), shade(look.skin, 0.35))


def _mouth(layer: Layer, head: Head, look: Look, centre: Points) -> None:
    x, y = centre.tolist()
    half, lip = look.mouth_width, look.lip_thickness
    across = _ACROSS
    # Corners are `smile` above the middle; opening and lips vanish there.
    line = y - look.smile * across**2
    swell = 1 - across**2
    columns = x + across * half

    def band(top: Points, bottom: Points, colour: Colour) -> None:
        upper, lower = points(columns, top), points(columns, bottom)
        layer.fill(head.place(np.concatenate([upper, lower[::-1]])), colour)

    gap = look.mouth_opening / 2 * np.sqrt(swell)
    band(line - gap - lip * swell, line + gap + lip * 1.3 * np.sqrt(swell), look.lips)
    if look.mouth_opening > 0:
        band(line - gap, line + gap, (60, 18, 20))
        band(line - gap, line - gap + np.minimum(2 * gap, 0.055), (238, 234, 226))
    else:
        layer.stroke(head.place(points(columns, line)), 0.025 * head.size, shade(look.lips, 0.5))


def _beard(layer: Layer, head: Head, look: Look, features: Centres) -> None:
    if look.beard == "none":
        return
    colour = mix(look.hair, look.skin, 0.72 if look.beard == "stubble" else 0.1)
    mouth = float(features.mouth[1])
    if look.beard != "moustache":
        angle = np.linspace(0, np.pi, 20)
        edge = points(np.cos(angle) * head.width, np.sin(angle))
        edge[:, 0] *= 1 - head.jaw * edge[:, 1] ** 2
        across = np.linspace(-1, 1, 9)
        inner = points(across * head.width * 0.95, mouth - 0.16 - 0.3 * across**6)
        # The beard's edge is the face's own, which does not move with yaw; only its inner edge does.
        layer.fill(np.concatenate([head.flat(edge), head.place(inner)]), colour)
    x = float(features.mouth[0])
    upper = np.array([[x - 0.3, mouth], [x - 0.14, mouth - 0.15], [x + 0.14, mouth - 0.15], [x + 0.3, mouth]])
    layer.fill(head.place(np.concatenate([upper, [[x, mouth - 0.06]]])), colour)


def _glasses(layer: Layer, head: Head, look: Look, features: Centres) -> None:
    left, right = features.left_eye, features.right_eye
    dark = look.glasses == "sunglasses"
    half = (look.eye_width * 1.45, look.lens_height)
    width = look.frame_width * head.size
    for eye in (left, right):
        lens = head.place(ellipse(eye[0], eye[1] + 0.02, *half, count=20), 0.05)
        if dark:
            layer.fill(lens, shade(look.frame, 0.6))
            layer.stroke(lens[12:15] * 0.7 + lens.mean(axis=0) * 0.3, width, shade(look.frame, 1.8))
        layer.stroke(lens, width, look.frame, closed=True)
    half_lens = np.array([half[0], 0])
    inner = np.stack([left + half_lens, (left + right) / 2 - (0, 0.04), right - half_lens])
    layer.stroke(head.place(inner, 0.06), width, look.frame)
    for eye, side in ((left, -1), (right, 1)):
        temple = np.stack([eye + side * half_lens, np.array([side * head.width, eye[1] - 0.03])])
        layer.stroke(head.place(temple), width, look.frame)


def _hair_in_front(layer: Layer, head: Head, look: Look) -> None:
    if look.haircut == "bald":
        return
    across = np.linspace(1, -1, 15)
    fringe = min(look.fringe, -0.7) if look.haircut in ("hat", "scarf") else look.fringe
    # From the temples up to the parting, where the forehead shows most.
    height = -0.25 + (fringe + 0.25) * (1 - np.abs((across - look.parting) / (1 + abs(look.parting))) ** 2.5)
    hairline = head.place(points(across * head.width, height))
    cap = _cap(head, look, look.hair_volume if look.haircut != "scarf" else 1.15)
    front = np.concatenate([head.flat(cap), hairline])
    layer.fill(front, look.headwear if look.haircut == "scarf" else look.hair)
    if look.haircut == "hat":
        crown = cap[(cap[:, 1] < -0.6)]
        layer.fill(head.flat(crown * (1.04, 1.06)), look.headwear)
        brim = head.width * 1.25
        edge = np.array([[-brim, -0.72], [brim, -0.72], [brim * 0.97, -0.88], [-brim * 0.97, -0.88]])
        layer.fill(head.flat(edge + np.array([0.3 * np.sin(head.yaw), 0])), shade(look.headwear, 0.7))
    elif look.haircut != "scarf":
        _strands(layer, head, look, fringe)


def _strands(layer: Layer, head: Head, look: Look, fringe: float) -> None:
    cap = _cap(head, look, look.hair_volume)
    for index in (4, 7, 10, 13, 16):
        end = np.array([cap[index, 0] * 0.75 + look.parting * 0.2, fringe - 0.08])
        strand = np.stack([cap[index] * 0.96, end]) if index % 2 else np.stack([cap[index] * 0.9, end])
        layer.stroke(head.flat(strand), 0.02 * head.size, shade(look.hair, 1.3 if index % 2 else 0.7))
