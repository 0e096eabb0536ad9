"""A small source, a detector that knows what is in it, and crop shards of noise for the report to show."""

import numpy as np
import pytest
import torch

from mtcnn.detector import Faces
from mtcnn.evaluation import evaluate
from mtcnn.image import decode
from mtcnn.nets import SIZES
from mtcnn.shards import Crops, commit_unit, write_manifest
from mtcnn.sources import prepare
from mtcnn.sources.read import read_index, read_shard
from mtcnn.store import open_store


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Nets this small are slower with more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """URL of six synthetic scenes in two shards."""
    url = str(tmp_path_factory.mktemp("source"))
    prepare("synthetic", None, (), url, count=6, seed=3, images_per_shard=3, done=lambda _: None)
    return url


class Knows:
    """A detector that finds every labelled face of a source, or nothing."""

    def __init__(self, url, finds=True):
        self.device, self.nets, self.timings = torch.device("cpu"), [], {"onet": 1.0}
        store = open_store(url)
        images = [image for row in read_index(url).shards for image in read_shard(store, row)]
        self.truth = {decode(image.data).tobytes(): image.annotation for image in images}
        self.finds = finds

    def detect(self, rgb):
        truth = self.truth[rgb.tobytes()]
        boxes = truth.boxes[~truth.ignore] if self.finds else truth.boxes[:0]
        return Faces(boxes, np.linspace(0.5, 1, len(boxes)).astype(np.float32), truth.landmarks[: len(boxes)])

    def trace(self, rgb):
        return {"onet": self.detect(rgb)}


@pytest.fixture
def knows(source):
    return lambda finds=True: Knows(source, finds)


@pytest.fixture(scope="session")
def known(source):
    """The evaluation of a detector that finds everything."""
    return evaluate(Knows(source), source)


def noise(rng, count, size, cls):
    """Crops of noise with targets as their class has them."""
    boxes, landmarks = np.zeros((count, 4), np.float32), np.zeros((count, 10), np.float32)
    if cls in ("pos", "part"):
        boxes = rng.uniform(-0.2, 0.2, (count, 4)).astype(np.float32)
    if cls == "landmark":
        landmarks = rng.uniform(0, 1, (count, 10)).astype(np.float32)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Crops(images, boxes, landmarks, np.zeros((count, 4), np.int32))


def commit(store, stage, units=3, count=30):
    """Commit units of noise, the last of them held out; returns their manifest."""
    rng = np.random.default_rng(0)
    classes = ("pos", "part", "neg", "landmark") if stage == "onet" else ("pos", "part", "neg")
    rows = [
        commit_unit(
            store,
            f"scenes-{unit}",
            {cls: noise(rng, count, SIZES[stage], cls) for cls in classes},
            {},
            "val" if unit == units - 1 else "train",
        )
        for unit in range(units)
    ]
    return write_manifest(store, stage, "0" * 16, rows)


@pytest.fixture(scope="session")
def crops():
    """Makes crops of noise: crops(rng, count, size, class)."""
    return noise


@pytest.fixture(scope="session")
def mined():
    """Commits units of noise to a store: mined(store, stage, units, count) returns their manifest."""
    return commit
