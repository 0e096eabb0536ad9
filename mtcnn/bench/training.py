"""How fast nets are trained: from shards, as one step can be; faster than a plain step; with two workers.

Every side is a process of its own, since the allocator's settings belong to a process; they take turns.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import cv2
import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mtcnn.backend import usable_cpus
from mtcnn.bench.crop_shards import write_random_crops
from mtcnn.bench.data import Setting
from mtcnn.bench.engines import synchronise
from mtcnn.bench.measure import Process, Work, interleaved, together
from mtcnn.bench.plain_step import PlainStep
from mtcnn.bench.report import Report, compared
from mtcnn.config import Stages, Training
from mtcnn.nets import SIZES, STAGES, Architecture
from mtcnn.shards import Batches, read_manifest
from mtcnn.store import open_store
from mtcnn.training import loop
from mtcnn.training.losses import blocks

STEPS = {"pnet": 40, "rnet": 8, "onet": 6}
"""Optimiser steps in a piece of work: about a second each."""
CROPS = {"pnet": 60_000, "rnet": 12_000, "onet": 4_000}
SHARDS_GOAL, PLAIN_GOAL, WORKERS_GOAL = 0.93, 3.0, 1.7
TITLES = {"pnet": "P-Net", "rnet": "R-Net", "onet": "O-Net"}


def run(setting: Setting) -> Report:
    """Samples a second for each net."""
    report = Report("training")
    threads = usable_cpus()
    report.notes.append(
        f"{threads} threads with one worker; two workers: {max(threads // 2, 1)} each, against one worker of as many; "
        "plain step: contiguous layout, PReLU before pooling, the allocator as it is, no averaged weights"
    )
    with ExitStack() as stack:
        # Started once for all stages: importing PyTorch takes a process longer than a piece of work.
        ours, plain, *ranks = (stack.enter_context(Process()) for _ in range(4))
        for stage in STAGES:
            url = str(setting.folder / stage)
            landmarks = Stages().get(stage).net.landmarks
            crops = max(int(CROPS[stage] * setting.scale), 700)
            write_random_crops(open_store(url), stage, SIZES[stage], crops, landmarks)
            _one_worker(stage, url, setting, ours, plain, report)
            if setting.device == "cpu":
                _two_workers(stage, url, setting, ours, ranks, report)
    if threads < 2:
        report.notes.append("one core: two workers cannot be faster than one here")
    return report


def _one_worker(
    stage: str, url: str, setting: Setting, ours: Process, plain: Process, report: Report
) -> None:
    steps = max(round(STEPS[stage] * setting.scale), 1)
    common = (stage, url, setting.device, usable_cpus(), steps)
    sides = {
        "shards": ours.side(from_shards, *common),
        "fixed": ours.side(fixed_batch, *common),
        "plain": plain.side(plain_steps, *common),
    }
    rounds = interleaved(sides, setting.repeats, 0.6 * setting.seconds / len(STAGES))
    title = f"training {TITLES[stage]}"
    goal = PLAIN_GOAL if stage != "pnet" and setting.device == "cpu" else None
    report.rows += [
        compared(rounds, "shards", "fixed", f"{title}, from shards", "samples/s", "one batch in memory", SHARDS_GOAL),
        compared(rounds, "fixed", "plain", f"{title}, the step", "samples/s", "plain eager step", goal),
    ]  # fmt: skip


def _two_workers(
    stage: str, url: str, setting: Setting, ours: Process, ranks: Sequence[Process], report: Report
) -> None:
    steps = max(round(STEPS[stage] * setting.scale / 2), 1)
    common = (stage, url, setting.device, max(usable_cpus() // 2, 1), steps)
    meeting = str(setting.folder / "meeting")
    sides = {"two": together(ranks, as_rank, *common, meeting), "one": ours.side(from_shards, *common)}
    rounds = interleaved(sides, setting.repeats, 0.4 * setting.seconds / len(STAGES))
    goal = WORKERS_GOAL if usable_cpus() >= 2 else None
    title = f"training {TITLES[stage]}, 2 workers"
    report.rows.append(
        compared(
            rounds, "two", "one", title, "samples/s", "1 worker; 2 would be all", goal, one_process=False
        )
    )


class _Training:
    """A training that goes on step by step, as the loop does it."""

    def __init__(self, stage: str, url: str, device: str, threads: int) -> None:
        loop.keep_freed_memory()
        self.threads = threads
        self.device = torch.device(device)
        self.options = _options(stage)
        landmarks = Stages().get(stage).net.landmarks
        architecture = Architecture(stage, landmarks=landmarks)
        self.plan = loop.TrainingPlan(architecture, self.options, 0, url, "bench")
        self.state = loop._begin(self.plan, self.device)
        self.model: nn.Module = self.state.net
        self.crops = blocks(self.options, landmarks).total

    def steps(self, batches: Iterator[Any], steps: int) -> float:
        """Train on `batches`; samples looked at."""
        torch.set_num_threads(self.threads)
        cv2.setNumThreads(self.threads)
        # The private step of the loop: what is measured has to be what trains.
        loop._epoch(self.plan, self.state, self.model, batches, steps, 1_000_000, self.device)
        synchronise(self.device.type)
        return steps * self.crops


def from_shards(stage: str, url: str, device: str, threads: int, steps: int) -> Work:
    """Steps on batches from the loader."""
    training = _Training(stage, url, device, threads)
    return _epochs(training, _batches(stage, url, 0, 1), steps)


def as_rank(stage: str, url: str, device: str, threads: int, steps: int, meeting: str, rank: int) -> Work:
    """The same as one of two ranks of a process group, which meet at the file `meeting`."""
    if not dist.is_initialized():
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    training = _Training(stage, url, device, threads)
    training.model = DistributedDataParallel(training.state.net)
    return _epochs(training, _batches(stage, url, rank, 2), steps)


def _epochs(training: _Training, batches: Batches, steps: int) -> Work:
    numbers = itertools.count()
    return lambda: training.steps(batches.epoch(next(numbers), steps), steps)


def fixed_batch(stage: str, url: str, device: str, threads: int, steps: int) -> Work:
    """The same steps on one batch that stays in memory."""
    training = _Training(stage, url, device, threads)
    batch = next(_batches(stage, url, 0, 1).epoch(0, 1))
    return lambda: training.steps(itertools.repeat(batch, steps), steps)


def plain_steps(stage: str, url: str, device: str, threads: int, steps: int) -> Work:
    """The plain step on one batch that stays in memory, in a process whose allocator is left alone."""
    torch.set_num_threads(threads)
    batch = next(_batches(stage, url, 0, 1).epoch(0, 1))
    step = PlainStep(stage, _options(stage), torch.device(device))

    def work() -> float:
        for _ in range(steps):
            step(batch)
        synchronise(device)
        return steps * len(batch.images)

    return work


def _options(stage: str) -> Training:
    return Stages().get(stage).training


def _batches(stage: str, url: str, rank: int, world: int) -> Batches:
    store = open_store(url)
    options = _options(stage)
    sizes = blocks(options, Stages().get(stage).net.landmarks).sizes()
    return Batches(store, read_manifest(store), "train", sizes, 0, rank, world, options.cache_bytes)
