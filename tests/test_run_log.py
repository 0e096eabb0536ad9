"""A run's records outlive the process that wrote them."""

import json
import time
from pathlib import Path

import pytest

from mtcnn.run_log import KEY, RunLog, read_records
from mtcnn.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_a_run_without_records_has_none(store: Store) -> None:
    assert read_records(store) == [] and RunLog(store).last("mine", "pnet") == {}


def test_a_run_that_goes_on_adds_to_its_records(store: Store) -> None:
    RunLog(store).add("mine", "pnet", pos=3)
    again = RunLog(store)
    again.add("mine", "pnet", pos=4)
    again.add("mine", "rnet", pos=5)
    again.add("prepare", source="photos")
    assert [(r["phase"], r["stage"], r.get("pos")) for r in read_records(store)] == [
        ("mine", "pnet", 3), ("mine", "pnet", 4), ("mine", "rnet", 5), ("prepare", "", None),
    ]  # fmt: skip
    assert RunLog(store).last("mine", "pnet")["pos"] == 4
    assert RunLog(store).last("prepare")["source"] == "photos"
    assert RunLog(store).last("train", "pnet") == {}


def test_what_is_in_use_once_more_is_the_newest_again(store: Store) -> None:
    log = RunLog(store)
    for digest, pos in (("a", 3), ("a", 4), ("b", 5)):
        log.add("mine", "pnet", digest=digest, pos=pos)
    log.again("mine", "pnet", "b")
    assert len(log.records) == 3
    time.sleep(0.01)  # times are kept to the millisecond
    log.again("mine", "pnet", "a")
    assert RunLog(store).last("mine", "pnet")["pos"] == 4
    log.again("mine", "pnet", "never")
    assert len(log.records) == 4


def test_each_record_is_a_line_of_json_with_its_time(store: Store) -> None:
    log = RunLog(store)
    log.add("mine", "pnet", note="two\nlines")
    log.add("mine", "rnet")
    lines = store.get(KEY).decode().splitlines()
    assert [json.loads(line)["stage"] for line in lines] == ["pnet", "rnet"]
    assert json.loads(lines[0])["time"] <= json.loads(lines[1])["time"]


def test_two_that_write_at_once_keep_each_others_records(store: Store) -> None:
    one, other = RunLog(store), RunLog(store)
    for epoch in range(3):
        one.add("train", "pnet", epoch=epoch, driver="one")
        other.add("train", "pnet", epoch=epoch, driver="other")
    kept = [(r["driver"], r["epoch"]) for r in read_records(store)]
    assert sorted(kept) == [(driver, epoch) for driver in ("one", "other") for epoch in range(3)]
    assert other.last("train", "pnet")["epoch"] == 2 and len(other.records) == 6
