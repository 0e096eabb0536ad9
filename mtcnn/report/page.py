"""The page people look at after a run, `report.html`.

The page is one file that opens from disk: results, the chain, every stage with its curves and crops, pictures with
mistakes, times, and what made it. Its parts are the other files of this folder.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from html import escape

from mtcnn.config import Config
from mtcnn.detector import Detector
from mtcnn.evaluation import Evaluation
from mtcnn.nets import STAGES
from mtcnn.report.about import about, times
from mtcnn.report.html import note, page, table
from mtcnn.report.result import headline, looked_at, measured
from mtcnn.report.stages import TITLES, stage_part
from mtcnn.report.table import HEAD, row
from mtcnn.run_log import RunLog
from mtcnn.store import Store

KEY = "report.html"
COLUMNS = (
    "Crops by class; accuracy on held-out positives and negatives apart, at score 0.5; IoU of boxes before and after "
    "regression; points: mean error in eye distances. Threshold: the score from which a stage passes boxes on when the "
    "next one is mined, set by recall on held-out images."
)


def write_report(
    config: Config,
    run: Store,
    log: RunLog,
    crops: Mapping[str, Store],
    evaluations: Mapping[str, Evaluation],
    detector: Detector,
) -> str:
    """Put the page, and `plots/SOURCE/` for use elsewhere, into the run's folder; returns the page's URL.

    `crops` are the stores of crop shards by stage, `evaluations` the results by name of the test source, `detector`
    the finished cascade with the thresholds it was measured with. What a run does not have is left out; what can
    no longer be read is named in its place. A few shards are read, one at a time.
    """
    stages = [(stage, TITLES[stage], stage_part(stage, log, crops.get(stage), detector)) for stage in STAGES]
    sections = [
        ("chain", "The chain", _chain(log)),
        ("cascade", "The cascade, stage by stage", measured(evaluations)),
        ("pictures", "Pictures and mistakes", looked_at(evaluations, detector)),
        *stages,
        ("times", "Time spent", times(log)),
        ("about", "How it was made", about(config, log, evaluations)),
    ]
    header = _header(config, log) + headline(evaluations)
    for name, evaluation in evaluations.items():
        _put_plots(run.child(f"plots/{name}"), evaluation)
    run.put(KEY, page(f"{config.name} – mtcnn-ray", header, sections).encode())
    return f"{run.url}/{KEY}"


def _put_plots(store: Store, evaluation: Evaluation) -> None:
    """The files that `jobs/evaluate.py --out` makes."""
    # matplotlib takes a second to load: only who writes a report waits for it.
    from mtcnn.evaluation import plots, sheet

    store.put("precision-recall.svg", plots.precision_recall(evaluation))
    store.put("recall-false-positives.svg", plots.recall_false_positives(evaluation))
    store.put("recall-by-size.svg", plots.recall_by_size(evaluation))
    store.put("worst.jpg", sheet.draw_sheet(evaluation))


def _header(config: Config, log: RunLog) -> str:
    when = ""
    if log.records:
        last = datetime.fromtimestamp(log.records[-1]["time"], UTC)
        when = f" · last entry {last:%Y-%m-%d %H:%M} UTC"
    return f"<p>mtcnn-ray run</p><h1>{escape(config.name)}</h1>{note(f'seed {config.seed}{when}')}"


def _chain(log: RunLog) -> str:
    rows = [row(log, stage) for stage in STAGES]
    filled = [[TITLES[first], *rest] for first, *rest in rows if any(cell != "-" for cell in rest)]
    return table(HEAD, filled, COLUMNS) if filled else ""
