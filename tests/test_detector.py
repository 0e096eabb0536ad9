"""The cascade against slow, plain versions of its steps, and with hand-made nets whose answers are known."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from mtcnn import Detector
from mtcnn import boxes as bx
from mtcnn.align import crop_aligned
from mtcnn.canvas import scales
from mtcnn.detector import Faces, load_weights
from mtcnn.errors import MissingKey, UserError, WeightsError
from mtcnn.host import LEVELS_APART
from mtcnn.image import Octaves
from mtcnn.nets import STAGES, Architecture, Net, Outputs, Weights, build, save
from mtcnn.peaks import peaks
from mtcnn.store import open_store


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def bright_pnet(offsets: tuple[float, ...] = (0, 0, 0, 0)) -> Net:
    """A P-Net that scores how bright the middle of its window is: sure of a face where it is white."""
    net = build(Architecture("pnet")).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        # Means of 3x3, through the three convolutions one channel wide.
        net.conv1.weight[0] = 1 / 27
        net.conv2.weight[0, 0] = 1 / 9
        net.conv3.weight[0, 0] = 1 / 9
        net.conv4_1.weight[1, 0] = 40
        net.conv4_1.bias[1] = -34
        net.conv4_2.bias[:] = torch.tensor(offsets)
    return net


class Says(Net):
    """A refining net that says the same of every crop, but for what `score` makes of the crops."""

    def __init__(self, stage: str, offsets=(0, 0, 0, 0), points=None, score=None) -> None:  # type: ignore[no-untyped-def]
        super().__init__(Architecture(stage, landmarks=points is not None))
        self.offsets, self.points = offsets, points
        self.score = score or (lambda x: torch.full((len(x),), 5.0))
        self.seen = 0

    def forward(self, x: torch.Tensor) -> Outputs:
        self.seen += len(x)
        logits = torch.stack([torch.zeros(len(x)), self.score(x)], dim=1)
        points = None if self.points is None else torch.tensor([self.points] * len(x))
        return Outputs(logits, torch.tensor([self.offsets] * len(x), dtype=torch.float32), points)


def scene(*squares: tuple[int, int, int], shape: tuple[int, int] = (160, 200)) -> np.ndarray:
    """White squares (x, y, side) on black."""
    rgb = np.zeros((*shape, 3), np.uint8)
    for x, y, side in squares:
        rgb[y : y + side, x : x + side] = 255
    return rgb


# P-Net's geometry


@pytest.mark.parametrize("min_face", [12, 20, 33])
@pytest.mark.parametrize("shape", [(160, 200), (151, 333), (1031, 777)])
def test_a_proposal_lies_on_what_the_net_saw(min_face: int, shape: tuple[int, int]) -> None:
    """Cell i of a level at `scale` is the window from 2i / scale to (2i + 12) / scale."""
    detector = Detector([bright_pnet()], min_face=min_face, thresholds=[0.9])
    side = 2 * min_face
    for x, y in [(20, 31), (shape[1] - side - 3, shape[0] - side - 2)]:
        faces = detector.detect(scene((x, y, side), shape=shape))
        assert len(faces.boxes)
        centre = (faces.boxes[:, :2] + faces.boxes[:, 2:]) / 2
        # Each is sure of its middle, so that has to lie within the square.
        assert (np.abs(centre - (x + side / 2, y + side / 2)) <= side / 2).all()
        truth = np.array([[x, y, x + side, y + side]], np.float32)
        assert bx.iou(faces.boxes, truth).max() > 0.55


def test_cells_of_the_image_itself_are_twelve_pixels_every_two() -> None:
    net = bright_pnet()
    rgb = scene((40, 60, 12), shape=(96, 120))
    found = Detector([net], min_face=12, factor=0.12, thresholds=[0.5]).detect(rgb)
    # The net written out: means of 3x3, maxima of 2x2, and means of 3x3 twice, cut off below 0.
    grey = (rgb[..., 0].astype(float) - 127.5) / 128
    first = np.maximum(means(grey), 0)
    rows, columns = first.shape[0] // 2, first.shape[1] // 2
    pooled = first.reshape(rows, 2, columns, 2).max(axis=(1, 3))
    score = 1 / (1 + np.exp(34 - 40 * means(np.maximum(means(pooled), 0))))
    best = np.unravel_index(score.argmax(), score.shape)
    assert found.scores[0] == pytest.approx(score.max(), abs=1e-3)
    row, column = best
    np.testing.assert_array_equal(found.boxes[0], [2 * column, 2 * row, 2 * column + 12, 2 * row + 12])
    np.testing.assert_array_equal(found.boxes[0], [40, 60, 52, 72])


def means(image: np.ndarray) -> np.ndarray:
    """Means over 3x3 pixels."""
    height, width = image.shape
    return sum(image[i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)) / 9


def test_offsets_are_shares_of_the_windows_side() -> None:
    rgb = scene((60, 60, 40))
    plain = Detector([bright_pnet()], thresholds=[0.9]).detect(rgb)
    moved = Detector([bright_pnet((0.1, -0.2, 0.3, 0.0))], thresholds=[0.9]).detect(rgb)
    side = (plain.boxes[:, 2] - plain.boxes[:, 0])[:, None]
    expected = plain.boxes + side * np.array([0.1, -0.2, 0.3, 0.0], np.float32)
    np.testing.assert_allclose(moved.boxes, expected, rtol=1e-4)
    np.testing.assert_array_equal(moved.scores, plain.scores)


def test_nothing_smaller_than_the_smallest_face_is_found() -> None:
    rgb = scene((30, 30, 12), (100, 60, 60))
    for min_face in (12, 25, 40):
        boxes = Detector([bright_pnet()], min_face=min_face, thresholds=[0.9]).detect(rgb).boxes
        assert (boxes[:, 2] - boxes[:, 0]).min() == pytest.approx(min_face, rel=0.07)


@pytest.mark.parametrize("seed", range(6))
def test_peaks_are_what_suppression_keeps_of_one_level(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Rounded, as engines in bfloat16 do: many neighbours are equal.
    margin = rng.normal(0, 1, (17, 23)).round(seed % 2).astype(np.float32)
    threshold = (0.3, 0.5, 0.7)[seed % 3]
    rows, columns = np.divmod(np.arange(margin.size), 23)
    cells = np.stack([columns * 2, rows * 2, columns * 2 + 12, rows * 2 + 12], axis=1).astype(np.float32)
    scores = 1 / (1 + np.exp(-margin.ravel()))
    over = np.flatnonzero(scores > threshold)
    kept = over[bx.nms(cells[over], scores[over], 0.5)]
    rows, columns = peaks(margin, threshold)
    assert (rows * 23 + columns).tolist() == sorted(kept)


@pytest.mark.parametrize("factor", [0.5, 0.709, LEVELS_APART])
def test_boxes_of_different_levels_need_no_suppression(factor: float) -> None:
    for shape in ((12, 300), (97, 211), (400, 301)):
        octaves = Octaves(np.zeros((*shape, 3), np.uint8))
        sides = [np.array(octaves.level(s)[1]) * 12 for s in scales(min(shape), 12, factor)]
        for larger, smaller in itertools.combinations(sides[::-1], 2):
            shared = np.minimum(larger, smaller).prod()
            assert shared / (larger.prod() + smaller.prod() - shared) < bx.STAGE_IOU


def test_peaks_of_the_outermost_thresholds_are_all_or_none() -> None:
    margin = np.array([[-50.0, -60, -70, -80, 50]], np.float32)
    assert peaks(margin, 0.0)[1].tolist() == [0, 2, 4]
    assert not len(peaks(margin, 1.0)[0])


# the stages after


def test_refining_nets_see_squares_and_their_answers_are_decoded_from_these() -> None:
    points = [0.3, 0.4, 0.7, 0.4, 0.5, 0.6, 0.35, 0.8, 0.65, 0.8]
    pnet, rnet = bright_pnet((0, 0, 0.5, 0)), Says("rnet")
    onet = Says("onet", offsets=(0.1, 0.1, -0.1, 0.0), points=points)
    detector = Detector([pnet, rnet, onet], thresholds=[0.9, 0.7, 0.7])
    stages = detector.trace(scene((60, 60, 40)))
    assert list(stages) == list(STAGES)
    assert np.isnan(stages["pnet"].landmarks).all() and np.isnan(stages["rnet"].landmarks).all()
    squares = stages["rnet"].boxes
    wide = stages["pnet"].boxes
    assert len(squares) and len(wide) == rnet.seen and len(squares) == onet.seen
    # R-Net leaves its squares as they are: whole pixels of an octave, around the wide proposals.
    np.testing.assert_allclose(squares[:, 2] - squares[:, 0], squares[:, 3] - squares[:, 1])
    assert (bx.iou(squares, bx.square(wide)).max(axis=1) > 0.85).all()
    for box, found in zip(stages["onet"].boxes, stages["onet"].landmarks, strict=True):
        x1, y1 = box[:2] - 0.1 * (box[2:] - box[:2]) / np.array([0.8, 0.9])
        side = (box[2] - box[0]) / 0.8
        # From the square that the net saw, not from the box that it made of it.
        expected = np.array(points).reshape(5, 2) * side + (x1, y1)
        np.testing.assert_allclose(found, expected, atol=0.02)


def test_each_stage_drops_what_does_not_reach_its_threshold() -> None:
    def redness(x: torch.Tensor) -> torch.Tensor:
        return 40 * (x[:, 0] - x[:, 2]).mean(dim=(1, 2)) - 5

    rgb = scene((20, 20, 40), (120, 90, 40))
    rgb[90:130, 120:160] = (255, 245, 225)
    proposals = Detector([bright_pnet()], thresholds=[0.2]).detect(rgb)
    both = Detector([bright_pnet(), Says("rnet", score=redness)], thresholds=[0.2, 0.6]).detect(rgb)
    assert proposals.boxes[:, 0].min() < 60
    assert len(both.boxes) and both.boxes[:, 0].min() > 80
    assert (both.scores > 0.6).all() and (np.diff(both.scores) <= 0).all()


def test_a_score_also_says_what_the_nets_before_thought_of_a_face() -> None:
    def margins(scores: np.ndarray) -> np.ndarray:
        return np.log(scores / (1 - scores.astype(np.float64)))

    rgb = scene((20, 20, 24))
    rgb[90:114, 120:144] = 235
    thresholds = [0.2, 0.7, 0.7]
    nets = [bright_pnet(), Says("rnet"), Says("onet", score=lambda x: torch.full((len(x),), 1.0))]
    proposals, refined, faces = Detector(nets, thresholds=thresholds).trace(rgb).values()
    first, second, third = (margins(stage.scores)[0] for stage in (proposals, refined, faces))
    np.testing.assert_allclose(
        [second, third], [(5 + 0.5 * first) / 1.5, (1 + 0.5 * second) / 1.5], atol=1e-3
    )
    # R-Net and O-Net say the same of both squares: the brighter is first by what P-Net thought.
    assert faces.boxes[0, 0] < 60 and faces.boxes[:, 0].max() > 100
    # Weights from elsewhere are used as they are there.
    theirs = Detector(nets, thresholds=thresholds, made_for="area").detect(rgb)
    np.testing.assert_allclose(margins(theirs.scores), 1, atol=1e-5)


def test_of_faces_that_overlap_by_half_one_is_left_and_one_within_another_stays() -> None:
    rgb = scene((40, 40, 80))
    nets = [bright_pnet(), Says("rnet"), Says("onet")]
    stages = Detector(nets, thresholds=[0.9, 0.7, 0.7]).trace(rgb)

    def pairs(faces: Faces) -> np.ndarray:
        return bx.iou(faces.boxes, faces.boxes) - np.eye(len(faces.boxes), dtype=np.float32)

    assert 0.5 < pairs(stages["rnet"]).max() <= 0.7
    assert pairs(stages["onet"]).max() <= 0.5
    within = bx.overlap_min(stages["onet"].boxes, stages["onet"].boxes)
    assert (within - np.eye(len(within))).max() > 0.7


def test_proposals_are_bounded_best_first() -> None:
    rng = np.random.default_rng(4)
    rgb = rng.integers(0, 256, (120, 160, 3), dtype=np.uint8)
    net = build(Architecture("pnet"))
    net.initialise(torch.Generator().manual_seed(1))
    many = Detector([net], thresholds=[0.0]).detect(rgb)
    few = Detector([net], thresholds=[0.0], max_proposals=50).detect(rgb)
    assert len(many.boxes) > 50 >= len(few.boxes) > 5
    assert few.scores[0] == many.scores[0] and (np.diff(few.scores) <= 0).all()


def test_boxes_thrown_out_of_the_image_go_no_further() -> None:
    rnet = Says("rnet")
    faces = Detector([bright_pnet((9, 0, 9, 0)), rnet], thresholds=[0.9, 0.5]).detect(scene((60, 60, 40)))
    assert len(faces.boxes) == 0 and rnet.seen == 0


def test_mining_is_given_the_squares_that_the_next_net_would_see() -> None:
    detector = Detector([bright_pnet((0, 0, 0.5, 0))], thresholds=[0.9])
    octaves = Octaves(scene((60, 60, 40)))
    proposed = detector.propose(octaves)
    np.testing.assert_array_equal(proposed.boxes, bx.square(detector.detect(octaves.levels[0]).boxes))


# what users do with it


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with three untrained nets."""
    store = open_store(str(tmp_path_factory.mktemp("weights")))
    for number, stage in enumerate(STAGES):
        net = build(Architecture(stage, landmarks=stage == "onet"))
        net.initialise(torch.Generator().manual_seed(number))
        store.put(f"{stage}.pt", save(Weights(net)))
    return store.url


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 300), (300, 1), (11, 40), (12, 12), (13, 29), (20, 20), (97, 61)]
)
def test_images_of_any_size_are_looked_at(folder: str, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (*shape, 3), dtype=np.uint8)
    faces = Detector.load(folder, min_face=12, thresholds=(0.3, 0.3, 0.3), engine="torch").detect(rgb)
    count = len(faces.boxes)
    assert faces.boxes.shape == (count, 4) and faces.landmarks.shape == (count, 5, 2)
    assert {array.dtype for array in faces} == {np.dtype(np.float32)}
    if min(shape) < 12:
        assert count == 0


def test_a_batch_is_its_images_one_by_one(folder: str) -> None:
    rng = np.random.default_rng(6)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in [(40, 60, 3), (64, 30, 3), (5, 5, 3)]]
    detector = Detector.load(folder, thresholds=(0.4, 0.4, 0.4), engine="torch")
    for alone, together in zip(map(detector.detect, images), detector.detect_batch(images), strict=True):
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_array_equal(one, other)
    last = detector.trace(images[0])["onet"]
    np.testing.assert_array_equal(last.boxes, detector.detect(images[0]).boxes)
    assert list(detector.timings) == list(STAGES) and min(detector.timings.values()) >= 0


def test_faces_are_cut_for_recognition_by_their_points(folder: str) -> None:
    detector = Detector.load(folder, thresholds=(0, 0, 0), engine="torch")
    rgb = np.random.default_rng(3).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    faces = detector.detect(rgb)
    crops = detector.crop_faces(rgb, faces)
    assert len(crops) == len(faces.boxes) > 0 and crops.shape[1:] == (112, 112, 3)
    np.testing.assert_array_equal(crops, crop_aligned(rgb, faces.landmarks))


def test_very_large_images_are_looked_at_in_bands(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rgb = np.random.default_rng(7).integers(0, 256, (130, 90, 3), dtype=np.uint8)
    nets = [w.net for w in load_weights(folder, ["pnet"])]
    detector = Detector(nets, min_face=12, thresholds=[0.4])
    whole = detector.detect(rgb)
    monkeypatch.setattr("mtcnn.host.BAND", 1000)
    bands = detector.detect(rgb)
    assert len(whole.boxes) > 20
    assert_same(bands, whole)


def test_more_crops_than_a_chunk_are_looked_at_in_chunks(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(8)
    rgb = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    detector = Detector.load(folder, thresholds=(0.3, 0.3, 0.3), engine="torch")
    whole = detector.detect(rgb)
    monkeypatch.setattr("mtcnn.host.CHUNK", 7)
    assert len(whole.boxes) > 7
    assert_same(detector.detect(rgb), whole)


def assert_same(one: Faces, other: Faces) -> None:
    """The same faces; of scores that differ by a rounding the order may differ."""
    assert len(one.boxes) == len(other.boxes)
    order, like = (np.lexsort(np.round(faces.boxes, 2).T) for faces in (one, other))
    np.testing.assert_allclose(one.boxes[order], other.boxes[like], atol=2e-2)
    np.testing.assert_allclose(one.scores[order], other.scores[like], atol=1e-4)


def test_weights_that_count_pixels_from_1_do_so_in_the_fast_cascade_too() -> None:
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[20:44, 30:54] = 255
    nets = [bright_pnet(), Says("rnet"), Says("onet", points=(0.5,) * 10)]
    ours = Detector(nets, min_face=20).detect(rgb)
    theirs = Detector(nets, min_face=20, made_for="area").detect(rgb)
    assert len(ours.boxes) > 0
    assert np.array_equal(theirs.boxes, ours.boxes + 1) and np.array_equal(
        theirs.landmarks, ours.landmarks + 1
    )


def test_weights_that_are_missing_or_swapped_are_named(folder: str, tmp_path: Path) -> None:
    with pytest.raises(MissingKey, match="pnet.pt"):
        Detector.load(str(tmp_path))
    for stage in STAGES:
        (tmp_path / f"{stage}.pt").write_bytes((Path(folder) / "rnet.pt").read_bytes())
    with pytest.raises(WeightsError, match=f"{tmp_path}/pnet.pt: holds rnet, where pnet is needed"):
        load_weights(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factor": 1.0}, "factor 1.0 must lie between"),
        ({"factor": 0.05}, "factor 0.05 must lie between"),
        ({"min_face": 0}, "min_face 0 above 0"),
        ({"device": "gpu"}, "device 'gpu' is not one of cpu, cuda"),
        ({"thresholds": (0.6, 0.7)}, "thresholds 0.6 0.7: one for each of 3 nets"),
        (
            {"thresholds": (0.6, 0.7, 7)},
            "thresholds 0.6 0.7 7: one for each of 3 nets is needed, from 0 to 1",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(folder: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Detector.load(folder, **options)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_missed(folder: str) -> None:
    with pytest.raises(UserError, match="no usable CUDA GPU: use device 'cpu'"):
        Detector.load(folder, device="cuda")
