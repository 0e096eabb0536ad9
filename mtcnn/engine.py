"""Ways to run a net on pixels: PyTorch always, OpenVINO where it is installed, which is faster on CPUs.

An engine is a function from uint8 pixels (N, H, W, 3) to what the net says of them, `Seen`.
"""

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mtcnn.errors import UserError
from mtcnn.image import Pixels
from mtcnn.nets import Net, normalise

EngineName = Literal["auto", "torch", "openvino"]
BATCH_OF = 8
"""Crops for OpenVINO are filled up to a multiple of this: it gets ready anew for every number it meets."""
PIECE = 64
"""Crops for a thread of OpenVINO at once, a multiple of BATCH_OF: what lies between the layers of R-Net then stays in a
core's cache, which takes a sixth less time than 512."""


class Seen(NamedTuple):
    """Margins (N,), how much more a face than not (logits); offsets (N, 4); landmarks (N, 10) or None.

    Of P-Net over images: margins (N, rows, columns), offsets (N, 4, rows, columns).
    """

    margins: Tensor
    offsets: Tensor
    landmarks: Tensor | None


Engine = Callable[[Pixels], Seen]


def chosen(name: EngineName, device: torch.device) -> Literal["torch", "openvino"]:
    """The engine that `name` means here: "auto" is OpenVINO on a CPU where it is installed. Raises UserError."""
    there = find_spec("openvino") is not None
    if name == "auto":
        return "openvino" if there and device.type == "cpu" else "torch"
    if name == "openvino" and device.type != "cpu":
        raise UserError(f"engine 'openvino' runs on device 'cpu', not '{device}'")
    if name == "openvino" and not there:
        raise UserError("engine 'openvino' needs the package openvino: pip install openvino")
    return name


def engine(name: Literal["torch", "openvino"], net: Net) -> Engine:
    """`net` ready to look at pixels on a CPU, with as many threads as PyTorch has now."""
    if name == "openvino":
        return _openvino(net)
    return lambda pixels: ask(net, torch.from_numpy(pixels))


def ask(net: Net, pixels: Tensor) -> Seen:
    """What `net` says of uint8 pixels (N, H, W, 3) on its device; by PyTorch, in half precision on CUDA."""
    x = normalise(pixels)
    # Finer than the bfloat16 of the other engine.
    with torch.autocast(pixels.device.type, torch.float16, enabled=pixels.device.type == "cuda"):
        seen = _Graph.answers(net, x)
    return Seen(*(None if part is None else part.float() for part in seen))  # type: ignore[arg-type]


class _Graph(nn.Module):
    """A net from pixels to what is needed of its outputs, as a graph to convert."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        x = (pixels.permute(0, 3, 1, 2).to(torch.float32) - 127.5) * (1 / 128)
        return tuple(part for part in self.answers(self.net, x) if part is not None)

    @staticmethod
    def answers(net: Net, x: Tensor) -> Seen:
        out = net(x)
        return Seen(out.logits[:, 1] - out.logits[:, 0], out.offsets, out.landmarks)


def _openvino(net: Net) -> Engine:
    openvino: Any = import_module("openvino")
    size, stage = net.size, net.architecture.stage
    with torch.no_grad(), warnings.catch_warnings():
        # It traces with what PyTorch calls deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        example = torch.zeros((2, size, size, 3), dtype=torch.uint8)
        graph = openvino.convert_model(_Graph(net).eval(), example_input=example)
    graph.reshape([-1, -1, -1, 3] if stage == "pnet" else [-1, size, size, 3])
    core = openvino.Core()
    # bfloat16 cost 0.003 AP of 0.847 on 300 photos, and takes two thirds of the time.
    half = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    options = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        # Workers side by side would all be pinned to the first cores.
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": "bf16" if half else "f32",
    }
    compiled = core.compile_model(graph, "CPU", options)
    piece = PIECE * torch.get_num_threads()

    def infer(pixels: Pixels) -> list[Tensor]:
        results = compiled({0: pixels}, share_inputs=True)
        return [torch.from_numpy(results[i]) for i in range(len(results))]

    def look(pixels: Pixels) -> Seen:
        if stage == "pnet":
            seen = infer(pixels)
        else:
            count = len(pixels)
            if count % BATCH_OF:
                filling = np.zeros((-count % BATCH_OF, *pixels.shape[1:]), np.uint8)
                pixels = np.concatenate([pixels, filling])
            pieces = [infer(pixels[start : start + piece]) for start in range(0, len(pixels), piece)]
            seen = [torch.cat(part)[:count] for part in zip(*pieces, strict=True)]
        margins, offsets, *points = seen
        return Seen(margins, offsets, points[0] if points else None)

    return look
