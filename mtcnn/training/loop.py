"""The training loop of one stage: plain PyTorch, one process or one rank of many, resumable after every epoch.

Who runs it (this process, or Ray Train) hands in a `Host`, which keeps checkpoints and hears of every epoch.
"""

import copy
import ctypes
import io
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mtcnn.config import Training
from mtcnn.errors import UserError
from mtcnn.mining.review import require_classes
from mtcnn.nets import Architecture, Net, Weights, build, normalise, save
from mtcnn.shards import Batches, read_manifest
from mtcnn.store import open_store
from mtcnn.training import distributed
from mtcnn.training.augment import flip_every_other, jitter, turn
from mtcnn.training.losses import blocks, losses
from mtcnn.training.metrics import HeldOut

log = logging.getLogger(__name__)

LOOK_EVERY = 16
"""Steps between looks at whether the loss is finite still."""


@dataclass(frozen=True)
class TrainingPlan:
    """All that a training worker needs to know; small, and the same for every rank."""

    architecture: Architecture
    options: Training
    seed: int
    crops: str
    """Folder or URL of this stage's crop shards and manifest."""
    digest: str
    """Digest of everything that decides the weights."""


class Host(Protocol):
    """Whoever runs the loop."""

    def resume(self) -> bytes | None:
        """The last checkpoint, where there is one."""

    def epoch(self, record: dict[str, float], checkpoint: bytes) -> None:
        """An epoch is over: its flat record, and a checkpoint to go on from."""


@dataclass
class _State:
    """What a checkpoint holds."""

    net: Net
    average: Net
    optimiser: torch.optim.Optimizer
    epoch: int = 0
    best: bytes = b""
    best_loss: float = math.inf


def train(plan: TrainingPlan, host: Host, device: torch.device) -> bytes:
    """Train one stage; returns the weights file of its best epoch.

    Raises UserError where a class of crops is missing or the loss stops being finite.
    """
    keep_freed_memory()
    options, architecture = plan.options, plan.architecture
    store = open_store(plan.crops)
    manifest = read_manifest(store)
    parts = blocks(options, architecture.landmarks)
    require_classes(manifest, tuple(parts.sizes()))
    steps = options.steps_per_epoch or math.ceil(
        manifest.count("pos", "train") / (parts.pos * distributed.world())
    )
    state = _begin(plan, device)
    checkpoint = host.resume()
    if checkpoint is not None:
        _restore(state, checkpoint, architecture.stage)
        log.info("%s: going on after epoch %d", architecture.stage, state.epoch)
    held_out = HeldOut(store, manifest)
    batches = Batches(
        store, manifest, "train", parts.sizes(), plan.seed,
        distributed.rank(), distributed.world(), options.cache_bytes,
    )  # fmt: skip
    model: nn.Module = DistributedDataParallel(state.net) if distributed.world() > 1 else state.net
    total = steps * options.epochs
    while state.epoch < options.epochs:
        start = time.perf_counter()
        record = _epoch(plan, state, model, batches.epoch(state.epoch, steps), steps, total, device)
        seconds = time.perf_counter() - start
        metrics = held_out.measure(state.average, device)
        state.epoch += 1
        loss = _criterion(metrics, options)
        if loss <= state.best_loss:
            state.best_loss = loss
            about = {"options": options.model_dump(mode="json"), "epoch": state.epoch}
            weights = Weights(state.average, digest=plan.digest, metrics=metrics, about=about)
            state.best = save(weights)
        record |= {f"held_out/{name}": value for name, value in metrics.items()}
        record |= {
            "epoch": state.epoch,
            "held_out/loss": loss,
            "samples_per_second": steps * parts.total * distributed.world() / seconds,
            "seconds": time.perf_counter() - start,
        }
        host.epoch(record, _checkpoint(state))
    return state.best


def _begin(plan: TrainingPlan, device: torch.device) -> _State:
    net = build(plan.architecture)
    net.initialise(torch.Generator().manual_seed(plan.seed))
    net = net.to(device)
    average = copy.deepcopy(net).requires_grad_(False)
    decayed = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": plan.options.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return _State(net, average, torch.optim.AdamW(groups, lr=plan.options.lr, fused=True))


def native_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself: where it is emulated it is many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def learning_rate(step: int, total: int, options: Training) -> float:
    """The learning rate of optimiser step `step` (from 0) of `total`."""
    warm = options.warmup * total
    if step < warm:
        return options.lr * (step + 1) / (warm + 1)
    if options.schedule == "constant":
        return options.lr
    share = (step - warm) / max(total - warm, 1)
    return options.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))


def _epoch(
    plan: TrainingPlan,
    state: _State,
    model: nn.Module,
    batches: Iterator[Any],
    steps: int,
    total: int,
    device: torch.device,
) -> dict[str, float]:
    """One epoch of optimiser steps; returns the mean losses."""
    options = plan.options
    parts = blocks(options, plan.architecture.landmarks)
    generator = torch.Generator().manual_seed((plan.seed * 1000 + state.epoch) * 1000 + distributed.rank())
    half = options.bfloat16 and native_bfloat16(device)
    sums = torch.zeros(3, device=device)
    state.net.train()
    step, rate = 0, 0.0
    first = next(state.net.parameters())
    finite = torch.ones((), dtype=torch.bool, device=device)
    for index, batch in enumerate(batches):
        step = state.epoch * steps + index
        rate = learning_rate(step, total, options)
        for group in state.optimiser.param_groups:
            group["lr"] = rate
        pixels = torch.from_numpy(batch.images).to(device, non_blocking=True)
        boxes = torch.from_numpy(batch.boxes).to(device, non_blocking=True)
        landmarks = torch.from_numpy(batch.landmarks).to(device, non_blocking=True)
        if options.flip:
            flip_every_other(pixels, boxes, landmarks)
        x = normalise(pixels)
        if options.jitter:
            x = jitter(x, options.jitter, generator)
        if options.turn:
            x, boxes, landmarks = turn(x, boxes, landmarks, options.turn, generator)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            out = model(x)
        loss = losses(out, boxes, landmarks, parts, options)
        # Asked for once in a while: a GPU, which works behind, is waited for then.
        if index % LOOK_EVERY == 0 and not finite:
            raise _not_finite(plan, step, total)
        state.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()
        # What is not finite anywhere comes down to the first weights of a net. Their gradient is the same in all
        # processes: they stop together, and no step needs a message for it.
        finite &= torch.isfinite(cast(Tensor, first.grad).sum())
        state.optimiser.step()
        state.net.clamp_slopes()
        _average(state, options.ema, step)
        sums += torch.stack([loss.classification, loss.box, loss.landmark])
    means = (distributed.summed(sums) / (steps * distributed.world())).tolist()
    if not (finite and all(map(math.isfinite, means))):
        raise _not_finite(plan, step, total)
    names = "train/class_loss", "train/box_loss", "train/landmark_loss"
    return dict(zip(names, means, strict=True)) | {"learning_rate": rate}


def _not_finite(plan: TrainingPlan, step: int, total: int) -> UserError:
    stage, epoch = plan.architecture.stage, step * plan.options.epochs // total + 1
    return UserError(
        f"{stage}: loss not finite by step {step} (epoch {epoch}), learning rate "
        f"{learning_rate(step, total, plan.options):.3g}; the last good checkpoint is kept: lower "
        f"stages.{stage}.training.lr"
    )


@torch.no_grad()
def _average(state: _State, decay: float, step: int) -> None:
    """Move the averaged weights towards the current ones, faster at the start."""
    weight = 1 - min(decay, (1 + step) / (10 + step))
    for average, current in zip(state.average.parameters(), state.net.parameters(), strict=True):
        average.lerp_(current, weight)


def _criterion(metrics: dict[str, float], options: Training) -> float:
    """The held-out loss, weighted as in training."""
    weights = {
        "class_loss": options.class_weight,
        "box_loss": options.box_weight,
        "landmark_loss": options.landmark_weight,
    }
    return sum(weight * metrics.get(name, 0.0) for name, weight in weights.items())


def _checkpoint(state: _State) -> bytes:
    content = {
        "net": state.net.state_dict(),
        "average": state.average.state_dict(),
        "optimiser": state.optimiser.state_dict(),
        "epoch": state.epoch,
        "best": state.best,
        "best_loss": state.best_loss,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _restore(state: _State, checkpoint: bytes, stage: str) -> None:
    content = torch.load(io.BytesIO(checkpoint), map_location="cpu", weights_only=True)
    state.net.load_state_dict(content["net"])
    state.average.load_state_dict(content["average"])
    state.optimiser.load_state_dict(content["optimiser"])
    state.epoch, state.best, state.best_loss = content["epoch"], content["best"], content["best_loss"]


def keep_freed_memory() -> None:
    """Stop glibc from returning memory to the system after every step: on a CPU that costs O-Net 40 % of its time."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-4, 0)  # M_MMAP_MAX: no mmap for large blocks
        libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: keep what is free
    except OSError:
        log.debug("not glibc: allocator left as it is")
