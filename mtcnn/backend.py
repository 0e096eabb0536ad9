"""What phases run on: the contract between the pipeline and whoever does its work, and the plainest keeper of it.

`LocalBackend` does everything in this process, for a debugger and for machines without Ray; mtcnn.cluster has the
one for Ray. Both keep a training's checkpoint in the same place and form, so either goes on from the other's.
"""

import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import torch

from mtcnn.config import Config
from mtcnn.errors import MissingKey, UserError
from mtcnn.mining.plan import MiningPlan, Unit, UnitMiner
from mtcnn.shards import UnitRow
from mtcnn.store import Store, open_store
from mtcnn.training.loop import TrainingPlan, train

log = logging.getLogger(__name__)

ATTEMPTS = 3
"""How often a unit is tried before it counts as failed."""
CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
CHECKPOINT = "last.ckpt"
"""Key of a training's checkpoint in its folder."""


@dataclass(frozen=True)
class Outcome:
    """What became of a unit: its row, or the error of its last attempt."""

    unit: str
    row: UnitRow | None
    error: str | None


class Backend(Protocol):
    """Whoever mines units and trains stages."""

    def mine(self, plan: MiningPlan, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Mine `units`, taken from the iterable as there is room; outcomes come as units finish, in any order."""

    def train(
        self, plan: TrainingPlan, checkpoints: str, on_epoch: Callable[[dict[str, float]], None]
    ) -> bytes:
        """Train one stage and return its weights file; `on_epoch` hears the record of each epoch as it ends.

        `checkpoints` is a folder or URL that belongs to this plan alone: training goes on from what it holds.
        """


class LocalBackend:
    """Everything in this process, one unit after the other; unexpected exceptions pass through to a debugger."""

    def __init__(self, config: Config) -> None:
        cluster = config.cluster
        self.mining_threads = cluster.threads_per_actor
        self.mining_device = "cuda" if cluster.gpus_per_actor else "cpu"
        self.training_device = "cuda" if cluster.gpus_per_worker else "cpu"
        for device in (self.mining_device, self.training_device):
            if device == "cuda" and not torch.cuda.is_available():
                raise UserError(
                    "cluster.gpus_per_actor or gpus_per_worker asks for a GPU, and this machine has none "
                    "that PyTorch can use; set them to 0"
                )

    def mine(self, plan: MiningPlan, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Mine unit after unit, each at most ATTEMPTS times; with an actor's threads, which the last bits depend on."""
        miner = UnitMiner(plan, self.mining_device, self.mining_threads)
        for unit in units:
            yield _mined(miner, unit)

    def train(
        self, plan: TrainingPlan, checkpoints: str, on_epoch: Callable[[dict[str, float]], None]
    ) -> bytes:
        """Train with all cores; a checkpoint is kept after each epoch."""
        torch.set_num_threads(usable_cpus())
        cv2.setNumThreads(usable_cpus())
        return train(plan, _LocalHost(open_store(checkpoints), on_epoch), torch.device(self.training_device))


def usable_cpus() -> int:
    """CPU cores that this process may use: of the machine, and of its container's share of it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return min(cores, max(math.ceil(int(quota) / int(period)), 1))
    except (OSError, ValueError):
        return cores  # no container, or one without a limit: "max"


def last_checkpoint(store: Store) -> bytes | None:
    """The checkpoint kept in a training's folder, where there is one."""
    try:
        return store.get(CHECKPOINT)
    except MissingKey:
        return None


class _LocalHost:
    def __init__(self, store: Store, on_epoch: Callable[[dict[str, float]], None]) -> None:
        self.store = store
        self.on_epoch = on_epoch

    def resume(self) -> bytes | None:
        return last_checkpoint(self.store)

    def epoch(self, record: dict[str, float], checkpoint: bytes) -> None:
        # In this order: killed between the two, the epoch is run again and heard of twice, but never unheard.
        self.on_epoch(record)
        self.store.put(CHECKPOINT, checkpoint)


def _mined(miner: UnitMiner, unit: Unit) -> Outcome:
    error = ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return Outcome(unit.name, miner.mine(unit), None)
        except UserError as caught:
            error = str(caught)
            log.warning("unit %s, attempt %d of %d: %s", unit.name, attempt, ATTEMPTS, error)
        except Exception as caught:
            caught.add_note(f"while mining unit {unit.name}")
            raise
    return Outcome(unit.name, None, error)
