"""The parts of the report that say how a run came about: times, configuration, versions, digests."""

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from html import escape

from mtcnn.config import Config, to_yaml
from mtcnn.evaluation import Evaluation
from mtcnn.nets import STAGES
from mtcnn.report.html import heading, note, pairs
from mtcnn.report.stages import TITLES
from mtcnn.report.table import epochs
from mtcnn.run_log import RunLog
from mtcnn.words import duration

PACKAGES = ("mtcnn-ray", "torch", "ray", "numpy", "opencv-python-headless", "obstore", "webdataset")


def times(log: RunLog) -> str:
    """A bar for each phase that the run's log has; "" where it has none."""
    spent = _spent(log)
    if not spent:
        return ""
    longest = max(max(seconds for _, seconds in spent), 1e-9)
    bars = "".join(
        f'<div class="bar"><span>{escape(name)}</span>'
        f'<i style="width:{100 * seconds / longest:.1f}%"></i><b>{duration(seconds)}</b></div>'
        for name, seconds in spent
    )
    total = sum(seconds for _, seconds in spent)
    return bars + note(
        f"{duration(total)} in all. A phase that was skipped counts with the time it once took."
    )


def _spent(log: RunLog) -> list[tuple[str, float]]:
    """Seconds by phase in the order of the chain; of a repeated phase the newest."""
    prepared = {r["source"]: r["seconds"] for r in log.records if r["phase"] == "prepare"}
    evaluated = {r["source"]: r["seconds"] for r in log.records if r["phase"] == "evaluate"}
    spent = [(f"prepare {name}", seconds) for name, seconds in prepared.items()]
    for stage in STAGES:
        trained = sum(record["seconds"] for record in epochs(log, stage))
        for phase, seconds in (
            ("mine", log.last("mine", stage).get("seconds", 0.0)),
            ("train", trained),
            ("set threshold of", log.last("threshold", stage).get("seconds", 0.0)),
        ):
            if seconds:
                spent.append((f"{phase} {TITLES[stage]}", seconds))
    return spent + [(f"evaluate on {name}", seconds) for name, seconds in evaluated.items()]


def about(config: Config, log: RunLog, evaluations: Mapping[str, Evaluation]) -> str:
    """Digests, versions and the resolved configuration."""
    digests = [(f"crops of {TITLES[stage]}", log.last("mine", stage).get("digest")) for stage in STAGES]
    digests += [(f"weights of {TITLES[stage]}", log.last("train", stage).get("digest")) for stage in STAGES]
    digests += [(f"test source {name}", evaluation.digest) for name, evaluation in evaluations.items()]
    found = [(name, digest[:16]) for name, digest in digests if digest]
    resolved = escape(without_secrets(to_yaml(config)))
    return (
        f'<div class="sheets">{pairs("Digests", found)}{pairs("Versions of what made this page", _versions())}</div>'
        + heading("Resolved configuration")
        + f"<details><summary>{escape(config.name)}: every setting</summary><pre>{resolved}</pre></details>"
    )


def without_secrets(text: str) -> str:
    """`text` with user, password and query of every URL in it blotted out; stores refuse such URLs anyway."""
    text = re.sub(r"(\w://)[^/\s'\"]+@", r"\1…@", text)
    return re.sub(r"(\w://[^\s?'\"]*)\?[^\s'\"]*", r"\1?…", text)


def _versions() -> list[tuple[str, str]]:
    rows = [
        ("Python", platform.python_version()),
        ("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"),
    ]
    for name in PACKAGES:
        try:
            rows.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            rows.append((name, "not installed" if name != "mtcnn-ray" else "run from its sources"))
    return rows
