"""Losses against loops over crops, written as the paper says them."""

import math

import numpy as np
import pytest
import torch

from mtcnn.config import Training
from mtcnn.nets import Outputs
from mtcnn.training.losses import SMOOTH, Blocks, blocks, losses

PARTS = Blocks(pos=4, part=3, neg=9, landmark=5)


def random_batch(landmarks: bool = True) -> tuple[Outputs, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int, scale: float = 1.0) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * scale

    total = PARTS.total
    # As P-Net gives them: with two axes of cells.
    out = Outputs(
        normal(total, 2, 1, 1, scale=2), normal(total, 4, 1, 1, scale=0.1),
        normal(total, 10, 1, 1, scale=0.1) if landmarks else None,
    )  # fmt: skip
    return out, normal(total, 4, scale=0.1), normal(total, 10, scale=0.1)


def cross_entropy(logits: np.ndarray, truth: int) -> float:
    """Minus the logarithm of the softmax's share of the truth."""
    shares = np.exp(logits - logits.max())
    return float(-np.log(shares[truth] / shares.sum()))


def smooth(difference: float) -> float:
    size = abs(difference)
    return 0.5 * size * size / SMOOTH if size < SMOOTH else size - 0.5 * SMOOTH


@pytest.mark.parametrize("hard_share", [0.7, 0.35, 1.0])
def test_only_the_worst_classifications_count(hard_share: float) -> None:
    out, boxes, points = random_batch()
    logits = out.logits.flatten(1).numpy()
    each = [cross_entropy(logits[i], 1) for i in range(4)] + [
        cross_entropy(logits[i], 0) for i in range(7, 16)
    ]
    worst = sorted(each, reverse=True)[: math.floor(13 * hard_share + 1e-9)]
    found = losses(out, boxes, points, PARTS, Training(hard_share=hard_share))
    assert found.classification.item() == pytest.approx(sum(worst) / len(worst), rel=1e-5)


def test_boxes_are_learned_from_positives_and_parts_points_from_landmark_crops() -> None:
    out, boxes, points = random_batch()
    found = losses(out, boxes, points, PARTS, Training())
    offsets = out.offsets.flatten(1)
    box = [sum(smooth(float(offsets[i, k] - boxes[i, k])) for k in range(4)) for i in range(7)]
    assert found.box.item() == pytest.approx(np.mean(box), rel=1e-5)
    assert out.landmarks is not None
    said = out.landmarks.flatten(1)
    point = [sum(smooth(float(said[i, k] - points[i, k])) for k in range(10)) for i in range(16, 21)]
    assert found.landmark.item() == pytest.approx(np.mean(point), rel=1e-5)


def test_the_total_is_weighted() -> None:
    options = Training(class_weight=0.8, box_weight=0.6, landmark_weight=1.5)
    found = losses(*random_batch(), PARTS, options)
    expected = 0.8 * found.classification + 0.6 * found.box + 1.5 * found.landmark
    torch.testing.assert_close(found.total, expected)


def test_without_a_head_there_is_no_loss_of_points() -> None:
    found = losses(*random_batch(landmarks=False), PARTS, Training())
    assert found.landmark == 0 and math.isfinite(found.total.item())


def test_a_crop_teaches_only_what_it_knows() -> None:
    """Gradients: parts and landmark crops say nothing of classes, negatives nothing of boxes."""
    out, boxes, points = random_batch()
    for tensor in out:
        tensor.requires_grad_()
    losses(out, boxes, points, PARTS, Training(hard_share=1.0)).total.backward()
    taught = [tensor.grad.flatten(1).abs().sum(dim=1) > 0 for tensor in out]
    crops = np.repeat(["pos", "part", "neg", "landmark"], [4, 3, 9, 5])
    assert taught[0].tolist() == np.isin(crops, ["pos", "neg"]).tolist()
    assert taught[1].tolist() == np.isin(crops, ["pos", "part"]).tolist()
    assert taught[2].tolist() == (crops == "landmark").tolist()


@pytest.mark.parametrize(
    ("options", "landmarks", "expected"),
    [
        (Training(batch_size=700), True, Blocks(100, 100, 300, 200)),
        (Training(batch_size=500), False, Blocks(100, 100, 300, 0)),
        (Training(batch_size=512), False, Blocks(102, 102, 308, 0)),
        (Training(batch_size=100, parts=0), False, Blocks(25, 0, 75, 0)),
        (Training(batch_size=7), True, Blocks(1, 1, 3, 2)),
    ],
)
def test_batches_are_composed_by_the_shares(options: Training, landmarks: bool, expected: Blocks) -> None:
    found = blocks(options, landmarks)
    assert found == expected and found.total == options.batch_size
    assert found.sizes() == {k: v for k, v in vars(expected).items() if v}
