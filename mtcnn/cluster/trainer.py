"""Ray Train V2 around the training loop: a gang of workers with a process group, restarted when one dies.

Checkpoints go through our own store, not through Ray Train's: one atomic object in the same place and form as
without Ray, on every kind of store, which two drivers at once or a killed one cannot leave half written.
"""

import logging
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import ray
import torch
from ray.exceptions import OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.train import ControllerError
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.train.v2.api.config import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.util.placement_group import PlacementGroup, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mtcnn.backend import CHECKPOINT, last_checkpoint
from mtcnn.cluster.causes import one_line, user_error
from mtcnn.errors import UserError
from mtcnn.store import Store, open_store
from mtcnn.training import distributed
from mtcnn.training.loop import TrainingPlan, train

log = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Restarts after a worker died, each from the last checkpoint."""
START_SECONDS = 60
START_FAILURES = 30
"""Tries of START_SECONDS to get all workers placed: half an hour for a node to come back."""
COLLECTIVE_SECONDS = 600
"""A step that waits longer for another worker has lost it."""
LOST_SECONDS = 2.0
"""Wait before a run that was killed is started anew: what killed it, such as memory that ran out, may pass."""
FREEING_ROUNDS = 3
POLL_SECONDS = 0.2

ENVIRONMENT = {
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": str(COLLECTIVE_SECONDS),
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(START_SECONDS),
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",
    # A process less: what it would save on a node's last breath, the checkpoint of each epoch saves too.
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    # Workers stay where they are: relative paths mean the same everywhere.
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
}
WORKER_ENVIRONMENT = {
    # Ray Train trains in a thread. glibc would give it a heap of its own, which returns memory to the system at every
    # step whatever `loop.keep_freed_memory` says: a fifth of O-Net's CPU time.
    "MALLOC_ARENA_MAX": "1",
}


@dataclass(frozen=True)
class Gang:
    """The training workers."""

    workers: int
    cpus: float
    """CPU cores, and threads, of each."""
    gpus: float


class Trainer:
    """Trains stages on the cluster, one after the other; the process beside the driver is started once."""

    def __init__(self) -> None:
        self._run: Any = None

    def train(
        self, plan: TrainingPlan, checkpoints: str, gang: Gang, on_epoch: Callable[[dict[str, float]], None]
    ) -> bytes:
        """Train on `gang`, going on from the checkpoint in the store `checkpoints`; returns the weights file.

        `on_epoch` is called here, within a moment of each epoch's end. A UserError of a worker is raised here at
        once; anything else after MAX_FAILURES restarts of the workers, or of what leads them.
        """
        watch = _Watch(on_epoch)
        others = _places()
        losses = 0
        while True:
            run = self._run or _start()
            self._run = None
            try:
                weights = watch.result(run, run.fit.remote(plan, checkpoints, gang))
            except BaseException as error:
                # Also Ctrl-C: who runs this may go on to train something else.
                ray.kill(run)
                _free_places(others)
                losses += 1
                if not _was_killed(error) or losses > MAX_FAILURES:
                    raise
                log.warning("training goes on from its last checkpoint")
                time.sleep(LOST_SECONDS)
            else:
                self._run = run
                return weights


def _start() -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Run).options(num_cpus=0, max_concurrency=4, scheduling_strategy=here).remote()


def _free_places(others: set[str]) -> None:
    """Give back what the workers of a run that is gone were placed on: Ray holds it until the driver ends.

    `others` are the places that were there before the run. The run's controller may outlive it for a moment. It asks
    for a new place when its workers' place is taken from them, so it is given time to end before, and what it asked
    for meanwhile is taken as well.
    """
    for _ in range(FREEING_ROUNDS):
        places = _places() - others
        if not places:
            return
        time.sleep(LOST_SECONDS)
        for place in places:
            remove_placement_group(PlacementGroup(ray.PlacementGroupID(bytes.fromhex(place))))
        time.sleep(LOST_SECONDS)


def _places() -> set[str]:
    """Ids of the placement groups of the driver's job, with whose id they end."""
    job = ray.get_runtime_context().get_job_id()
    return {
        identity
        for identity, group in placement_group_table().items()
        if identity.endswith(job) and group["state"] != "REMOVED"
    }


class _Watch:
    """The driver's side of a training."""

    def __init__(self, on_epoch: Callable[[dict[str, float]], None]) -> None:
        self.on_epoch = on_epoch
        self.heard = 0.0

    def result(self, run: Any, result: Any) -> bytes:
        """Wait for `result` of `run` and hand on the news meanwhile."""
        while True:
            finished, _ = ray.wait([result], timeout=POLL_SECONDS)
            self._take_news(run)
            if finished:
                try:
                    weights: bytes = ray.get(result)
                except RayError as error:
                    known = user_error(error) or _no_room(error)
                    if known is not None:
                        raise known from error
                    log.error("training failed: %s", one_line(error))
                    raise
                return weights

    def _take_news(self, run: Any) -> None:
        try:
            news: _News = ray.get(run.news.remote())
        except RayError:
            return  # the run is gone; its result says why
        for record in news.records:
            # An epoch that was cut short after its record is run again.
            if record["epoch"] > self.heard:
                self.heard = record["epoch"]
                self.on_epoch(record)
        if news.failure is not None:
            raise news.failure


def _was_killed(error: BaseException) -> bool:
    """Whether the run or Ray Train's controller, which it waits for, is gone; workers have Ray Train's restarts."""
    while isinstance(error, RayTaskError | ControllerError):
        error = error.cause if isinstance(error, RayTaskError) else error.controller_failure
    return isinstance(error, RayActorError | OutOfMemoryError)


def _no_room(error: RayError) -> UserError | None:
    """The words for what Ray Train says when it has waited for machines long enough."""
    if "worker group startup timed out" not in str(error):
        return None
    return UserError(
        f"training workers found no room in {START_SECONDS * START_FAILURES // 60} minutes (cluster.workers, "
        "cpus_per_worker, gpus_per_worker): other jobs may hold it, see `ray status`"
    )


@dataclass(frozen=True)
class _News:
    records: list[dict[str, float]]
    """Epochs since the last news."""
    failure: UserError | None


class _Run:
    """Runs the trainer beside the driver, and hands news from its workers on to it.

    Not in the driver itself: there Ray Train takes over Ctrl-C and turns it into a success.
    """

    def __init__(self) -> None:
        os.environ.update(ENVIRONMENT)
        self._reset()

    def _reset(self) -> None:
        self.records: list[dict[str, float]] = []
        self.failure: UserError | None = None

    def fit(self, plan: TrainingPlan, checkpoints: str, gang: Gang) -> bytes:
        """The weights file; blocks until training is over."""
        self._reset()
        # Any: their annotations are still those of Ray Train V1.
        loop: Any = _worker
        with tempfile.TemporaryDirectory() as folder:
            run_config: Any = RunConfig(
                name=f"{plan.architecture.stage}-{plan.digest}",
                storage_path=folder,
                failure_config=FailureConfig(MAX_FAILURES, controller_failure_limit=START_FAILURES),
                logging_config=LoggingConfig(log_level="WARNING"),
                worker_runtime_env={"env_vars": WORKER_ENVIRONMENT},
            )
            trainer = TorchTrainer(
                loop,
                train_loop_config={
                    "plan": plan,
                    "checkpoints": checkpoints,
                    "threads": max(int(gang.cpus), 1),
                    "run": ray.get_runtime_context().current_actor,
                },
                torch_config=TorchConfig(timeout_s=COLLECTIVE_SECONDS),
                scaling_config=ScalingConfig(
                    num_workers=gang.workers,
                    use_gpu=gang.gpus > 0,
                    resources_per_worker={"CPU": gang.cpus} | ({"GPU": gang.gpus} if gang.gpus else {}),
                ),
                run_config=run_config,
            )
            result: Any = trainer.fit()
            return result.return_value

    def epoch(self, record: dict[str, float]) -> None:
        """Rank 0 tells of an epoch."""
        self.records.append(record)

    def fail(self, error: UserError) -> None:
        """A worker met something that a restart would meet again."""
        self.failure = self.failure or error

    def news(self) -> "_News":
        """What came in since the last call."""
        records, self.records = self.records, []
        return _News(records, self.failure)


def _worker(config: dict[str, Any]) -> bytes:
    """One rank; Ray Train has set up the process group."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    torch.set_num_threads(config["threads"])
    cv2.setNumThreads(config["threads"])
    device = get_device()
    host = _Host(open_store(config["checkpoints"]), config["run"], device)
    try:
        return train(config["plan"], host, device)
    except UserError as error:
        ray.get(config["run"].fail.remote(error))
        raise


class _Host:
    def __init__(self, store: Store, run: Any, device: torch.device) -> None:
        self.store, self.run, self.device = store, run, device

    def resume(self) -> bytes | None:
        """Rank 0's checkpoint for all: another driver may put a newer one while the ranks look."""
        checkpoint = last_checkpoint(self.store) if distributed.rank() == 0 else None
        return _from_first_rank(checkpoint, self.device)

    def epoch(self, record: dict[str, float], checkpoint: bytes) -> None:
        if distributed.rank() == 0:
            # In this order: killed between the two, the epoch is run again and heard of once.
            ray.get(self.run.epoch.remote(record))
            self.store.put(CHECKPOINT, checkpoint)


def _from_first_rank(data: bytes | None, device: torch.device) -> bytes | None:
    """Rank 0's `data` on every rank."""
    if distributed.world() == 1:
        return data
    size = torch.tensor([-1 if data is None else len(data)], device=device)
    torch.distributed.broadcast(size, 0)
    if size.item() < 0:
        return None
    content = torch.empty(int(size.item()), dtype=torch.uint8, device=device)
    if data is not None:
        content.copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))
    torch.distributed.broadcast(content, 0)
    return content.cpu().numpy().tobytes()
