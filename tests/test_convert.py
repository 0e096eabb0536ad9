"""facenet-pytorch's files to ours and back, checked against its forward pass written out here."""

import dataclasses
import io

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mtcnn import Detector
from mtcnn.convert import from_facenet_pytorch, to_facenet_pytorch, to_onnx
from mtcnn.engine import Seen
from mtcnn.errors import WeightsError
from mtcnn.nets import SIZES, STAGES, Architecture, Weights, build

# Name: outputs, inputs of a layer, and the side of its kernel (0: dense).
LAYERS = {
    "pnet": {
        "conv1": (10, 3, 3), "conv2": (16, 10, 3), "conv3": (32, 16, 3), "conv4_1": (2, 32, 1), "conv4_2": (4, 32, 1),
    },
    "rnet": {
        "conv1": (28, 3, 3), "conv2": (48, 28, 3), "conv3": (64, 48, 2),
        "dense4": (128, 576, 0), "dense5_1": (2, 128, 0), "dense5_2": (4, 128, 0),
    },
    "onet": {
        "conv1": (32, 3, 3), "conv2": (64, 32, 3), "conv3": (64, 64, 3), "conv4": (128, 64, 2),
        "dense5": (256, 1152, 0), "dense6_1": (2, 256, 0), "dense6_2": (4, 256, 0), "dense6_3": (10, 256, 0),
    },
}  # fmt: skip
PRELUS = {"pnet": 3, "rnet": 4, "onet": 5}
POOLS = {"pnet": [2], "rnet": [3, 3], "onet": [3, 3, 2]}

State = dict[str, Tensor]


def their_state(stage: str) -> State:
    """Random weights under facenet-pytorch's names; slopes of both signs, as in the original ones."""
    generator = torch.Generator().manual_seed(5)
    state = {}
    for name, (outputs, inputs, kernel) in LAYERS[stage].items():
        shape = (outputs, inputs, kernel, kernel) if kernel else (outputs, inputs)
        fan_in = inputs * max(kernel, 1) ** 2
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
        state[f"{name}.bias"] = torch.randn(outputs, generator=generator) * 0.1
    for number, outputs in enumerate([v[0] for v in LAYERS[stage].values()][: PRELUS[stage]], start=1):
        state[f"prelu{number}.weight"] = torch.rand(outputs, generator=generator) - 0.3
    return state


def their_outputs(stage: str, state: State, x: Tensor) -> list[Tensor]:
    """facenet-pytorch's `forward`: its dense layers read maps transposed to (width, height, channels)."""
    names = list(LAYERS[stage])
    for number, name in enumerate(names[: PRELUS[stage]], start=1):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        if weight.ndim == 2:
            x = x.permute(0, 3, 2, 1).contiguous().view(x.shape[0], -1)
            x = F.linear(x, weight, bias)
        else:
            x = F.conv2d(x, weight, bias)
        x = F.prelu(x, state[f"prelu{number}.weight"])
        if number <= len(POOLS[stage]):
            x = F.max_pool2d(x, POOLS[stage][number - 1], 2, ceil_mode=True)
    heads = []
    for name in names[PRELUS[stage] :]:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        heads.append(F.linear(x, weight, bias) if weight.ndim == 2 else F.conv2d(x, weight, bias))
    return heads


def file_of(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("stage", STAGES)
def test_their_weights_in_our_nets_say_what_their_nets_say(stage: str) -> None:
    state = their_state(stage)
    net = from_facenet_pytorch(file_of(state), stage, "x.pt").net
    side = SIZES[stage]
    x = torch.randn((3, 3, side, side), generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        ours, theirs = net(x), their_outputs(stage, state, x)
    torch.testing.assert_close(ours.logits, theirs[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours.offsets, theirs[1], rtol=1e-4, atol=1e-5)
    if stage == "onet":
        assert ours.landmarks is not None
        # Theirs are x1 ... x5 y1 ... y5.
        points = torch.stack([theirs[2][:, :5], theirs[2][:, 5:]], dim=2).flatten(1)
        torch.testing.assert_close(ours.landmarks, points, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", STAGES)
def test_there_and_back_is_the_same_to_the_bit(stage: str) -> None:
    state = their_state(stage)
    data = to_facenet_pytorch(from_facenet_pytorch(file_of(state), stage, "x.pt"))
    again = torch.load(io.BytesIO(data), weights_only=True)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)


@pytest.mark.parametrize(
    "architecture",
    [Architecture("pnet", depthwise=True), Architecture("rnet", landmarks=True), Architecture("onet")],
)
def test_variants_that_they_do_not_have_are_refused(architecture: Architecture) -> None:
    with pytest.raises(
        WeightsError, match="facenet-pytorch has no depthwise nets, and a landmark head in O-Net"
    ):
        to_facenet_pytorch(Weights(build(architecture)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"rubbish",
        file_of(their_state("rnet"))[:900],
        file_of({}),
        file_of([1, 2]),
        file_of({"conv1.weight": 1}),
        file_of(their_state("rnet")),
    ],
)
def test_what_is_not_theirs_is_refused_by_name(data: bytes) -> None:
    with pytest.raises(WeightsError, match=r"^there/onet\.pt: (damaged|not facenet-pytorch's onet)"):
        from_facenet_pytorch(data, "onet", "there/onet.pt")


def test_the_cascade_finds_the_same_faces_through_onnx_runtime() -> None:
    """The three files with images of several sizes and any number of crops."""
    pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    nets = [build(Architecture(stage, landmarks=stage == "onet")).eval() for stage in STAGES]
    for number, net in enumerate(nets):
        net.initialise(torch.Generator().manual_seed(number))
        with torch.no_grad():
            # Untrained, boxes would fly apart.
            getattr(net, ("conv4_2", "dense5_2", "dense6_2")[number]).weight *= 0.1

    def through_onnx(data: bytes):  # type: ignore[no-untyped-def]
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

        def look(pixels: np.ndarray) -> Seen:
            x = (pixels.transpose(0, 3, 1, 2).astype(np.float32) - 127.5) / 128
            logits, offsets, *points = map(torch.from_numpy, session.run(None, {"pixels": x}))
            return Seen(logits[:, 1] - logits[:, 0], offsets, points[0] if points else None)

        return look

    plain, other = (Detector(nets, thresholds=(0.4, 0.3, 0.3)) for _ in range(2))
    engines = [through_onnx(to_onnx(Weights(net))) for net in nets]
    other._on_host = dataclasses.replace(other._on_host, engines=engines)
    for shape in [(50, 70, 3), (64, 41, 3)]:
        rgb = np.random.default_rng(9).integers(0, 256, shape, dtype=np.uint8)
        ours, theirs = plain.detect(rgb), other.detect(rgb)
        assert len(ours.boxes) > 3
        for one, two in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-3, atol=2e-2)
