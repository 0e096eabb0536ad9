"""A setting so small that every path of the benchmark runs in seconds, and nets that have learned nothing."""

from pathlib import Path

import pytest
import torch

from mtcnn.bench.data import Setting
from mtcnn.nets import STAGES, Architecture, Weights, build, save


@pytest.fixture
def threads():
    """Thread counts as they were, after a benchmark that sets them."""
    import cv2

    before = torch.get_num_threads(), cv2.getNumThreads()
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.fixture
def tiny(tmp_path: Path, threads: None) -> Setting:
    """One round on two scenes."""
    folder = tmp_path / "nets"
    folder.mkdir()
    for number, stage in enumerate(STAGES):
        net = build(Architecture(stage, landmarks=stage == "onet"))
        net.initialise(torch.Generator().manual_seed(number))
        (folder / f"{stage}.pt").write_bytes(save(Weights(net, threshold=0.9)))
    return Setting(tmp_path / "scratch", weights=str(folder), repeats=1, seconds=0, images=2, scale=0.01)
