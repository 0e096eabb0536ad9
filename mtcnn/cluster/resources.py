"""What a cluster's machines have and what fits on them: plain arithmetic over one row a node."""

import math
from dataclasses import dataclass

import ray
import torch

from mtcnn.backend import usable_cpus
from mtcnn.config import Cluster


@dataclass(frozen=True)
class Node:
    """One machine of the cluster."""

    id: str
    name: str
    cpus: float
    gpus: float


def nodes() -> list[Node]:
    """The machines that are there now, with all that they have, whether in use or not."""
    return [
        Node(
            row["NodeID"],
            row["NodeManagerAddress"],
            row["Resources"].get("CPU", 0.0),
            row["Resources"].get("GPU", 0.0),
        )
        for row in ray.nodes()  # type: ignore[no-untyped-call]
        if row["Alive"]
    ]


def this_machine() -> Node:
    """What a cluster started on this machine has."""
    return Node("", "this machine", usable_cpus(), torch.cuda.device_count())


def room(there: list[Node], cpus: float, gpus: float) -> int:
    """How many actors or workers of that size fit; each has to fit on one machine."""
    return sum(_fit(node, cpus, gpus) for node in there)


def actor_count(there: list[Node], cluster: Cluster) -> int:
    """Mining actors that may run now: as many as fit, up to `cluster.actors`."""
    fitting = room(there, cluster.cpus_per_actor, cluster.gpus_per_actor)
    return fitting if cluster.actors == "auto" else min(cluster.actors, fitting)


def worker_cpus(there: list[Node], cluster: Cluster) -> float:
    """CPU cores of a training worker; `auto`: the most with which all of them fit, at least 1."""
    if cluster.cpus_per_worker != "auto":
        return cluster.cpus_per_worker
    most = int(max((node.cpus for node in there), default=1))
    fits = (c for c in range(most, 1, -1) if room(there, c, cluster.gpus_per_worker) >= cluster.workers)
    return float(next(fits, 1))


def described(there: list[Node]) -> str:
    """The machines in words, for an error."""
    if not there:
        return "no machine"
    sizes = [f"{node.cpus:g} CPUs and {node.gpus:g} GPUs" for node in there]
    kinds = [f"{sizes.count(size)} × {size}" if len(there) > 1 else size for size in dict.fromkeys(sizes)]
    return f"{len(there)} machine{'s' * (len(there) > 1)} with {', '.join(kinds)}"


def _fit(node: Node, cpus: float, gpus: float) -> int:
    # Ray counts in ten-thousandths: 0.1 goes ten times into 1.
    sizes = [(node.cpus, cpus), (node.gpus, gpus)]
    return min((math.floor(there / asked + 1e-4) for there, asked in sizes if asked > 0), default=0)
