"""What happened in a run: `metrics.jsonl`, one flat record a line, kept in the run's folder as the run goes on."""

import json
import time
from typing import Any

from mtcnn.errors import MissingKey
from mtcnn.store import Store

KEY = "metrics.jsonl"


class RunLog:
    """The records of a run; a run that is resumed adds to those it finds."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.records: list[dict[str, Any]] = read_records(store)

    def add(self, phase: str, stage: str = "", **values: Any) -> None:
        """Keep a record of `phase` (prepare, mine, train, threshold, evaluate) and, where it has one, its stage.

        Two drivers may write the same run: each keeps the other's records with its own.
        """
        self.records.append({"time": round(time.time(), 3), "phase": phase, "stage": stage, **values})
        known = [json.dumps(record) for record in [*read_records(self.store), *self.records]]
        self.records = sorted(map(json.loads, dict.fromkeys(known)), key=lambda record: record["time"])
        lines = "".join(json.dumps(record) + "\n" for record in self.records)
        self.store.put(KEY, lines.encode())

    def again(self, phase: str, stage: str, digest: str) -> None:
        """What records of `digest` tell of is in use once more: the last of them becomes the newest of its phase."""
        if self.last(phase, stage).get("digest") == digest:
            return
        for record in reversed(self.records):
            if (record["phase"], record["stage"], record.get("digest")) == (phase, stage, digest):
                self.add(**{key: value for key, value in record.items() if key != "time"})
                return

    def last(self, phase: str, stage: str = "") -> dict[str, Any]:
        """The newest record of a phase; empty where there is none."""
        found = [r for r in self.records if r["phase"] == phase and r["stage"] == stage]
        return found[-1] if found else {}


def read_records(store: Store) -> list[dict[str, Any]]:
    """The records kept in a run's folder; none where there is no such file."""
    try:
        return [json.loads(line) for line in store.get(KEY).decode().splitlines()]
    except MissingKey:
        return []
