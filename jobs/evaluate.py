"""Measure a detector on labelled images: average precision, the WIDER FACE protocol, or landmark error.

python jobs/evaluate.py --weights model_store --source anno_store/val --json result.json --out plots
python jobs/evaluate.py --source anno_store/wider-val --protocol wider --ground-truth wider_face_split
"""

import argparse
import json
from pathlib import Path

import _common

from mtcnn.config import Config, load_config
from mtcnn.detector import Detector
from mtcnn.errors import MissingKey, UserError
from mtcnn.evaluation import (
    Evaluation,
    LandmarkEvaluation,
    WiderEvaluation,
    evaluate,
    evaluate_landmarks,
    evaluate_wider_source,
)
from mtcnn.phases import source_index
from mtcnn.progress import progress
from mtcnn.sources.read import read_index
from mtcnn.store import open_store


def main() -> None:
    """Parse, evaluate, print, write."""
    parser = _parser()
    args = parser.parse_intermixed_args()
    if args.protocol == "wider" and args.ground_truth is None:
        raise UserError(
            "--protocol wider needs --ground-truth: the folder of the wider_{easy,medium,hard}_val.mat"
        )
    if args.protocol != "ap" and args.iou is not None:
        raise UserError(
            f"--iou goes with --protocol ap; --protocol {args.protocol} says itself what is a match"
        )
    # A configuration has at least one source; without a file it is the one that is given.
    own = [] if args.config else [f"sources.given.url={args.source}"]
    settings = load_config(args.config, [*own, *args.overrides]).evaluation
    config = load_config(args.config, args.overrides) if args.config else None
    weights = args.weights or (config.models_url if config else None)
    try:
        detector = Detector.load(
            weights,
            device=args.device,
            min_face=args.min_face or settings.min_face,
            thresholds=tuple(args.thresholds or settings.thresholds),
        )
    except MissingKey as error:
        if args.weights or not config:
            raise
        raise UserError(f"{error}: run jobs/full_pipeline.py --config {args.config} first") from error
    source = args.source or _test_source(config)
    limit = args.limit or settings.max_images or None
    result: Evaluation | WiderEvaluation | LandmarkEvaluation
    images = read_index(source).images
    with progress(min(limit or images, images), "evaluate", "images") as bar:
        if args.protocol == "wider":
            result = evaluate_wider_source(detector, source, args.ground_truth, limit, args.width, bar.update)
        elif args.protocol == "landmarks":
            result = evaluate_landmarks(detector, source, limit, args.width, bar.update)
        else:
            result = evaluate(detector, source, args.iou or 0.5, limit, args.width, bar.update)
    print("\n".join(result.lines()))
    if args.json:
        _write_json(args.json, result)
    if args.out:
        _write_pictures(args.out, result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", metavar="URL", help="folder or URL of the .pt files; default: the "
                        "configuration's, without one the released weights")  # fmt: skip
    parser.add_argument(
        "--source", metavar="URL", help="source shards; default: the configuration's only test source"
    )
    parser.add_argument("--protocol", choices=("ap", "wider", "landmarks"), default="ap", help="default: ap")
    parser.add_argument(
        "--ground-truth", metavar="DIR", type=Path, help="folder of WIDER FACE's official .mat lists"
    )
    parser.add_argument(
        "--iou", type=_overlap, metavar="IOU", help="overlap from which a face counts as found (default 0.5)"
    )
    parser.add_argument("--limit", type=_positive, metavar="N", help="only the first N images")
    parser.add_argument(
        "--width",
        type=_positive,
        metavar="PX",
        help="bring every image to this width first (default: as it is)",
    )
    parser.add_argument("--min-face", type=float, metavar="PX", help="smallest face looked for (default 12)")
    parser.add_argument("--thresholds", type=_fraction, nargs=3, metavar=("P", "R", "O"),
                        help="score to pass each net (default .4 .2 .02: the whole curve)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default cpu)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the result as JSON")
    parser.add_argument(
        "--out", metavar="DIR", help="write plots, and the worst misses and false alarms, to a folder or URL"
    )
    parser.add_argument(
        "--config", metavar="FILE", help="take weights, source and thresholds from a run's configuration"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="settings laid over the configuration"
    )
    return parser


def _fraction(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _overlap(text: str) -> float:
    value = _fraction(text)
    if value == 0:
        raise argparse.ArgumentTypeError("0 would match boxes that do not touch")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


def _test_source(config: Config | None) -> str:
    """The URL of the configuration's test source, which is made where it can be."""
    tests = {name: s.url for name, s in config.sources.items() if s.use == "test"} if config else {}
    if config is None or len(tests) != 1:
        urls = f"one of {', '.join(tests.values())}" if tests else "the URL of source shards"
        raise UserError(f"--source is needed: {urls}")
    (name,) = tests
    source_index(config, name)
    return tests[name]


def _write_json(path: Path, result: Evaluation | WiderEvaluation | LandmarkEvaluation) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"--json {path}: {error.strerror}") from error


def _write_pictures(url: str, result: Evaluation | WiderEvaluation | LandmarkEvaluation) -> None:
    # matplotlib takes a second to load: only who asks for pictures waits for it.
    from mtcnn.evaluation import plots, sheet

    store = open_store(url)
    if isinstance(result, LandmarkEvaluation):
        store.put("landmark-errors.svg", plots.landmark_errors(result))
    else:
        store.put("precision-recall.svg", plots.precision_recall(result))
    if isinstance(result, Evaluation):
        store.put("recall-false-positives.svg", plots.recall_false_positives(result))
        store.put("recall-by-size.svg", plots.recall_by_size(result))
        store.put("worst.jpg", sheet.draw_sheet(result))


if __name__ == "__main__":
    _common.run(main)
