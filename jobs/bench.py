"""Measure one path against its limit, both in the same run: only the ratios mean anything on a shared machine."""

import argparse
import importlib
import json
import logging
import tempfile
from pathlib import Path

import _common

from mtcnn.errors import UserError

PATHS = ("mining", "shards", "training", "detector", "scaling")


def main() -> None:
    """Measure, print the table, write the rows."""
    options = _arguments()
    # Imported here: `--help` needs no torch.
    import torch

    from mtcnn.bench.data import Setting
    from mtcnn.bench.report import machine, machine_line

    if options.device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: this machine has no GPU that PyTorch can use")
    where = machine()
    print(machine_line(where), flush=True)
    with tempfile.TemporaryDirectory(prefix="mtcnn-bench-") as folder:
        setting = Setting(Path(folder), options.source, options.weights, options.device, options.repeats)
        report = importlib.import_module(f"mtcnn.bench.{options.path}").run(setting)
    if options.device == "cpu" and not torch.cuda.is_available():
        report.notes.append("no GPU here: nothing is said of one")
    print("", *report.lines(), sep="\n")
    if options.json:
        try:
            text = json.dumps(report.to_dict(where), indent=1, allow_nan=False, ensure_ascii=False)
            options.json.write_text(text + "\n", encoding="utf-8")
        except OSError as error:
            raise UserError(f"--json {options.json}: {error.strerror}") from error


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", choices=PATHS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows as JSON")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--repeats", type=_positive, default=5, metavar="N", help="rounds, if time allows (default 5)"
    )
    parser.add_argument(
        "--source", metavar="URL", help="source shards of real photos (default: synthetic scenes)"
    )
    parser.add_argument("--weights", metavar="URL", help="folder of the nets (default: the released weights)")
    return parser.parse_intermixed_args()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value


if __name__ == "__main__":
    logging.captureWarnings(True)
    _common.run(main)
