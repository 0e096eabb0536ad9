"""What a run would otherwise miss only later, or wait for without end: resources, versions, stores, disk."""

import logging
import os
import platform
import shutil
import uuid
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mtcnn.cluster.causes import one_line
from mtcnn.cluster.resources import Node, described, nodes, room, worker_cpus
from mtcnn.config import Cluster, Config
from mtcnn.errors import UserError
from mtcnn.sources.read import INDEX
from mtcnn.store import Store, open_store

log = logging.getLogger(__name__)

PACKAGES = ("ray", "torch", "numpy", "opencv-python-headless", "pillow", "obstore", "pydantic")
"""Their versions decide what processes can say to each other, and whether crops are equal."""
ANSWER_SECONDS = 180.0
"""How long a node may take to start a worker and answer: the first time it fetches the working directory."""
FREE_BYTES = 500 << 20
"""Least free space where results go."""


def preflight(config: Config, fixed: bool = False) -> None:
    """Check the cluster that this process is connected to; raises UserError with what was asked and what there is.

    `fixed`: it was started by this process on this machine. It cannot grow, so that more actors than fit are a
    mistake and not a limit, and there is no other machine to ask: `check_stores` without any says all of stores.
    """
    there = nodes()
    check_resources(config.cluster, there, fixed)
    if not fixed:
        here = Path.cwd()
        check_versions(there)
        # Nodes on one machine share the folder where Ray puts a submitted job's files, and each puts them there anew
        # when it is first asked for something: the folder that this process was in is gone.
        os.chdir(here)
        check_stores(config, there)


def check_resources(cluster: Cluster, there: Sequence[Node], fixed: bool) -> None:
    """At least one actor, and all training workers at once, have to fit."""
    machines = list(there)
    actors = room(machines, cluster.cpus_per_actor, cluster.gpus_per_actor)
    asked = _sized("a mining actor", cluster.cpus_per_actor, cluster.gpus_per_actor, "actor")
    if actors == 0:
        raise UserError(f"{asked}, which fits nowhere: there is {described(machines)}")
    if fixed and cluster.actors != "auto" and cluster.actors > actors:
        raise UserError(
            f"cluster.actors={cluster.actors}: {asked}, of which {actors} fit: there is {described(machines)}"
        )
    cpus = worker_cpus(machines, cluster)
    workers = room(machines, cpus, cluster.gpus_per_worker)
    if workers < cluster.workers:
        asked = _sized("each", cpus, cluster.gpus_per_worker, "worker")
        raise UserError(
            f"cluster.workers={cluster.workers}: {asked}, of which {workers} fit: there is {described(machines)}"
        )


def _sized(what: str, cpus: float, gpus: float, kind: str) -> str:
    asked = f"{what} needs {cpus:g} CPUs (cluster.cpus_per_{kind})"
    return f"{asked} and {gpus:g} GPUs (cluster.gpus_per_{kind})" if gpus else asked


def check_versions(there: Sequence[Node]) -> None:
    """Python and PACKAGES have to be the same on every machine as here."""

    # Defined here so that it travels by value: a machine that cannot import this package can still answer.
    def versions(packages: Sequence[str]) -> dict[str, str]:
        found = {"python": ".".join(platform.python_version_tuple()[:2])}
        for package in packages:
            try:
                found[package] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[package] = "none"
        return found

    here = versions(PACKAGES)
    for node, found in _everywhere(versions, [PACKAGES], there):
        differing = [name for name in here if found[name] != here[name]]
        if differing:
            raise UserError(
                f"machine {node.name} of the cluster has other versions than the driver: "
                + ", ".join(f"{name} {found[name]} (here {here[name]})" for name in differing)
            )


def check_stores(config: Config, there: Sequence[Node]) -> None:
    """The driver has to be able to write, every machine to see what it wrote, and disks to have space.

    Source shards that are there already have to be seen only.
    """
    key = f".preflight-{uuid.uuid4().hex}"
    written = [config.crops_url, config.models_url, config.run_url]
    for source in config.sources.values():
        if open_store(source.url).size(INDEX) is not None:
            _ask_all(open_store(source.url), INDEX, there)
        elif source.kind != "shards":
            written.append(source.url)
    for url in dict.fromkeys(written):
        store = open_store(url)
        store.put(key, b"")
        try:
            _ask_all(store, key, there)
        finally:
            store.delete(key)
        if store.local_path is not None:
            _check_disk(store.local_path)


def _ask_all(store: Store, key: str, there: Sequence[Node]) -> None:
    for node, seen in _everywhere(_sees, [store.url, key], there):
        if not seen:
            raise UserError(
                f"{store.url}: machine {node.name} of the cluster does not see what the driver sees there; "
                "it has to be on a shared disk or an object store"
            )


def _sees(url: str, key: str) -> bool:
    return open_store(url).size(key) is not None


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise UserError(f"{folder}: {free >> 20} MB are free, and a run needs {FREE_BYTES >> 20} MB or more")


def _everywhere(question: Any, arguments: list[Any], there: Sequence[Node]) -> list[tuple[Node, Any]]:
    """The answers of all machines to a small function."""
    asked = ray.remote(num_cpus=0, max_retries=1)(question)
    refs = [
        asked.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False)).remote(
            *arguments
        )
        for node in there
    ]
    answers = []
    for node, ref in zip(there, refs, strict=True):
        try:
            answers.append((node, ray.get(ref, timeout=ANSWER_SECONDS)))
        except GetTimeoutError as error:
            raise UserError(
                f"machine {node.name} of the cluster did not answer in {ANSWER_SECONDS:.0f} s"
            ) from error
        except RayError as error:
            raise UserError(f"machine {node.name} of the cluster: {one_line(error)}") from error
    return answers
