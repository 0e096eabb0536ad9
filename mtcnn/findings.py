"""The last phase of a run: the cascade measured on the test sources, and the report of the whole run."""

import hashlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass

from mtcnn.config import Config
from mtcnn.detector import Detector
from mtcnn.digest import digest_of
from mtcnn.errors import MissingKey
from mtcnn.evaluation import Evaluation, evaluate
from mtcnn.nets import STAGES
from mtcnn.progress import progress
from mtcnn.report import write_events, write_report
from mtcnn.run_log import RunLog
from mtcnn.sources.read import Index
from mtcnn.store import Store

log = logging.getLogger(__name__)

REPORT = "report.html"


@dataclass(frozen=True)
class Findings:
    """What the finished cascade is worth, and where to look at it."""

    lines: dict[str, list[str]]
    """By test source: the result as lines for a terminal."""
    report: str
    """URL of the report."""


def finish(
    config: Config,
    run: Store,
    models: Store,
    records: RunLog,
    crops: Mapping[str, Store],
    tests: Mapping[str, Index],
) -> Findings:
    """Evaluate on every source of `tests` (by name) and write the report into `run`, unless both are there.

    `crops` is each stage's store of crop shards, for the report's pictures.
    """
    options = config.evaluation
    there = findings_there(config, run, models, tests)
    if there is not None:
        log.info("evaluate: there already, %s", there.report)
        return there
    detector = Detector.load(models.url, min_face=options.min_face, thresholds=options.thresholds)
    evaluations: dict[str, Evaluation] = {}
    for name, index in tests.items():
        start = time.perf_counter()
        url = config.sources[name].url
        with progress(options.max_images or index.images, f"evaluate {name}", "images") as bar:
            result = evaluate(detector, url, limit=options.max_images or None, done=bar.update)
        evaluations[name] = result
        seconds = time.perf_counter() - start
        average = {f"ap@{iou}": ap for iou, ap in result.ap.items()}
        records.add("evaluate", "", source=name, seconds=seconds, **average)
        run.put(f"evaluation-{name}.json", result.to_json().encode())
    write_events(run, records)
    report = write_report(config, run, records, crops, evaluations, detector)
    findings = Findings({name: result.lines() for name, result in evaluations.items()}, report)
    content = {"digest": _digest(config, models, tests), "lines": findings.lines, "report": report}
    run.put("findings.json", json.dumps(content, indent=1).encode())
    return findings


def findings_there(config: Config, run: Store, models: Store, tests: Mapping[str, Index]) -> Findings | None:
    """What an earlier run has found with the same weights, options and test sources; None where it has to be done."""
    try:
        content = json.loads(run.get("findings.json"))
    except (MissingKey, ValueError):
        return None
    if content["digest"] != _digest(config, models, tests) or run.size(REPORT) is None:
        return None
    return Findings(content["lines"], content["report"])


def _digest(config: Config, models: Store, tests: Mapping[str, Index]) -> str:
    weights = [hashlib.sha256(models.get(f"{stage}.pt")).hexdigest() for stage in STAGES]
    return digest_of(
        {
            "weights": weights,
            "options": config.evaluation.model_dump(mode="json"),
            "sources": {name: index.digest for name, index in tests.items()},
        }
    )
