"""The run's records as TensorBoard events, made anew from `metrics.jsonl`: the same log gives the same bytes.

`SummaryWriter` would name its file after clock and process, so that every repetition added another curve; it also
writes to local folders only. Here each stage is one object of a fixed name, framed by TensorBoard's own writer.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]

from mtcnn.nets import STAGES
from mtcnn.report.table import epochs
from mtcnn.run_log import RunLog
from mtcnn.store import Store

FOLDER = "tensorboard"
FILE = "events.out.tfevents.mtcnn"
VERSION = "brain.Event:2"
"""First event of every such file."""
NOT_METRICS = {"time", "epoch"}


def write_events(run: Store, log: RunLog) -> None:
    """Put `tensorboard/STAGE/` events into a run: what was mined, every epoch of training, the threshold set.

    `tensorboard --logdir runs` shows each stage as a run of its own; steps are epochs. Events of before are replaced:
    to see those that come in later, TensorBoard has to read the file anew, as it does with `--load_fast=false`.
    """
    for stage in STAGES:
        records = [log.last("mine", stage), *epochs(log, stage), log.last("threshold", stage)]
        _write(run, stage, [record for record in records if record])
    _write(run, "cascade", [record for record in log.records if record["phase"] == "evaluate"])


def _write(run: Store, name: str, records: Iterable[Mapping[str, Any]]) -> None:
    events = [event for record in records if (event := _event(record)) is not None]
    if not events:
        return
    out = io.BytesIO()
    writer = RecordWriter(out)
    for event in (Event(wall_time=events[0].wall_time, file_version=VERSION), *events):
        writer.write(event.SerializeToString())
    run.put(f"{FOLDER}/{name}/{FILE}", out.getvalue())


def _event(record: Mapping[str, Any]) -> Event | None:
    """The numbers of a record as one event; None where it has none."""
    numbers = {
        key: value
        for key, value in record.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in NOT_METRICS
    }
    if not numbers:
        return None
    prefix = "/".join(
        str(record[part]) for part in ("phase", "source") if part in record and "epoch" not in record
    )
    values = [
        Summary.Value(tag=f"{prefix}/{key}" if prefix else key, simple_value=float(value))
        for key, value in numbers.items()
    ]
    return Event(wall_time=record["time"], step=int(record.get("epoch", 0)), summary=Summary(value=values))
