"""A small source of real shards, and a detector that knows what is in it and errs in known ways."""

from typing import NamedTuple

import cv2
import numpy as np
import pytest

from mtcnn.sources.annotation import Annotation, SourceImage
from mtcnn.sources.pack import Pictures, pack

IMAGES = 10
BROKEN = 7
POINTS = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]], np.float32)


class Found(NamedTuple):
    boxes: np.ndarray
    scores: np.ndarray
    landmarks: np.ndarray


def annotation(number):
    """Image `number` has a large face at the left, a small one at the right, and an ignore region below."""
    boxes = np.array(
        [[10, 10, 60 + number, 60 + number], [120, 20, 136, 36], [20, 100, 120, 150]], np.float32
    )
    sides = boxes[:, 2] - boxes[:, 0]
    points = boxes[:, None, :2] + POINTS * sides[:, None, None]
    points[2] = np.nan
    ignore = np.array([False, False, True])
    return Annotation(160, 160, boxes, ignore, points, name=f"images/0--Parade/0_{number}.png")


def picture(number):
    if number == BROKEN:
        data = b"not an image"
    else:
        pixels = np.full((160, 160, 3), 90, np.uint8)
        pixels[0, 0] = number
        data = cv2.imencode(".png", pixels)[1].tobytes()
    return SourceImage(f"image{number:02d}", data, annotation(number))


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """URL of three shards with ten images, one of them broken."""
    url = str(tmp_path_factory.mktemp("source"))
    pack(Pictures("csv", IMAGES, picture, "0" * 64), url, images_per_shard=4)
    return url


class FakeDetector:
    """Finds every large face with points a tenth of the eye distance off, loses the small face after P-Net.

    In image 3 it loses the large face too, in image 5 it finds one too many and one in the ignore region.
    """

    def __init__(self):
        self.timings = {}
        self.traced = self.batched = 0

    def faces(self, rgb):
        number = int(rgb[0, 0, 0])
        truth = annotation(number)
        boxes, points = truth.boxes[:1].copy(), truth.landmarks[:1].copy()
        points[:, :, 0] += 0.1 * (points[:, 1, 0] - points[:, 0, 0])
        scores = np.array([0.9 + number / 100], np.float32)
        if number == 3:
            boxes, points, scores = boxes[:0], points[:0], scores[:0]
        if number == 5:
            more = np.array([[80, 60, 110, 90], [30, 110, 70, 150]], np.float32)
            boxes, scores = np.concatenate([boxes, more]), np.append(scores, np.float32([0.8, 0.7]))
            points = np.concatenate([points, np.full((2, 5, 2), 70, np.float32)])
        return Found(boxes, scores, points)

    def detect_batch(self, images):
        self.batched += len(images)
        return [self.faces(rgb) for rgb in images]

    def trace(self, rgb):
        self.traced += 1
        self.timings = {"pnet": 3.0, "onet": 1.0}
        proposals = annotation(int(rgb[0, 0, 0])).boxes.repeat(2, axis=0)
        unknown = np.full((6, 5, 2), np.nan, np.float32)
        return {"pnet": Found(proposals, np.ones(6, np.float32), unknown), "onet": self.faces(rgb)}


@pytest.fixture
def detector():
    return FakeDetector()
