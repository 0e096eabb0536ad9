"""What every job shares: finding the package in a checkout, logging, the configuration, and exit codes.

Exit codes: 0 done, 2 a mistake of the user's (one line on stderr), 130 stopped by Ctrl-C or SIGTERM, 1 anything else.
"""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent

# A submitted working directory is not installed: the checkout itself is the package.
sys.path.insert(0, str(ROOT))
# Threads that wait for each other sleep instead of spinning: on a machine that is shared, spinning costs up to 5x.
# Read when torch is imported, so it is set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from mtcnn.config import Config, Stages  # noqa: E402
from mtcnn.errors import UserError  # noqa: E402

if TYPE_CHECKING:
    from mtcnn.backend import Backend

DEMO = ROOT / "configs" / "demo.yaml"


def run(main: Callable[[], None]) -> None:
    """Run a job's `main` and leave the process with the exit code that its outcome means."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    _stop_as_at_ctrl_c()
    try:
        main()
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        sys.exit(130)


def parser(description: str, stage: bool = False) -> argparse.ArgumentParser:
    """The options of a job that runs phases of a configuration; with `stage`, its first argument is a stage."""
    options = argparse.ArgumentParser(description=description)
    if stage:
        options.add_argument("stage", choices=tuple(Stages.model_fields))
    options.add_argument("--config", default=str(DEMO), help="YAML file (default: configs/demo.yaml)")
    options.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="e.g. stages.pnet.training.lr=0.005 cluster.mode=local",
    )
    return options


@contextmanager
def backend(config: Config) -> Iterator["Backend"]:
    """What the phases run on, started and shut down: this process, or Ray."""
    # Imported here: `--help` and bad configurations need no torch, and machines without Ray still run the rest.
    if config.cluster.mode == "local":
        from mtcnn.backend import LocalBackend

        yield LocalBackend(config)
        return
    from mtcnn.cluster import RayBackend, connect

    with connect(config):
        _stop_as_at_ctrl_c()  # Ray has put a handler of its own in place, which aborts
        yield RayBackend(config)


def _stop_as_at_ctrl_c() -> None:
    """`ray job stop` and cluster managers end a job by SIGTERM: it is to stop as cleanly as at Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
