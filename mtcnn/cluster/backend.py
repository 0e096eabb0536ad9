"""The backend for Ray: units on a pool of actors, training on a gang of workers."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ray
from ray.util.metrics import Gauge

from mtcnn.backend import Outcome
from mtcnn.cluster.miner import MiningActor
from mtcnn.cluster.pool import IN_FLIGHT, Pool
from mtcnn.cluster.resources import actor_count, nodes, worker_cpus
from mtcnn.cluster.trainer import Gang, Trainer
from mtcnn.config import Config
from mtcnn.mining.plan import MiningPlan, Unit
from mtcnn.store import open_store
from mtcnn.training.loop import TrainingPlan

log = logging.getLogger(__name__)


class RayBackend:
    """Phases on the Ray cluster that this process is connected to (see `connect`)."""

    def __init__(self, config: Config) -> None:
        self.cluster = config.cluster
        self.trainer = Trainer()

    def mine(self, plan: MiningPlan, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Mine `units` on actors, three tries each; outcomes come as units finish."""
        cluster = self.cluster
        sources = {
            name: dataclasses.replace(source, url=open_store(source.url).url)
            for name, source in plan.sources.items()
        }
        # One copy in the object store for all actors; URLs as seen from here, whatever folder an actor starts in.
        shared = ray.put(dataclasses.replace(plan, sources=sources, out=open_store(plan.out).url))
        device = "cuda" if cluster.gpus_per_actor else "cpu"
        actor = ray.remote(MiningActor).options(
            num_cpus=cluster.cpus_per_actor, num_gpus=cluster.gpus_per_actor, max_concurrency=IN_FLIGHT
        )

        def spawn() -> Any:
            return actor.remote(shared, device, cluster.threads_per_actor)

        # No counter: Ray shows none before it counts, and 0 is what one wants to see.
        failed = Gauge("mtcnn_failed_units", "Units given up after three tries.", ("stage",))
        failed.set_default_tags({"stage": plan.stage})
        failures = 0
        failed.set(failures)
        pool: Pool[Unit] = Pool(spawn, lambda: actor_count(nodes(), cluster), cluster.unit_seconds)
        for done in pool.run(units):
            if done.error is not None:
                failures += 1
                failed.set(failures)
            yield Outcome(done.item.name, done.result, done.error)

    def train(
        self, plan: TrainingPlan, checkpoints: str, on_epoch: Callable[[dict[str, float]], None]
    ) -> bytes:
        """Train with Ray Train on `cluster.workers` workers; goes on from the checkpoint that is there."""
        cluster = self.cluster
        gang = Gang(cluster.workers, worker_cpus(nodes(), cluster), cluster.gpus_per_worker)
        plan = dataclasses.replace(plan, crops=open_store(plan.crops).url)
        return self.trainer.train(plan, open_store(checkpoints).url, gang, on_epoch)
