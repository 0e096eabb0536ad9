"""Held-out metrics against counting crop by crop."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from mtcnn.nets import Architecture, Net, Outputs, build, normalise
from mtcnn.shards import read_crops, read_manifest
from mtcnn.store import Store
from mtcnn.training.metrics import HeldOut


def untrained(landmarks: bool = True) -> Net:
    net = build(Architecture("pnet", landmarks=landmarks))
    net.initialise(torch.Generator().manual_seed(2))
    return net


def measured(store: Store, net: Net) -> dict[str, float]:
    return HeldOut(store, read_manifest(store)).measure(net, torch.device("cpu"))


def said(store: Store, net: Net, cls: str) -> tuple[Outputs, np.ndarray, np.ndarray]:
    """What a net says of the held-out crops of a class, and their targets."""
    (row,) = read_manifest(store).shards(cls, "val")
    crops = read_crops(store, row)
    with torch.inference_mode():
        out = net(normalise(torch.from_numpy(crops.images.copy())))
    return Outputs(*(None if o is None else o.flatten(1) for o in out)), crops.boxes, crops.landmarks  # type: ignore[arg-type]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    extent = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    areas = [max(box[2] - box[0], 0) * max(box[3] - box[1], 0) for box in (a, b)]
    return float(extent.prod() / (sum(areas) - extent.prod()))


def test_positives_and_negatives_are_counted_apart(mined: Callable[..., Store]) -> None:
    store, net = mined("pos", "part", "neg"), untrained(False)
    scores = {
        cls: torch.softmax(said(store, net, cls)[0].logits, dim=1)[:, 1].numpy() for cls in ("pos", "neg")
    }
    found = measured(store, net)
    assert found["positive_accuracy"] == pytest.approx(np.mean([score > 0.5 for score in scores["pos"]]))
    assert found["negative_accuracy"] == pytest.approx(np.mean([score <= 0.5 for score in scores["neg"]]))
    at_97 = np.quantile(scores["pos"], 0.03)
    assert found["negative_accuracy_at_97"] == pytest.approx((scores["neg"] < at_97).mean())
    entropy = np.concatenate([-np.log(scores["pos"]), -np.log(1 - scores["neg"])])
    assert found["class_loss"] == pytest.approx(entropy.mean(), rel=1e-4)
    assert "landmark_error" not in found


def test_box_iou_before_and_after_regression(mined: Callable[..., Store]) -> None:
    store, net = mined("pos", "part", "neg"), untrained(False)
    square = np.array([0, 0, 1, 1], np.float32)
    before, after = [], []
    for cls in ("pos", "part"):
        out, boxes, _ = said(store, net, cls)
        for offsets, target in zip(out.offsets.numpy(), boxes, strict=True):
            before.append(iou(square, square + target))
            after.append(iou(square + offsets, square + target))
    found = measured(store, net)
    assert found["box_iou_before"] == pytest.approx(np.mean(before), rel=1e-4)
    assert found["box_iou_after"] == pytest.approx(np.mean(after), rel=1e-4)


def test_points_are_measured_in_distances_of_the_eyes(mined: Callable[..., Store]) -> None:
    store, net = mined("pos", "part", "neg", "landmark"), untrained()
    out, _, targets = said(store, net, "landmark")
    assert out.landmarks is not None
    errors = []
    for points, truth in zip(out.landmarks.numpy().reshape(-1, 5, 2), targets.reshape(-1, 5, 2), strict=True):
        distances = [np.hypot(*(point - known)) for point, known in zip(points, truth, strict=True)]
        errors.append(np.mean(distances) / np.hypot(*(truth[0] - truth[1])))
    assert measured(store, net)["landmark_error"] == pytest.approx(np.mean(errors), rel=1e-4)


def test_what_nobody_held_out_is_not_measured(mined: Callable[..., Store]) -> None:
    assert set(measured(mined("neg"), untrained())) == {"negative_accuracy", "class_loss"}
