"""The cascade for GPUs, run on a CPU: the detector's own path there, step by step."""

import cv2
import numpy as np
import pytest
import torch

from mtcnn import boxes as bx
from mtcnn import device
from mtcnn.detector import Detector, load_weights, released_weights
from mtcnn.device import DeviceCascade
from mtcnn.device_boxes import peaks, suppressed
from mtcnn.device_pixels import GroupOctaves, stack
from mtcnn.faces import Faces
from mtcnn.image import Octaves, Pixels, Windows, decode
from mtcnn.nets import Net
from mtcnn.peaks import peaks as peaks_of_one
from mtcnn.sources.synthetic import synthetic_image

CPU = torch.device("cpu")
THRESHOLDS = (0.6, 0.7, 0.7)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images() -> list[Pixels]:
    """Scenes of several sizes, one of them many times larger than another."""
    scenes = [decode(synthetic_image(11, number).data) for number in range(5)]
    return [*scenes, cv2.resize(scenes[0], (701, 533)), scenes[1][:97, :131].copy()]


@pytest.fixture(scope="module")
def nets() -> list[Net]:
    return [weights.net for weights in load_weights(str(released_weights()))]


def cascade(nets: list[Net], min_face: float = 20, limit: int = 3000) -> DeviceCascade:
    return DeviceCascade(nets, CPU, min_face, 0.709, THRESHOLDS, limit, joins=True)


def octaves_of(images: list[Pixels]) -> GroupOctaves:
    return GroupOctaves(stack(images, pinned=False), [rgb.shape[:2] for rgb in images], CPU)


def agreement(ours: list[Faces], theirs: list[Faces]) -> float:
    """Share of `theirs` that `ours` have at IoU >= 0.95 with scores within 0.02."""
    same = []
    for one, other in zip(ours, theirs, strict=True):
        alike = bx.iou(other.boxes, one.boxes) >= 0.95
        near = np.abs(other.scores[:, None] - one.scores[None]) <= 0.02
        same.extend((alike & near).any(axis=1).tolist())
    return float(np.mean(same))


@pytest.mark.parametrize("min_face", [12, 20])
def test_a_batch_has_the_faces_of_the_cpu(images: list[Pixels], nets: list[Net], min_face: float) -> None:
    plain = Detector(nets, min_face=min_face, thresholds=THRESHOLDS)
    ours, theirs = cascade(nets, min_face).detect(images), plain.detect_batch(images)
    count = sum(len(faces.boxes) for faces in theirs)
    assert count >= 10
    # Pixels differ by roundings: of one face another box may stay, or none, where a score is close to the threshold.
    assert agreement(ours, theirs) >= 1 - 1.5 / count and agreement(theirs, ours) >= 1 - 1.5 / count
    for one, other in zip(ours, theirs, strict=True):
        assert {part.dtype for part in one} == {np.dtype(np.float32)} and (np.diff(one.scores) <= 0).all()
        for box, points in zip(other.boxes, other.landmarks, strict=True):
            nearest = np.abs(one.boxes - box).max(axis=1).argmin()
            assert np.abs(one.landmarks[nearest] - points).max() <= 0.03 * (box[2] - box[0])


def test_every_stage_of_one_image_is_that_of_the_cpu(images: list[Pixels], nets: list[Net]) -> None:
    plain = Detector(nets, thresholds=THRESHOLDS)
    for one, other in zip(cascade(nets).stages(images[5]), plain.trace(images[5]).values(), strict=True):
        assert agreement([one], [other]) >= 0.95


def test_groups_bands_and_chunks_change_nothing(
    images: list[Pixels], nets: list[Net], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cascade(nets).detect(images[:3])
    monkeypatch.setattr("mtcnn.device.GROUP", 2)
    monkeypatch.setattr("mtcnn.device_pixels.BAND", 20_000)
    monkeypatch.setattr("mtcnn.device_boxes.PAIRS", 1000)
    for one, other in zip(cascade(nets).detect(images[:3]), whole, strict=True):
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-2)


def test_no_more_proposals_go_on_than_allowed(images: list[Pixels], nets: list[Net]) -> None:
    few, *_ = cascade(nets, limit=9).stages(images[0])
    plain = Detector(nets, thresholds=THRESHOLDS, max_proposals=9).trace(images[0])["pnet"]
    assert 0 < len(few.boxes) <= 9
    np.testing.assert_allclose(few.boxes, plain.boxes, atol=0.5)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (11, 40), (12, 12), (13, 29), (97, 61)])
def test_images_of_any_size_pass(nets: list[Net], shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    (faces,) = cascade(nets).detect([rgb])
    assert faces.boxes.shape[1:] == (4,) and faces.landmarks.shape == (len(faces.boxes), 5, 2)


def test_no_images_have_no_faces(nets: list[Net]) -> None:
    assert cascade(nets).detect([]) == []


def test_groups_hold_every_image_once_within_their_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    shapes = [tuple(pair) for pair in rng.integers(1, 100, (200, 2)).tolist()]
    monkeypatch.setattr(device, "GROUP_PIXELS", 9000)
    groups = device.in_groups(shapes)
    assert sorted(i for group in groups for i in group) == list(range(200))
    for group in groups:
        height, width = np.max([shapes[i] for i in group], axis=0)
        assert len(group) <= device.GROUP and (height * width * len(group) <= 9000 or len(group) == 1)


# its pixels and boxes


def test_octaves_and_crops_are_those_of_the_cpu() -> None:
    rng = np.random.default_rng(3)
    # Smooth, for bilinear weights are of 11 bits in cv2.
    images = [
        cv2.resize(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8), size) for size in [(203, 101), (64, 150)]
    ]
    ours = octaves_of(images)
    for number, rgb in enumerate(images):
        theirs = Octaves(rgb)
        assert ours.counts[number] == len(theirs.levels)
        for k, level in enumerate(theirs.levels):
            # All of an octave, pixel by pixel, and squares over every border.
            height, width = level.shape[:2]
            whole = cut(ours, number, k, (0, 0), (width, height), (width, height))
            np.testing.assert_array_equal(whole, level)
            for corner, side in [((3, 2), 9), ((-7, -4), 30), ((width - 5, height - 9), 33), ((900, 0), 12)]:
                windows = Windows(np.array([k]), np.array([corner]), np.array([side]))
                crop = cut(ours, number, k, corner, (side, side), (24, 24))
                assert np.abs(crop.astype(int) - theirs.cut(windows, 24)[0]).max() <= 1


def cut(
    octaves: GroupOctaves,
    image: int,
    k: int,
    corner: tuple[int, int],
    sides: tuple[int, int],
    size: tuple[int, int],
) -> Pixels:
    steps = torch.tensor([[sides[0] / size[0], sides[1] / size[1]]])
    columns, rows = (torch.arange(side)[None] for side in size)
    at = torch.tensor([image]), torch.tensor([k]), torch.tensor([corner]), torch.tensor([sides])
    return octaves.cut(*at, steps, columns, rows)[0].numpy()


def test_suppression_is_that_of_the_cpu() -> None:
    rng = np.random.default_rng(4)
    corners = rng.uniform(0, 60, (3, 150, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(10, 40, (3, 150, 2))], axis=2).astype(np.float32)
    margins = -np.sort(-rng.normal(size=(3, 150)).astype(np.float32), axis=1)
    margins[1, 40:] = -np.inf
    for threshold in (0.2, 0.5):
        left = suppressed(torch.from_numpy(boxes), torch.from_numpy(margins), threshold).numpy()
        for image, count in enumerate([150, 40, 150]):
            keep = bx.nms(boxes[image, :count], margins[image, :count], threshold)
            np.testing.assert_array_equal(np.flatnonzero(left[image] > -np.inf), np.sort(keep))


def test_peaks_are_those_of_the_cpu() -> None:
    margins = np.random.default_rng(5).normal(size=(2, 40, 30)).astype(np.float32)
    kept = peaks(torch.from_numpy(margins), 0.0).numpy()
    for ours, one in zip(kept, margins, strict=True):
        np.testing.assert_array_equal(np.argwhere(ours > -np.inf), np.stack(peaks_of_one(one, 0.5), axis=1))
