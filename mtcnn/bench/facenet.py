"""facenet-pytorch's own detector with the same weights and settings, where it is installed and has such nets."""

import io
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec

import torch

from mtcnn.bench.measure import Work
from mtcnn.convert import to_facenet_pytorch
from mtcnn.errors import WeightsError
from mtcnn.image import Pixels
from mtcnn.nets import STAGES, Weights


def facenet(
    weights: Sequence[Weights],
    images: list[Pixels],
    min_face: float,
    factor: float,
    thresholds: Sequence[float],
    device: str,
) -> Work | None:
    """The work of detecting in `images` one by one, as sizes differ; None where it can't be done."""
    if find_spec("facenet_pytorch") is None or len(weights) < len(STAGES):
        return None
    try:
        files = [to_facenet_pytorch(w) for w in weights]
    except WeightsError:
        return None
    # Its package imports more than its detector needs.
    detector = import_module("facenet_pytorch.models.mtcnn").MTCNN(
        min_face_size=min_face,
        factor=factor,
        thresholds=list(thresholds),
        keep_all=True,
        device=torch.device(device),
    )
    for stage, data in zip(STAGES, files, strict=True):
        getattr(detector, stage).load_state_dict(torch.load(io.BytesIO(data), weights_only=True))

    def work() -> float:
        for rgb in images:
            detector.detect(rgb, landmarks=True)
        return len(images)

    return work
