"""Synthetic scenes: the same seed draws the same scene, and boxes and points are where the faces are."""

import dataclasses
import math

import cv2
import numpy as np
import pytest

from mtcnn.boxes import iou
from mtcnn.sources.synthetic import MAX_FACE, MIN_FACE, Scene, scene, synthetic_image
from mtcnn.sources.synthetic_brush import Layer, window_around
from mtcnn.sources.synthetic_face import centres, draw_head, reach
from mtcnn.sources.synthetic_head import Head, landmarks
from mtcnn.sources.synthetic_look import Look, random_look
from mtcnn.sources.synthetic_things import random_head

WIDTH, HEIGHT = 320, 240


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [scene(np.random.default_rng((5, index)), WIDTH, HEIGHT) for index in range(60)]


def test_a_picture_depends_on_seed_and_index_only() -> None:
    first = [synthetic_image(3, index) for index in range(4)]
    again = [synthetic_image(3, index) for index in reversed(range(4))][::-1]
    assert [image.data for image in first] == [image.data for image in again]
    assert [image.annotation.to_json() for image in first] == [image.annotation.to_json() for image in again]
    assert len({image.data for image in first} | {synthetic_image(4, 0).data}) == 5


def test_a_picture_is_a_jpeg_of_the_annotated_size() -> None:
    made = synthetic_image(0, 7)
    decoded = cv2.imdecode(np.frombuffer(made.data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert made.data[:2] == b"\xff\xd8"
    assert decoded.shape == (made.annotation.height, made.annotation.width, 3)
    assert made.key == "synthetic-000007"


def test_scenes_hold_what_is_promised(scenes: list[Scene]) -> None:
    counts = [len(drawn.boxes) for drawn in scenes]
    assert 0 in counts and max(counts) <= 8 and 2 < np.mean(counts) < 4
    for drawn in scenes:
        faces = len(drawn.boxes)
        assert drawn.image.shape == (HEIGHT, WIDTH, 3) and drawn.image.dtype == np.uint8
        assert drawn.boxes.shape == (faces, 4) and drawn.boxes.dtype == np.float32
        assert drawn.ignore.shape == (faces,) and drawn.ignore.dtype == bool
        assert drawn.landmarks.shape == (faces, 5, 2) and drawn.landmarks.dtype == np.float32
    assert np.mean(np.concatenate([drawn.ignore for drawn in scenes])) < 0.1


def test_boxes_are_inside_the_picture_and_of_the_promised_sizes(scenes: list[Scene]) -> None:
    boxes = np.concatenate([drawn.boxes for drawn in scenes])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (WIDTH, HEIGHT)).all()
    longer = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    # A fifth of a face may be beyond the border, and its box is cut there.
    assert longer.min() >= 0.8 * MIN_FACE - 0.01 and longer.max() <= MAX_FACE + 0.01
    assert np.percentile(longer, 25) < 35 and np.percentile(longer, 75) > 60


def test_faces_leave_each_other_visible(scenes: list[Scene]) -> None:
    for drawn in scenes:
        overlap = iou(drawn.boxes, drawn.boxes)
        assert (overlap[~np.eye(len(overlap), dtype=bool)] < 0.25).all()


def test_points_are_inside_their_boxes_in_the_order_of_a_face(scenes: list[Scene]) -> None:
    boxes = np.concatenate([drawn.boxes for drawn in scenes])[:, None]
    points = np.concatenate([drawn.landmarks for drawn in scenes])
    inside = (points >= boxes[..., :2]).all(axis=2) & (points <= boxes[..., 2:]).all(axis=2)
    assert inside.mean() > 0.97
    left_eye, right_eye, nose, left_mouth, right_mouth = points.transpose(1, 0, 2)
    assert (left_eye[:, 0] < right_eye[:, 0]).all() and (left_mouth[:, 0] < right_mouth[:, 0]).all()
    assert ((left_eye + right_eye)[:, 1] / 2 < nose[:, 1]).all()
    assert (nose[:, 1] < (left_mouth + right_mouth)[:, 1] / 2).all()


def test_a_scene_too_small_for_a_face_is_refused() -> None:
    with pytest.raises(ValueError, match="64 pixels"):
        scene(np.random.default_rng(0), 320, 40)


def bare_look(rng: np.random.Generator) -> Look:
    """A person whose skin is red, with nothing else red in front of it or around it."""
    return dataclasses.replace(
        random_look(rng),
        skin=(200, 0, 0),
        hair=(0, 0, 120),
        haircut="long",
        fringe=-0.95,
        beard="none",
        glasses="none",
        body=False,
    )


def drawn_alone(head: Head, look: Look, with_features: bool) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), (0, 255, 0), np.uint8)
    window = window_around(reach(head), WIDTH, HEIGHT)
    assert window is not None
    layer = Layer(window, zoom=math.ceil(60 / head.size))
    draw_head(layer, head, look, centres(look) if with_features else None)
    layer.paste(image)
    return image


@pytest.mark.parametrize("side", [14.0, 40.0, 90.0, 160.0])
def test_a_box_is_the_extent_of_the_skin(side: float) -> None:
    rng = np.random.default_rng(int(side))
    for _ in range(6):
        centred = random_head(rng, side)
        head = dataclasses.replace(centred, x=centred.x + 160.3, y=centred.y + 120.6)
        # Long hair hides the ears and the corners of the forehead, not the cheeks and the chin.
        image = drawn_alone(head, bare_look(rng), with_features=False).astype(int)
        red = (image[..., 0] > 100) & (image[..., 1] < 100)
        rows, columns = np.nonzero(red.any(axis=1))[0], np.nonzero(red.any(axis=0))[0]
        found = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])
        tolerance = 1 + 0.015 * side
        assert abs(found[3] - head.box[3]) < tolerance
        assert (np.abs(found - head.box)[[0, 2]] < tolerance).all()
        assert head.box[1] - tolerance < found[1] < head.box[1] + 0.25 * side
        assert max(head.box[2] - head.box[0], head.box[3] - head.box[1]) == pytest.approx(side, abs=0.01)


def test_eye_points_are_in_the_middle_of_the_drawn_eyes() -> None:
    rng = np.random.default_rng(2)
    for _ in range(6):
        centred = random_head(rng, 150)
        head = dataclasses.replace(centred, x=centred.x + 160.0, y=centred.y + 120.0)
        look = dataclasses.replace(
            bare_look(rng), iris=(236, 232, 228), mouth_opening=0.0, eye_opening=0.09, brow_height=0.25
        )
        image = drawn_alone(head, look, with_features=True).astype(int)
        # The white of the eyes is the only bright thing that is not green.
        white = ((image[..., 2] > 140) & (image[..., 0] > 140)).astype(np.uint8)
        count, _, stats, middles = cv2.connectedComponentsWithStats(
            cv2.morphologyEx(white, cv2.MORPH_CLOSE, np.ones((5, 5)))
        )
        assert count >= 3
        largest = np.argsort(stats[1:, cv2.CC_STAT_AREA])[-2:] + 1
        eyes = sorted((middles[index] + 0.5).tolist() for index in largest)
        points = landmarks(head, centres(look), look.mouth_width, look.smile)[:2]
        assert np.abs(np.array(eyes) - points).max() < 0.03 * 150
