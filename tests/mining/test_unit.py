"""Crops of a unit point back at the faces they were cut around, and nothing but faces is ever positive."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from mtcnn import boxes as bx
from mtcnn.config import Mining
from mtcnn.detector import Detector, Faces
from mtcnn.image import Octaves, Windows, decode
from mtcnn.mining.labels import IGNORED_SHARE
from mtcnn.mining.unit import Recipe, UnitCrops, generator, mine_unit
from mtcnn.nets import Architecture, build
from mtcnn.shards import CLASSES, Crops, pack_crops
from mtcnn.sources.annotation import Annotation, SourceImage

ALL = frozenset(CLASSES)


class Proposer(Detector):
    """Proposes written-down squares for every image."""

    def __init__(self, squares: Sequence[Sequence[float]], scores: Sequence[float]) -> None:
        self.found = np.array(squares, np.float32), np.array(scores, np.float32)

    def propose(self, octaves: Octaves) -> Faces:
        boxes, scores = self.found
        return Faces(boxes, scores, np.full((len(boxes), 5, 2), np.nan, np.float32))


def mined(
    images: Sequence[SourceImage],
    size: int = 12,
    classes: frozenset[str] = ALL,
    proposer: Detector | None = None,
    seed: int = 0,
    **options: object,
) -> UnitCrops:
    recipe = Recipe(size, Mining(**options), classes)  # type: ignore[arg-type]
    return mine_unit(images, recipe, proposer, generator(seed, "pnet", "unit-0"))


def squares_of(crops: Crops) -> np.ndarray:
    corner, side = crops.origin[:, 1:3], crops.origin[:, 3:]
    return np.concatenate([corner, corner + side], axis=1).astype(np.float32)


def faces_of(annotation: Annotation, min_face: float = 12) -> np.ndarray:
    """Faces that count, by the rule as it is written."""
    longer = (annotation.boxes[:, 2:] - annotation.boxes[:, :2]).max(axis=1, initial=0)
    return ~annotation.ignore & (longer >= min_face)


@pytest.mark.parametrize("size", [12, 24, 48])
def test_targets_point_back_at_a_face(images: list[SourceImage], size: int) -> None:
    crops = mined(images, size).crops
    for name, lowest, highest in (("pos", 0.65, 1.01), ("part", 0.4, 0.65)):
        squares = squares_of(crops[name])
        found = bx.decode(squares, crops[name].boxes)
        assert len(squares) > 20
        for index, square, box in zip(crops[name].origin[:, 0], squares, found, strict=True):
            annotation = images[index].annotation
            faces = annotation.boxes[faces_of(annotation)]
            distance = np.abs(faces - box).max(axis=1)
            assert distance.min() < 1e-2
            assert lowest - 1e-6 <= bx.iou(square[None], faces).max() < highest
        assert not crops[name].landmarks.any()


@pytest.mark.parametrize("size", [12, 48])
def test_landmark_targets_are_the_points_of_a_face(images: list[SourceImage], size: int) -> None:
    crops = mined(images, size).crops["landmark"]
    found = bx.decode_points(squares_of(crops), crops.landmarks)
    assert set(crops.origin[:, 0]) == {0, 1, 2}
    for index, points in zip(crops.origin[:, 0], found, strict=True):
        annotation = images[index].annotation
        known = annotation.landmarks[faces_of(annotation)]
        assert np.abs(known - points).max(axis=(1, 2)).min() < 1e-2
    assert not crops.boxes.any()


def test_faces_of_a_shrunk_image_are_where_its_pixels_are(images: list[SourceImage]) -> None:
    size = 48
    images = [images[0], images[5]]  # those whose faces lie inside, and alone
    shrunk, whole = mined(images, size, shrunk=1.0), mined(images, size)
    crops = shrunk.crops["pos"]
    assert len(crops) > 20
    assert shrunk.stats["faces"] <= whole.stats["faces"]
    sides = [found.crops["pos"].origin[:, 3].mean() for found in (shrunk, whole)]
    assert sides[0] < 0.9 * sides[1]
    # A face is white, what is around it dark.
    for pixels, target in zip(crops.images, crops.boxes, strict=True):
        x1, y1, x2, y2 = np.clip((np.array([0, 0, 1, 1]) + target) * size, 0, size).round().astype(int)
        inside = np.zeros((size, size), bool)
        inside[y1 + 4 : y2 - 4, x1 + 4 : x2 - 4] = True
        outside = np.ones((size, size), bool)
        outside[max(y1 - 4, 0) : y2 + 4, max(x1 - 4, 0) : x2 + 4] = False
        assert pixels[inside].mean() > 240
        assert not outside.any() or pixels[outside].mean() < 60


def test_a_crop_is_what_the_image_shows_at_its_origin(images: list[SourceImage]) -> None:
    for name, crops in mined(images, 24).crops.items():
        for pixels, (index, x, y, side) in list(zip(crops.images, crops.origin.tolist(), strict=True))[:30]:
            octaves = Octaves(decode(images[index].data))
            shown = []
            for octave in range(len(octaves.levels)):
                x_y_side = np.array([x, y, side]) // 2**octave
                if (x_y_side * 2**octave == (x, y, side)).all():
                    window = Windows(np.array([octave]), x_y_side[None, :2], x_y_side[2:])
                    shown.append(octaves.cut(window, 24)[0])
            assert any(np.array_equal(crop, pixels) for crop in shown), name


def test_negatives_are_far_from_faces_and_off_ignored_regions(images: list[SourceImage]) -> None:
    for seed in range(3):
        crops = mined(images, seed=seed, random_squares=200, near_squares=40, negatives_per_image=1000).crops[
            "neg"
        ]
        for index, square in zip(crops.origin[:, 0], squares_of(crops), strict=True):
            annotation = images[index].annotation
            counts = faces_of(annotation)
            assert bx.iou(square[None], annotation.boxes[counts]).max(initial=0) < 0.3
            # Too small a face is ignored like a marked one.
            assert bx.coverage(square[None], annotation.boxes[~counts]).max(initial=0) <= IGNORED_SHARE
        assert not crops.boxes.any() and not crops.landmarks.any()
        # Images without faces give negatives too.
        assert {0, 1, 2, 3, 5} == set(crops.origin[:, 0])


def test_faces_at_the_border_are_mined(images: list[SourceImage]) -> None:
    crops = mined(images).crops["pos"]
    over = (crops.origin[:, 0] == 1) & (crops.origin[:, 1] < 0)
    assert over.sum() > 3
    # What lies beyond the border is black: the first columns of a crop that starts well outside.
    far = over & (crops.origin[:, 1] * 12 <= -crops.origin[:, 3] * 2)
    assert not crops.images[far][:, :, 0].any() and crops.images[far].any()


def test_nothing_exceeds_its_cap(images: list[SourceImage]) -> None:
    crops = mined(
        images, crops_per_face=3, negatives_per_image=7, jittered_squares=200, random_squares=300
    ).crops
    for index in (0, 1, 2, 3, 5):
        faces = faces_of(images[index].annotation).sum()
        for name in ("pos", "part"):
            count = (crops[name].origin[:, 0] == index).sum()
            assert count <= 3 * faces and (count > 0) == (faces > 0)
        assert (crops["neg"].origin[:, 0] == index).sum() == 7


def test_half_of_pnets_negatives_touch_a_face(images: list[SourceImage]) -> None:
    crops = mined(images[:1], random_squares=400, near_squares=60, negatives_per_image=40).crops["neg"]
    touching = (bx.iou(squares_of(crops), images[0].annotation.boxes) > 0).any(axis=1)
    assert len(touching) == 40 and touching.sum() == 20


@pytest.mark.parametrize("classes", [{"neg"}, {"landmark"}, {"pos", "part"}, ALL])
def test_a_source_gives_the_classes_it_may(images: list[SourceImage], classes: set[str]) -> None:
    assert set(mined(images, classes=frozenset(classes)).crops) == classes


def test_what_cannot_be_read_is_named_and_the_others_are_mined(images: list[SourceImage]) -> None:
    found = mined(images)
    assert found.bad == [("broken", "not an image file, or a damaged one")]
    assert found.stats == {"images": 5, "faces": 5, "proposals": 0, "hit": 0}


def test_the_same_unit_gives_the_same_bytes_and_another_seed_others(images: list[SourceImage]) -> None:
    def tars(seed: int) -> dict[str, bytes]:
        return {
            name: pack_crops(crops, "unit-0", name) for name, crops in mined(images, seed=seed).crops.items()
        }

    assert tars(0) == tars(0)
    assert all(tars(1)[name] != data for name, data in tars(0).items())


def test_every_unit_and_stage_has_a_generator_of_its_own() -> None:
    first = {
        generator(seed, stage, unit).integers(2**60).item()
        for seed in (0, 1) for stage in ("pnet", "rnet") for unit in ("a-0", "a-1")
    }  # fmt: skip
    assert len(first) == 8
    assert generator(0, "pnet", "a-0").integers(2**60) == generator(0, "pnet", "a-0").integers(2**60)


def test_crops_of_images_are_mixed(images: list[SourceImage]) -> None:
    order = mined(images).crops["neg"].origin[:, 0]
    assert (np.diff(order) != 0).mean() > 0.5


# with the nets so far


def test_proposals_become_crops_by_their_labels(images: list[SourceImage]) -> None:
    proposals = [[22, 20, 62, 60], [12, 12, 52, 52], [100, 80, 130, 110], [100, 90, 112, 102]]
    found = mined(
        images[:1], 24, proposer=Proposer(proposals, [0.9, 0.8, 0.7, 0.6]), random_squares=0, near_squares=0,
        jittered_squares=0,
    )  # fmt: skip
    assert found.stats == {"images": 1, "faces": 2, "proposals": 4, "hit": 1}
    assert squares_of(found.crops["pos"]).tolist() == proposals[:1]
    assert squares_of(found.crops["part"]).tolist() == proposals[1:2]
    assert sorted(squares_of(found.crops["neg"]).tolist()) == sorted(proposals[2:])
    np.testing.assert_allclose(found.crops["pos"].boxes, [[-0.05, 0, -0.05, 0]], atol=1e-6)


def test_most_negatives_are_proposals(images: list[SourceImage]) -> None:
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 100, (300, 2))
    proposals = np.concatenate([corner, corner + 14], axis=1).astype(np.float32)
    found = mined(
        images[3:4], proposer=Proposer(proposals, rng.random(300)), random_squares=200, negatives_per_image=50
    )
    squares = {tuple(square) for square in squares_of(found.crops["neg"]).tolist()}
    assert sum(tuple(p) in squares for p in {tuple(p) for p in proposals.tolist()}) >= 35
    assert len(found.crops["neg"]) == 50


def test_likely_faces_without_a_label_are_no_negatives(images: list[SourceImage]) -> None:
    proposals = [[100, 80, 130, 110], [70, 90, 100, 120], [30, 30, 44, 44]]
    proposer = Proposer(proposals, [0.95, 0.5, 0.5])
    only = {"random_squares": 0, "near_squares": 0, "jittered_squares": 0}
    every = mined(images[:1], proposer=proposer, **only)
    some = mined(images[:1], proposer=proposer, sure_negative=0.9, inside_face=0.8, **only)
    assert len(every.crops["neg"]) == 3
    assert squares_of(some.crops["neg"]).tolist() == proposals[1:2]


def test_points_are_learned_in_crops_framed_as_the_nets_frame_them(images: list[SourceImage]) -> None:
    """A face that was proposed larger than its box is cut around the proposal; one that was not, around the box."""
    proposal = [16, 16, 64, 64]
    crops = mined(images[:1], 48, proposer=Proposer([proposal], [0.9]), landmark_squares=200).crops[
        "landmark"
    ]
    squares = squares_of(crops)
    centre = (squares[:, :2] + squares[:, 2:]) / 2
    around = centre[:, 0] < 80
    assert around.any() and (~around).any()
    assert (bx.iou(squares[around], np.array([proposal], np.float32)) >= 0.65).all()
    assert (bx.iou(squares[~around], np.array([[100, 40, 124, 70]], np.float32)) >= 0.65).all()
    assert squares[around, 2].mean() - squares[around, 0].mean() > 44


def test_a_real_cascade_proposes_and_repeats_itself(images: list[SourceImage]) -> None:
    net = build(Architecture("pnet"))
    net.initialise(torch.Generator().manual_seed(1))

    def crops() -> dict[str, bytes]:
        proposer = Detector([net], min_face=12, thresholds=[0.4])
        found = mined(images, 24, proposer=proposer)
        assert found.stats["proposals"] > 50
        return {name: pack_crops(part, "unit-0", name) for name, part in found.crops.items()}

    assert crops() == crops()
