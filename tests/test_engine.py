"""Engines say the same of the same pixels."""

import numpy as np
import pytest
import torch

from mtcnn.engine import chosen, engine
from mtcnn.errors import UserError
from mtcnn.nets import SIZES, STAGES, Architecture, build

CPU = torch.device("cpu")


@pytest.mark.parametrize("stage", STAGES)
def test_openvino_says_what_pytorch_says(stage: str) -> None:
    pytest.importorskip("openvino")
    net = build(Architecture(stage, landmarks=stage == "onet")).eval()
    net.initialise(torch.Generator().manual_seed(3))
    fast, plain = (engine(name, net) for name in ("openvino", "torch"))
    side = SIZES[stage]
    for count in (1, 8, 11):
        shape = (1, 20 + 2 * count, 40, 3) if stage == "pnet" else (count, side, side, 3)
        pixels = np.random.default_rng(count).integers(0, 256, shape, dtype=np.uint8)
        with torch.inference_mode():
            ours, theirs = fast(pixels), plain(pixels)
        assert ours.margins.shape == theirs.margins.shape
        # bfloat16 has eight bits, where the machine has it.
        scale = float(theirs.offsets.abs().max())
        torch.testing.assert_close(ours.offsets, theirs.offsets, atol=0.03 * scale, rtol=0)
        torch.testing.assert_close(ours.margins, theirs.margins, atol=0.03 * max(scale, 1), rtol=0.03)
        assert (ours.landmarks is None) == (theirs.landmarks is None)


def test_an_engine_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtcnn.engine.find_spec", lambda name: None)
    assert chosen("auto", CPU) == "torch"
    with pytest.raises(UserError, match="engine 'openvino' needs the package openvino"):
        chosen("openvino", CPU)
    monkeypatch.setattr("mtcnn.engine.find_spec", lambda name: object())
    assert chosen("auto", CPU) == "openvino"
    assert chosen("auto", torch.device("cuda")) == "torch"
    with pytest.raises(UserError, match="engine 'openvino' runs on device 'cpu', not 'cuda'"):
        chosen("openvino", torch.device("cuda"))
