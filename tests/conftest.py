"""Fixtures that several rooms share: real data where it is at hand, and a small Ray cluster on this machine."""

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout (read-only); the test is skipped where there is none."""
    folder = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside the checkout")
    return folder


@pytest.fixture(scope="module")
def ray_options() -> dict[str, Any]:
    """What a module's Ray cluster is started with beside the usual; for modules to replace."""
    return {}


@pytest.fixture(scope="module")
def ray_cluster(ray_options: dict[str, Any]) -> Iterator[None]:
    """Ray on this machine with 2 CPUs, on loopback, without dashboard; shut down after the module's tests."""
    # Only here: most tests need no Ray, and its import takes a second.
    import ray
    from ray._private import ray_constants

    with pytest.MonkeyPatch.context() as patch:
        # Ray listens on all of a machine's addresses, and takes 127.0.0.1 for its outer one, unless this is off.
        patch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", False)
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=200_000_000,
            # Ray hands this to a shell: a checkout in a folder with a space in its name starts no worker otherwise.
            runtime_env={"py_executable": shlex.quote(sys.executable)},
            **ray_options,
        )
        try:
            yield
        finally:
            ray.shutdown()
