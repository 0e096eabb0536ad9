"""Joining a Ray cluster, or starting one on this machine, so that its workers find this package."""

import logging
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from mtcnn.cluster.preflight import check_resources, check_stores, preflight
from mtcnn.cluster.resources import this_machine
from mtcnn.config import Config
from mtcnn.errors import UserError

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parents[2]
OBJECT_STORE_BYTES = 256 << 20
"""Object store of a cluster started here: only plans and rows pass through it."""
CONNECT_SECONDS = 5.0
START_ATTEMPTS = 2
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING}
"""Workers write to Ray's log files; their errors come back with their results."""


@contextmanager
def connect(config: Config) -> Iterator[None]:
    """Be connected to the cluster that `config` asks for, checked to have what it needs.

    That is `cluster.address`; else the one that this job was submitted to or that RAY_ADDRESS names; else a new one
    on this machine, which is shut down in the end. A connection that is there already is used and left as it is.
    Raises UserError where there is no such cluster, or where it lacks something.
    """
    if ray.is_initialized():
        preflight(config)
        yield
        return
    address = config.cluster.address or os.environ.get("RAY_ADDRESS", "")
    # Before Ray starts, which takes several seconds: what the driver can know without it.
    check_stores(config, [])
    if not address:
        check_resources(config.cluster, [this_machine()], fixed=True)
    # Ray asks, at every actor without a GPU, to decide for its next version's way of hiding GPUs.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if address:
        _join(address)
    else:
        _start()
    try:
        preflight(config, fixed=not address)
        yield
    finally:
        # Ends this job's actors with it; the cluster itself only where it was started here.
        ray.shutdown()


def _join(address: str) -> None:
    _check_reachable(address)
    # A submitted job has its working directory in its own environment, which counts for workers too.
    submitted = "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ
    environment = {} if submitted else {"env_vars": {"PYTHONPATH": _python_path()}}
    try:
        ray.init(address=address, runtime_env=environment, **QUIET)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"cannot join the Ray cluster at '{address}': {' '.join(str(error).split())}"
        ) from error


def _check_reachable(address: str) -> None:
    """Ray itself tries a wrong address for more than a minute."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto", "local"
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"cannot join the Ray cluster at '{address}': {error}") from error


def _start() -> None:
    """A new cluster on this machine; its processes inherit the path of this package from this one."""
    executable, here = shlex.quote(sys.executable), this_machine()
    # Ray says at every start that the cluster asks for a token, which it makes itself: the safe default.
    logging.getLogger("ray._private.authentication.authentication_token_setup").setLevel(logging.ERROR)
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            with _environment("PYTHONPATH", _python_path()):
                ray.init(
                    # Never join what an earlier `ray start` left on this machine without being told to.
                    address="local",
                    include_dashboard=False,
                    num_cpus=int(here.cpus),
                    num_gpus=int(here.gpus),
                    object_store_memory=OBJECT_STORE_BYTES,
                    # Ray hands this to a shell, which would trip over a space in it.
                    runtime_env={} if executable == sys.executable else {"py_executable": executable},
                    **QUIET,
                )
            return
        except Exception as error:  # Ray raises no other class when its half-minute for starting is over
            ray.shutdown()
            log.warning("Ray did not start, attempt %d of %d: %s", attempt, START_ATTEMPTS, error)
            if attempt == START_ATTEMPTS:
                raise UserError(
                    f"Ray does not start on this machine ({error}); is it busy? cluster.mode=local works without"
                ) from error


def _python_path() -> str:
    """Where workers find this package: beside this file, as this process does."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
