"""Held-out metrics of one stage, over crops of images that training never saw.

Positive and negative accuracy are kept apart: always saying "no" is right on most crops and finds nothing.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcnn import boxes as bx
from mtcnn.nets import Net, Outputs, normalise
from mtcnn.shards import Crops, Manifest, read_crops
from mtcnn.store import Store
from mtcnn.training import distributed
from mtcnn.training.losses import SMOOTH

MOST_CROPS = 20_000
"""Held-out crops of a class that are looked at, at most."""
CHUNK = 1024
UNIT_SQUARE = np.array([[0, 0, 1, 1]], np.float32)


class HeldOut:
    """The held-out crops of a stage: read once, this rank's share."""

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.crops: dict[str, list[Crops]] = {}
        for name in ("pos", "part", "neg", "landmark"):
            left = MOST_CROPS // distributed.world()
            for row in manifest.shards(name, "val")[distributed.rank() :: distributed.world()]:
                if left <= 0:
                    break
                crops = _first(read_crops(store, row), left)
                left -= len(crops.images)
                self.crops.setdefault(name, []).append(crops)

    def measure(self, net: Net, device: torch.device) -> dict[str, float]:
        """Metrics of `net`, summed over all ranks.

        positive_accuracy and negative_accuracy at score 0.5; negative_accuracy_at_97: of negatives below the score
        that 97 % of the positives reach (over this rank's crops, averaged); box_iou_before and _after regression
        over positives and parts; landmark_error in eye distances; loss: what the choice of an epoch goes by.
        """
        net.eval()
        positive = self._scores(net, "pos", device)
        negative = self._scores(net, "neg", device)
        before, after, box_loss = self._boxes(net, device)
        error, landmark_loss = self._landmarks(net, device)
        cross_entropy = np.concatenate([-np.log(positive + 1e-9), -np.log(1 - negative + 1e-9)])
        low = negative < np.quantile(positive, 0.03) if len(positive) else np.zeros(0, bool)
        return _means(
            {
                "positive_accuracy": positive > 0.5,
                "negative_accuracy": negative <= 0.5,
                "negative_accuracy_at_97": low,
                "box_iou_before": before,
                "box_iou_after": after,
                "landmark_error": error,
                "class_loss": cross_entropy,
                "box_loss": box_loss,
                "landmark_loss": landmark_loss,
            },
            device,
        )

    def _outputs(self, net: Net, name: str, device: torch.device) -> Iterator[tuple[Crops, slice, Outputs]]:
        for crops in self.crops.get(name, []):
            for start in range(0, len(crops.images), CHUNK):
                rows = slice(start, start + CHUNK)
                with torch.inference_mode():
                    yield crops, rows, net(normalise(torch.from_numpy(crops.images[rows]).to(device)))

    def _scores(self, net: Net, name: str, device: torch.device) -> np.ndarray:
        scores = [
            F.softmax(out.logits.flatten(1), dim=1)[:, 1].cpu().numpy()
            for _, _, out in self._outputs(net, name, device)
        ]
        return np.concatenate([np.zeros(0, np.float32), *scores])

    def _boxes(self, net: Net, device: torch.device) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        before, after, loss = ([np.zeros(0, np.float32)] for _ in range(3))
        for name in ("pos", "part"):
            for crops, rows, out in self._outputs(net, name, device):
                squares = np.repeat(UNIT_SQUARE, len(out.offsets), axis=0)
                truth = bx.decode(squares, crops.boxes[rows])
                offsets = out.offsets.flatten(1).cpu()
                before.append(bx.paired_iou(squares, truth))
                after.append(bx.paired_iou(bx.decode(squares, offsets.numpy()), truth))
                loss.append(_smooth_each(offsets, crops.boxes[rows]))
        return np.concatenate(before), np.concatenate(after), np.concatenate(loss)

    def _landmarks(self, net: Net, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
        error, loss = ([np.zeros(0, np.float32)] for _ in range(2))
        if net.architecture.landmarks:
            for crops, rows, out in self._outputs(net, "landmark", device):
                assert out.landmarks is not None
                points = out.landmarks.flatten(1).cpu()
                truth = crops.landmarks[rows].reshape(-1, 5, 2)
                eyes = np.linalg.norm(truth[:, 0] - truth[:, 1], axis=1)
                distance = np.linalg.norm(points.numpy().reshape(-1, 5, 2) - truth, axis=2).mean(axis=1)
                error.append(distance / np.maximum(eyes, 1e-3))
                loss.append(_smooth_each(points, crops.landmarks[rows]))
        return np.concatenate(error), np.concatenate(loss)


def _smooth_each(predicted: Tensor, target: np.ndarray) -> np.ndarray:
    each = F.smooth_l1_loss(
        predicted, torch.from_numpy(np.ascontiguousarray(target)), beta=SMOOTH, reduction="none"
    )
    return each.sum(dim=1).numpy()


def _means(values: dict[str, np.ndarray], device: torch.device) -> dict[str, float]:
    sums = [[float(v.sum()), float(v.size)] for v in values.values()]
    # gloo and nccl both add float32; counts stay below 2**24 by MOST_CROPS.
    total = distributed.summed(torch.tensor(sums, device=device, dtype=torch.float32)).tolist()
    return {name: s / n for name, (s, n) in zip(values, total, strict=True) if n}


def _first(crops: Crops, count: int) -> Crops:
    return Crops(crops.images[:count], crops.boxes[:count], crops.landmarks[:count], crops.origin[:count])
