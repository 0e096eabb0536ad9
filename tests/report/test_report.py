"""The report of a small made-up run: one safe file that says what happened, also where parts of the run are missing."""

import base64
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mtcnn.config import load_config
from mtcnn.detector import Detector
from mtcnn.evaluation import evaluate
from mtcnn.image import decode
from mtcnn.nets import STAGES, Architecture, build
from mtcnn.report import write_events, write_report
from mtcnn.report.about import without_secrets
from mtcnn.report.table import epochs
from mtcnn.run_log import RunLog
from mtcnn.store import open_store

VOID = {"meta", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Tags, attributes and text of a page; every element must be closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], [], []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    @property
    def words(self):
        return " ".join(self.text)


@pytest.fixture(scope="module")
def detector():
    """A cascade of untrained nets that lets few boxes through."""
    nets = [build(Architecture(stage, landmarks=stage == "onet")) for stage in STAGES]
    for number, net in enumerate(nets):
        net.initialise(torch.Generator().manual_seed(number))
    return Detector(nets, min_face=60, thresholds=(0.5, 0.5, 0.5), max_proposals=20)


@pytest.fixture(scope="module")
def evaluation(detector, source):
    return evaluate(detector, source)


def recorded(log, epochs_of_each=3):
    """Records of a whole chain, as the pipeline writes them."""
    log.add("prepare", source="scenes", images=8, faces=20, seconds=1.5)
    for stage in STAGES:
        log.add(
            "mine", stage, digest=f"crops-{stage}", seconds=75.0, units=3, images=8, faces=20, proposals=160, hit=15,
            pos=90, part=91, neg=1192, landmark=93, bytes=123_456,
        )  # fmt: skip
        for epoch in range(1, epochs_of_each + 1):
            trained(log, stage, epoch, loss=[0.4, 0.2, 0.3][(epoch - 1) % 3])
        log.add("threshold", stage, threshold=0.321, recall=0.955, seconds=2.0)
    log.add("evaluate", source="held-out", seconds=4.0, **{"ap@0.4": 0.8, "ap@0.5": 0.7})
    return log


def trained(log, stage, epoch, loss, digest="weights"):
    log.add(
        "train", stage, digest=digest,
        **{
            "train/class_loss": loss, "train/box_loss": 0.3, "train/landmark_loss": 0.0, "learning_rate": 0.001,
            "held_out/positive_accuracy": 0.91, "held_out/negative_accuracy": 0.97, "held_out/box_iou_before": 0.6,
            "held_out/box_iou_after": 0.7, "held_out/class_loss": loss, "held_out/box_loss": 0.2, "epoch": epoch,
            "held_out/loss": loss, "samples_per_second": 1234.0, "seconds": 10.0,
        },
    )  # fmt: skip


@pytest.fixture(scope="module")
def config(source):
    overrides = ["name=demo", f"sources.held-out={{url: '{source}', use: test}}", "sources.scenes.url=scenes"]
    return load_config(None, overrides)


@pytest.fixture(scope="module")
def full(tmp_path_factory, config, detector, evaluation, mined):
    """The store of a run in which nothing is missing, its report written."""
    run = open_store(str(tmp_path_factory.mktemp("run")))
    stores = {stage: run.child(f"crops/{stage}") for stage in STAGES}
    for stage, store in stores.items():
        mined(store, stage)
    url = write_report(config, run, recorded(RunLog(run)), stores, {"held-out": evaluation}, detector)
    assert url == f"{run.url}/report.html"
    return run


@pytest.fixture(scope="module")
def html(full):
    return full.get("report.html").decode()


@pytest.fixture
def run(tmp_path):
    return open_store(str(tmp_path / "runs" / "demo"))


@pytest.fixture
def page_of(config, run, knows):
    """Writes a report with a cascade of one stage that is not looked into, and returns its HTML."""

    def write(log=None, stores=None, evaluations=None, settings=config):
        write_report(settings, run, log or RunLog(run), stores or {}, evaluations or {}, knows())
        return run.get("report.html").decode()

    return write


def test_the_page_is_one_file_that_loads_and_runs_nothing(html):
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    links = [value for name, value in page.attributes if name in ("src", "href", "action", "data", "srcset")]
    assert links and all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://", html)
    assert len(html) < 4_000_000


def test_every_picture_is_a_whole_jpeg_and_every_link_leads_to_a_section(html):
    page = Page(html)
    data = [
        value.split(",", 1)[1]
        for name, value in page.attributes
        if name == "href" and value.startswith("data:")
    ]
    for picture in data[::20]:
        assert decode(base64.b64decode(picture, validate=True)).ndim == 3
    targets = {value for name, value in page.attributes if name == "id"}
    links = {value[1:] for name, value in page.attributes if name == "href" and value.startswith("#")}
    assert links == targets == {"chain", "cascade", "pictures", *STAGES, "times", "about"}


def test_it_says_what_happened(html, evaluation):
    words = Page(html).words
    for expected in (
        f"{evaluation.curve.ap:.3f}", "AP@0.5 on held-out", "6 images", "1,192", "1 min 15 s", "0.600 → 0.700",
        "91.0 %", "75.0\xa0%", "20 proposals an image", "Dotted: epoch 2", "Hardest negatives", "Landmark crops",
        "12-20", "crops-pnet", "weights", evaluation.digest[:16], torch.__version__, np.__version__,
        "random_squares: 50",
    ):  # fmt: skip
        assert expected in words, expected


def test_an_empty_run_and_one_of_a_single_epoch_have_a_page(page_of, run):
    page = Page(page_of())
    assert "not measured" in page.words
    assert {value for name, value in page.attributes if name == "id"} == {"about"}
    log = RunLog(run)
    trained(log, "pnet", 1, loss=float("nan"))
    page = Page(page_of(log))
    assert "1 epoch, 1,234 crops/s" in page.words
    assert {value for name, value in page.attributes if name == "id"} == {"chain", "pnet", "times", "about"}


def test_crops_that_are_gone_or_damaged_are_named_in_their_place(page_of, run, tmp_path, mined):
    stores = {stage: open_store(str(tmp_path / stage)) for stage in STAGES}
    for stage, store in stores.items():
        mined(store, stage, units=2, count=3)
    stores["pnet"].delete("manifest.json")
    stores["rnet"].put("scenes-0-pos.tar", b"short")
    words = Page(page_of(recorded(RunLog(run)), stores)).words
    assert re.search(r"Not shown: \S*pnet/manifest.json: not found", words)
    assert re.search(r"Not shown: \S*scenes-0-pos.tar: 5 bytes, but", words)
    assert words.count("Landmark crops") == 1


def test_names_from_data_are_text_and_never_markup(page_of, known):
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
    misses = tuple(replace(example, name=hostile, score=0.0) for example in known.misses[:3])
    assert misses
    named = replace(known, misses=misses, skipped=(hostile,))
    settings = load_config(None, [f'sources.scenes={{url: "{hostile[:25]}", use: train}}'])
    page = Page(page_of(evaluations={"held-out": named}, settings=settings))
    assert not {"script", "img"} & set(page.tags)
    assert page.words.count(hostile) == 1
    # Of a path only the file's name stands below a picture.
    assert page.words.count(hostile.rpartition("/")[2]) == 4
    assert f"url: {hostile[:25]}" in page.words


def test_secrets_in_urls_stay_out(page_of):
    settings = load_config(None, ["sources.scenes={url: 's3://me:hunter2@bucket/x?token=hunter3'}"])
    html = page_of(settings=settings)
    assert "hunter" not in html
    assert "s3://…@bucket/x?…" in html
    for text in (
        "ray://u:hunter2@head:1",
        "'https://x/y?X-Amz-Signature=hunter2'",
        "gs://a@b:hunter2@bucket",
    ):
        assert "hunter" not in without_secrets(text)
    assert without_secrets("url: s3://bucket/a@b # why?") == "url: s3://bucket/a@b # why?"


def test_plots_for_use_elsewhere_lie_beside_it(full):
    assert full.get("plots/held-out/precision-recall.svg").startswith(b"<?xml")
    assert decode(full.get("plots/held-out/worst.jpg")).shape[2] == 3


def test_a_second_training_replaces_the_curves_of_the_first(run):
    log = recorded(RunLog(run))
    trained(log, "rnet", 1, loss=0.9, digest="other")
    trained(log, "rnet", 1, loss=0.8, digest="other")
    assert [(r["epoch"], r["held_out/loss"]) for r in epochs(log, "rnet")] == [(1, 0.8)]
    assert [r["epoch"] for r in epochs(log, "onet")] == [1, 2, 3]
    assert epochs(RunLog(open_store(run.url + "-none")), "pnet") == []


def test_events_hold_the_records_and_are_replaced_by_the_same_bytes(run, tmp_path):
    log = recorded(RunLog(run))
    write_events(run, log)
    first = {key: run.get(key) for key, _ in run.list("tensorboard")}
    # What a resumed run reads back has strings where the first had numbers as keys.
    write_events(run, RunLog(run))
    assert {key: run.get(key) for key, _ in run.list("tensorboard")} == first
    assert sorted(key.split("/")[1] for key in first) == ["cascade", "onet", "pnet", "rnet"]

    events = EventAccumulator(f"{run.local_path}/tensorboard/pnet").Reload()
    losses = events.Scalars("held_out/loss")
    assert [(e.step, round(e.value, 4)) for e in losses] == [(1, 0.4), (2, 0.2), (3, 0.3)]
    assert losses[0].wall_time == next(r["time"] for r in log.records if r["phase"] == "train")
    assert events.Scalars("mine/neg")[0].value == 1192
    cascade = EventAccumulator(f"{run.local_path}/tensorboard/cascade").Reload()
    assert cascade.Scalars("evaluate/held-out/ap@0.5")[0].value == pytest.approx(0.7)


def test_a_run_without_records_has_no_events(run):
    write_events(run, RunLog(run))
    assert list(run.list()) == []
