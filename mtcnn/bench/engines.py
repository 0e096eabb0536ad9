"""Ways to run a net and nothing else, on pixels that are ready in a fixed shape: the limit of whatever proposes crops.

P-Net looks at one canvas that has as many pixels as the levels of an image's pyramid.
"""

import logging
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from mtcnn.canvas import CELL
from mtcnn.convert import to_onnx
from mtcnn.nets import Weights

log = logging.getLogger(__name__)

Run = Callable[[], None]
PROBES = 3


def pyramid_pixels(width: int, height: int, min_face: float, factor: float) -> int:
    """Pixels of all levels of the pyramid of an image of `width` x `height`."""
    scale, pixels = CELL / min_face, 0
    while min(width, height) * scale >= CELL:
        pixels += round(width * scale) * round(height * scale)
        scale *= factor
    return pixels


def canvas_shape(sizes: Sequence[tuple[int, int]], min_face: float, factor: float) -> tuple[int, int]:
    """Height and width, 3:4, of a canvas with the mean pixels of the pyramids of images of `sizes` (width, height)."""
    pixels = float(np.mean([pyramid_pixels(w, h, min_face, factor) for w, h in sizes]))
    height = max(round((pixels * 0.75) ** 0.5), CELL)
    return height, max(round(pixels / height), CELL)


def engines(weights: Weights, shape: tuple[int, ...], device: str, threads: int) -> dict[str, Run]:
    """Every engine that runs here, by name, warmed up: a call looks at pixels of `shape` (count, height, width).

    PyTorch's own thread count is the caller's to set. torch.compile is not among them: it takes up to minutes to get
    ready and was not 10 % faster than eager mode here.
    """
    count, *sides = shape
    pixels = torch.rand((count, 3, *sides), generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = {"eager": _torch(weights.net, pixels, device)}
    if device.startswith("cuda"):
        found["eager half"] = _torch(weights.net, pixels, device, torch.float16)
    elif find_spec("onnx") is not None:
        if find_spec("onnxruntime") is not None:
            found["onnxruntime"] = _onnxruntime(to_onnx(weights), pixels.numpy(), threads)
        if find_spec("openvino") is not None:
            found["openvino"] = _openvino(to_onnx(weights), pixels.numpy(), threads)
    for run in found.values():
        run()
    return found


def fastest(found: dict[str, Run], device: str) -> str:
    """Name of the engine that takes least at its best: the shortest of a few runs is nearest to an idle machine.

    On a CPU by the CPU time it takes, which other people's load does not lengthen: all have the same threads.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    best = {name: min(_seconds(run, clock) for _ in range(PROBES)) for name, run in found.items()}
    log.info("nets alone: %s", ", ".join(f"{n} {1e3 * s:.1f} ms" for n, s in best.items()))
    return min(best, key=lambda name: best[name])


def synchronise(device: str) -> None:
    """Wait for what a GPU was given to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _torch(net: Any, pixels: torch.Tensor, device: str, dtype: torch.dtype = torch.float32) -> Run:
    x = pixels.to(device, dtype, memory_format=torch.channels_last)
    net = net.to(device)

    def run() -> None:
        with torch.inference_mode(), torch.autocast(device.split(":")[0], dtype, dtype != torch.float32):
            net(x)
        synchronise(device)

    return run


def _onnxruntime(model: bytes, pixels: np.ndarray, threads: int) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Threads that spin while they wait would be counted as work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def run() -> None:
        session.run(None, {"pixels": pixels})

    return run


def _openvino(model: bytes, pixels: np.ndarray, threads: int) -> Run:
    openvino = import_module("openvino")  # an optional engine, that few machines have
    core = openvino.Core()
    graph = core.read_model(model)
    graph.reshape(list(pixels.shape))
    request = core.compile_model(graph, "CPU", {"INFERENCE_NUM_THREADS": threads}).create_infer_request()

    def run() -> None:
        request.infer({"pixels": pixels})

    return run


def _seconds(run: Run, clock: Callable[[], float]) -> float:
    start = clock()
    run()
    return clock() - start
