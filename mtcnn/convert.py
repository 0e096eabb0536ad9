"""Weights of other projects to ours and back: facenet-pytorch's three state dicts (the original authors' weights).

Its layers have the names of ours; its dense layers read the feature map as (width, height, channels), ours as
(channels, height, width); its points are x1 … x5 y1 … y5, ours x1 y1 … x5 y5. Normalisation ((x - 127.5) / 128, RGB) is
the same.
"""

import io
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from mtcnn.errors import WeightsError
from mtcnn.nets import STAGES, THRESHOLDS, Architecture, Net, Weights, build, read_tensors

FIRST_DENSE = {"rnet": ("dense4.weight", 64, 3), "onet": ("dense5.weight", 128, 3)}
"""The layer after the feature map: its name, and the map's channels and side."""
POINTS = "dense6_3."


def from_facenet_pytorch(data: bytes, stage: str, where: str) -> Weights:
    """Our weights from one of facenet-pytorch's files; `where` names it in errors (WeightsError)."""
    state = read_tensors(data, where)
    net = build(Architecture(stage, landmarks=stage == "onet"))
    try:
        net.load_state_dict(_reordered(state, stage, to_ours=True))
    except (RuntimeError, AttributeError, TypeError, KeyError) as error:
        cause = str(error).splitlines()[0][:120]
        raise WeightsError(f"{where}: not facenet-pytorch's {stage} ({cause})") from error
    net.check_slopes()
    net.eval()
    return Weights(net, THRESHOLDS[STAGES.index(stage)], resampling="area", about={"from": "facenet-pytorch"})


def to_facenet_pytorch(weights: Weights) -> bytes:
    """A file that facenet-pytorch loads. Raises WeightsError for variants that its nets do not have."""
    architecture = weights.net.architecture
    stage = architecture.stage
    if architecture.depthwise or architecture.landmarks != (stage == "onet"):
        raise WeightsError(
            f"{stage}: facenet-pytorch has no depthwise nets, and a landmark head in O-Net alone; these weights differ"
        )
    buffer = io.BytesIO()
    torch.save(_reordered(weights.net.state_dict(), stage, to_ours=False), buffer)
    return buffer.getvalue()


def to_onnx(weights: Weights) -> bytes:
    """An ONNX model: input `pixels` float32 (N, 3, H, W) normalised RGB, outputs `logits`, `offsets`, `landmarks`.

    N is dynamic, and for P-Net H and W are. Raises WeightsError where the export extra is not installed.
    """
    if find_spec("onnx") is None:
        raise WeightsError("writing ONNX needs the package onnx: pip install -e '.[export]'")
    net = weights.net
    size = net.size
    axes = {0: "batch", 2: "height", 3: "width"} if net.architecture.stage == "pnet" else {0: "batch"}
    names = ["logits", "offsets", *(["landmarks"] if net.architecture.landmarks else [])]
    buffer = io.BytesIO()
    # The exporter that reads the traced graph: the newer one needs one more package and gives the same model here.
    torch.onnx.export(
        _Named(net),
        (torch.zeros(2, 3, size, size),),
        buffer,  # type: ignore[arg-type]
        input_names=["pixels"],
        output_names=names,
        dynamic_axes={"pixels": axes} | dict.fromkeys(names, axes),
        opset_version=17,
        dynamo=False,
    )
    return buffer.getvalue()


class _Named(nn.Module):
    """A net whose outputs are only those that it has."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        return tuple(out for out in self.net(pixels) if out is not None)


def _reordered(state: dict[str, Tensor], stage: str, to_ours: bool) -> dict[str, Tensor]:
    state = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    if stage in FIRST_DENSE:
        name, channels, side = FIRST_DENSE[stage]
        outputs = len(state[name])
        shape = (outputs, side, side, channels) if to_ours else (outputs, channels, side, side)
        # (w, h, c) <-> (c, h, w): the first and the last axis change places both ways.
        state[name] = state[name].reshape(shape).permute(0, 3, 2, 1).reshape(outputs, -1).contiguous()
    for name in [name for name in state if name.startswith(POINTS)]:
        axes = (2, 5) if to_ours else (5, 2)
        state[name] = state[name].unflatten(0, axes).transpose(0, 1).flatten(0, 1).contiguous()
    return state
