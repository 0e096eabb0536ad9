"""The chain on a dozen tiny scenes: what it makes, what it skips, where it stops, and how it goes on from there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtcnn import backend as backend_module
from mtcnn.boxes import iou
from mtcnn.config import Config, load_config
from mtcnn.detector import Detector, load_weights
from mtcnn.dry_run import plan
from mtcnn.errors import UserError
from mtcnn.findings import Findings
from mtcnn.image import decode
from mtcnn.mining.plan import PlannedSource, held_out_images
from mtcnn.mining.review import figures
from mtcnn.nets import STAGES, THRESHOLDS, load
from mtcnn.run_log import RunLog, read_records
from mtcnn.shards import read_crops, read_manifest
from mtcnn.sources.annotation import SourceImage
from mtcnn.sources.pack import Pictures, pack
from mtcnn.sources.read import read_index
from mtcnn.sources.synthetic import synthetic_image
from mtcnn.store import open_store
from tests.chain import configured, files_of, make_scenes, pipeline


@pytest.fixture(autouse=True, scope="module")
def one_core() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_module, "usable_cpus", lambda: 1)
        yield


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source shards, made once."""
    return make_scenes(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def finished(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Findings]:
    """A folder of runs with one that has gone through."""
    runs = tmp_path_factory.mktemp("runs")
    chain, watched = pipeline(configured(scenes, runs))
    findings = chain.all()
    assert watched.trained == list(STAGES)
    assert [stage for stage, _ in watched.mined] == [stage for stage in STAGES for _ in range(4)]
    return runs, findings


@pytest.fixture
def runs(finished: tuple[Path, Findings], tmp_path: Path) -> Path:
    """A copy of the finished run, to change."""
    return Path(shutil.copytree(finished[0], tmp_path / "runs"))


def stage_folder(runs: Path, stage: str) -> Path:
    (folder,) = (runs / "tiny" / "crops").glob(f"{stage}-*")
    return folder


# what it makes


def test_the_chain_leaves_crops_weights_records_and_a_report(finished: tuple[Path, Findings]) -> None:
    runs, findings = finished
    run = runs / "tiny"
    for stage, size in zip(STAGES, (12, 24, 48), strict=True):
        manifest = read_manifest(open_store(str(stage_folder(runs, stage))))
        assert (manifest.stage, manifest.size, len(manifest.units)) == (stage, size, 4)
        assert [unit.split for unit in manifest.units] == ["train", "train", "train", "val"]
        assert bool(manifest.count("landmark", "train")) == (stage == "onet")
        for cls in ("pos", "part", "neg"):
            assert manifest.count(cls, "train")
            assert all(len(read_crops(open_store(str(stage_folder(runs, stage))), s)) == s.crops
                       for s in manifest.shards(cls, "val"))  # fmt: skip
        weights = load((run / "models" / f"{stage}.pt").read_bytes(), stage, stage)
        assert weights.threshold == {"pnet": 0.6, "rnet": 0.7}.get(stage, weights.threshold)
        assert 0 < weights.threshold < 1 and weights.about["run"] == "tiny"
    log = RunLog(open_store(str(run)))
    phases = [(r["phase"], r["stage"]) for r in log.records if r["phase"] != "prepare"]
    expected = []
    for stage, epochs in zip(STAGES, (2, 1, 1), strict=True):
        expected += [("mine", stage), *[("train", stage)] * epochs, ("threshold", stage)]
    assert phases == [*expected, ("evaluate", "")]
    assert list(findings.lines) == ["test"] and any("AP" in line for line in findings.lines["test"])
    assert Path(findings.report.removeprefix("file://")).read_text().startswith("<!")
    assert load_config(str(run / "config.yaml")).name == "tiny"


@pytest.mark.parametrize("stage", ["pnet", "rnet"])
def test_the_usual_thresholds_pass_the_faces_that_were_wanted(
    scenes: Path, finished: tuple[Path, Findings], stage: str
) -> None:
    models = finished[0] / "tiny" / "models"
    weights = load_weights(str(models), STAGES[: STAGES.index(stage) + 1])
    detector = Detector([w.net for w in weights], min_face=36, thresholds=THRESHOLDS)
    source = PlannedSource(str(scenes / "scenes"), frozenset({"pos"}))
    images = held_out_images([(source, read_index(source.url))], 0.1, 200)
    found = []
    for image in images:
        boxes = image.annotation.boxes[~image.annotation.ignore]
        boxes = boxes[(boxes[:, 2:] - boxes[:, :2]).max(axis=1) >= 36]
        proposed = detector.detect(decode(image.data)).boxes
        found += (iou(boxes, proposed).max(axis=1, initial=0) >= 0.5).tolist()
    assert len(found) >= 3 and sum(found) / len(found) == pytest.approx(weights[-1].about["recall"])


# what it skips


def test_a_second_call_does_nothing(runs: Path, scenes: Path, finished: tuple[Path, Findings]) -> None:
    before = files_of(runs)
    chain, watched = pipeline(configured(scenes, runs))
    findings = chain.all()
    assert watched.mined == [] and watched.trained == []
    assert findings.lines == finished[1].lines
    after = files_of(runs)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed <= {"tiny/config.yaml"} and before.keys() == after.keys()


def test_where_it_runs_does_not_matter_to_what_is_there(runs: Path, scenes: Path) -> None:
    config = configured(
        scenes, runs, "cluster.actors=7", "limits.max_failed_units=2", "evaluation.min_face=50"
    )
    chain, watched = pipeline(config)
    for stage in STAGES:
        chain.mine(stage)
        chain.train(stage)
    assert watched.mined == [] and watched.trained == []


def test_a_changed_setting_of_mining_mines_that_stage_anew_and_none_before(runs: Path, scenes: Path) -> None:
    chain, watched = pipeline(configured(scenes, runs, "stages.rnet.mining.negatives_per_image=9"))
    for stage in ("pnet", "rnet"):
        chain.mine(stage)
        chain.train(stage)
    assert {stage for stage, _ in watched.mined} == {"rnet"} and len(watched.mined) == 4
    assert watched.trained == ["rnet"]
    # Both are kept: going back to the old setting finds its crops.
    assert len(list((runs / "tiny" / "crops").glob("rnet-*"))) == 2


def test_a_changed_setting_of_training_trains_that_stage_anew_on_the_same_crops(
    runs: Path, scenes: Path
) -> None:
    chain, watched = pipeline(configured(scenes, runs, "stages.rnet.training.lr=0.001"))
    for stage in ("pnet", "rnet"):
        chain.mine(stage)
        chain.train(stage)
    assert watched.mined == [] and watched.trained == ["rnet"]
    # Other weights of R-Net propose other crops for O-Net.
    chain.mine("onet")
    assert {stage for stage, _ in watched.mined} == {"onet"}


def test_weights_that_cannot_be_read_are_trained_anew(runs: Path, scenes: Path) -> None:
    path = runs / "tiny" / "models" / "pnet.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    chain, watched = pipeline(configured(scenes, runs))
    chain.train("pnet")
    assert watched.trained == ["pnet"] and path.read_bytes() == whole


# what a dry run says of it


def states(config: Config) -> dict[str, str]:
    return {step.phase: step.state for step in plan(config)}


def test_a_dry_run_finds_all_that_is_there(runs: Path, scenes: Path) -> None:
    before = files_of(runs)
    config = configured(scenes, runs)
    assert set(states(config).values()) == {"there"}
    crops = figures(read_manifest(open_store(str(stage_folder(runs, "onet")))))
    expected = f"4 units: {crops['pos']:,} pos, {crops['part']:,} part, {crops['neg']:,} neg, "
    assert next(step.makes for step in plan(config) if step.phase == "mine onet").startswith(expected)
    changed = states(configured(scenes, runs, "stages.rnet.training.lr=0.001"))
    assert [phase for phase, state in changed.items() if state == "to do"] == [
        "train rnet", "mine onet", "train onet", "evaluate test", "report",
    ]  # fmt: skip
    assert files_of(runs) == before


def test_a_dry_run_finds_what_was_left_half_done(runs: Path, scenes: Path) -> None:
    folder = stage_folder(runs, "onet")
    (folder / "manifest.json").unlink()
    (folder / "scenes-00002.json").unlink()
    (runs / "tiny" / "models" / "onet.pt").unlink()
    steps = {step.phase: step for step in plan(configured(scenes, runs))}
    assert steps["mine onet"].state == "3 of 4 units there"
    assert steps["train onet"].state == "goes on from its checkpoint"
    whole = {step.phase: step for step in plan(configured(scenes, runs, "stages.onet.mining.factor=0.7"))}
    assert steps["mine onet"].bytes == pytest.approx(whole["mine onet"].bytes / 4, abs=1)
    assert steps["evaluate test"].state == "to do" and steps["train rnet"].state == "there"


# where it stops


@pytest.mark.parametrize("stage", ["rnet", "onet"])
def test_weights_that_are_missing_are_named_with_the_commands_that_make_them(
    scenes: Path, tmp_path: Path, stage: str
) -> None:
    chain, _ = pipeline(configured(scenes, tmp_path))
    for phase in (chain.mine, chain.train):
        with pytest.raises(
            UserError, match=r"models/pnet\.pt is missing: run jobs/mine\.py pnet and jobs/train\.py pnet"
        ):
            phase(stage)


def test_crops_that_are_missing_are_named_with_the_command_that_makes_them(
    scenes: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        UserError, match=r"train pnet: no crops in .*/tiny/crops/pnet-.*: run jobs/mine\.py pnet"
    ):
        pipeline(configured(scenes, tmp_path))[0].train("pnet")


def test_a_source_that_is_missing_is_named_with_the_command_that_makes_it(
    scenes: Path, tmp_path: Path
) -> None:
    config = configured(scenes, tmp_path, "sources.photos.url=nowhere")
    with pytest.raises(
        UserError, match=r"sources\.photos: no source shards in nowhere: make them with jobs/prepare\.py"
    ):
        pipeline(config)[0].prepare()


def test_test_sources_alone_are_not_enough(scenes: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none has use: train"):
        pipeline(configured(scenes, tmp_path, "sources.scenes.use=test"))[0].mine("pnet")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stages.pnet.mining.positive_iou=1.0", r"no 'pos' crops .* stages\.pnet\.mining\.positive_iou"),
        (
            "stages.pnet.mining.negatives_per_image=0",
            r"no 'neg' crops .* stages\.pnet\.mining\.negative_iou, .* negatives_per",
        ),
        ("sources.scenes.classes=[pos, neg]", "no 'part' crops .* and the sources' classes"),
    ],
)
def test_an_empty_class_stops_it_before_training_every_time(
    scenes: Path, tmp_path: Path, override: str, words: str
) -> None:
    config = configured(scenes, tmp_path, override, "stages.pnet.mining.random_squares=2")
    for _ in range(2):
        chain, watched = pipeline(config)
        with pytest.raises(UserError, match=words):
            chain.all()
        assert watched.trained == []
    # The second time, the units are there.
    assert watched.mined == []


def test_a_source_of_one_shard_leaves_nothing_to_hold_out(scenes: Path, tmp_path: Path) -> None:
    config = configured(tmp_path, tmp_path, "sources.scenes.images_per_shard=12")
    chain, watched = pipeline(config)
    with pytest.raises(UserError, match=r"pnet: no crops are held out of class 'pos', .* images_per_shard"):
        chain.all()
    assert watched.trained == []


def test_a_loss_that_is_not_finite_names_step_and_rate_and_leaves_no_weights(
    runs: Path, scenes: Path
) -> None:
    weights = runs / "tiny" / "models" / "pnet.pt"
    weights.unlink()
    config = configured(
        scenes, runs, *(f"stages.pnet.training.{key}" for key in ("lr=1e25", "warmup=0", "schedule=constant"))
    )
    with pytest.raises(
        UserError, match=r"pnet: loss not finite by step \d+ \(epoch 1\), learning rate 1e\+25; .*lr$"
    ):
        pipeline(config)[0].train("pnet")
    assert not weights.exists()


@pytest.fixture
def broken(tmp_path: Path) -> str:
    """A source in which one of eight images cannot be read."""

    def make(number: int) -> SourceImage:
        image = synthetic_image(5, number)
        return SourceImage(image.key, b"no image", image.annotation) if number == 3 else image

    url = str(tmp_path / "broken")
    pack(Pictures("csv", 8, make, "0" * 64), url, images_per_shard=2, max_bad_fraction=1)
    return url


def test_too_many_bad_images_stop_it_every_time(scenes: Path, tmp_path: Path, broken: str) -> None:
    changes = ["sources.scenes.kind=shards", f"sources.scenes.url={broken}"]
    for _ in range(2):
        with pytest.raises(
            UserError,
            match=r"1 of 8 images are bad, over limits.max_bad_fraction=0.01; the first: synthetic-0",
        ):
            pipeline(configured(scenes, tmp_path, *changes))[0].mine("pnet")
    manifest = pipeline(configured(scenes, tmp_path, *changes, "limits.max_bad_fraction=0.2"))[0].mine("pnet")
    bad = [entry for unit in manifest.units for entry in unit.stats["bad"]]
    assert bad == [["synthetic-000003", "not an image file, or a damaged one"]] or bad == [
        ("synthetic-000003", "not an image file, or a damaged one")
    ]


def test_a_damaged_shard_stops_it_by_name_unless_units_may_fail(scenes: Path, tmp_path: Path) -> None:
    sources = Path(shutil.copytree(scenes, tmp_path / "sources"))
    shard = sources / "scenes" / "00001.tar"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(
        UserError,
        match=r"1 units failed three times, over limits.max_failed_units=0; the last: scenes-00001: .*00001.tar",
    ):
        pipeline(configured(sources, tmp_path))[0].mine("pnet")
    manifest = pipeline(configured(sources, tmp_path, "limits.max_failed_units=1"))[0].mine("pnet")
    assert [unit.unit for unit in manifest.units] == ["scenes-00000", "scenes-00002", "scenes-00003"]


# how it goes on


def test_mining_that_was_stopped_goes_on_to_the_same_shards(
    finished: tuple[Path, Findings], scenes: Path, tmp_path: Path
) -> None:
    config = configured(scenes, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        pipeline(config, units=2)[0].all()
    chain, watched = pipeline(config)
    chain.mine("pnet")
    assert len(watched.mined) == 2
    expected = {path.name: path.read_bytes() for path in stage_folder(finished[0], "pnet").iterdir()}
    assert {path.name: path.read_bytes() for path in stage_folder(tmp_path, "pnet").iterdir()} == expected


def test_training_that_was_stopped_goes_on_to_the_same_weights(
    finished: tuple[Path, Findings], runs: Path, scenes: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.rmtree(runs / "tiny" / "models")
    shutil.rmtree(runs / "tiny" / "tensorboard")
    (runs / "tiny" / "metrics.jsonl").unlink()
    with pytest.raises(KeyboardInterrupt):
        pipeline(configured(scenes, runs), epochs=1)[0].train("pnet")
    assert [path.name for path in (runs / "tiny" / "tensorboard").iterdir()] == ["pnet"]
    assert not (runs / "tiny" / "models" / "pnet.pt").exists()
    with caplog.at_level("INFO"):
        pipeline(configured(scenes, runs))[0].train("pnet")
    assert any(line.startswith("train pnet: 2/2 epochs") for line in caplog.messages)
    weights = finished[0] / "tiny" / "models" / "pnet.pt"
    assert (runs / "tiny" / "models" / "pnet.pt").read_bytes() == weights.read_bytes()
    epochs = [r["epoch"] for r in read_records(open_store(str(runs / "tiny"))) if r["phase"] == "train"]
    assert epochs == [1, 2]
