"""What a run would do, without doing it: phases, what of them is there, crops and bytes to expect, resources.

Annotations and what earlier runs left are read, a few images are looked at; Ray is not started and nothing is written.
"""

import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from mtcnn.backend import CHECKPOINT, usable_cpus
from mtcnn.config import Cluster, Config, Source
from mtcnn.errors import MissingKey
from mtcnn.findings import REPORT, findings_there
from mtcnn.mining.expected import crop_bytes, expected_crops
from mtcnn.mining.review import figures
from mtcnn.nets import STAGES
from mtcnn.phases import (
    checkpoints_store,
    crops_store,
    mined_sources,
    mining_digest,
    mining_units,
    ready_index,
    trained_weights,
    training_plan,
    training_sources,
    weights_before,
)
from mtcnn.shards import CLASSES, Manifest, list_marks, read_manifest
from mtcnn.sources import pictures_of
from mtcnn.sources.pack import packed_before, surveyed
from mtcnn.sources.read import Index, Summary
from mtcnn.store import open_store
from mtcnn.training.losses import blocks
from mtcnn.words import about, count, size

LOOKED_AT = 24
"""Images of a source that its faces and bytes are worked out from before it is prepared."""
TO_DO, THERE = "to do", "there"


@dataclass(frozen=True)
class Step:
    """A phase: what is done of it, and what it makes."""

    phase: str
    state: str
    makes: str
    bytes: int = 0
    """To be written."""


@dataclass(frozen=True)
class _Known:
    """What is known of a source before the run."""

    summary: Summary
    shards: int
    index: Index | None
    """None where it is still to be made."""


def plan(config: Config) -> list[Step]:
    """The phases in their order; UserError for what would stop the run before it begins."""
    training_sources(config)
    known = {}
    steps = []
    for name, source in config.sources.items():
        known[name], step = _prepare(config, name, source)
        steps.append(step)
    chain = True
    for stage in STAGES:
        mine, train, chain = _stage(config, stage, known, chain)
        steps += [mine, train]
    return [*steps, *_finish(config, known, chain)]


def described(config: Config) -> str:
    """The plan as text: a line a phase, then where results go and what the run asks for."""
    steps = plan(config)
    widths = [max(len(getattr(step, name)) for step in steps) for name in ("phase", "state")]
    lines = [f"{step.phase:<{widths[0]}}  {step.state:<{widths[1]}}  {step.makes}".rstrip() for step in steps]
    crops = sum(step.bytes for step in steps if step.phase.startswith("mine"))
    places = [
        ("crops", f"~{size(crops)} more in {_place(config.crops_url)}" if crops else config.crops_url),
        ("weights", config.models_url),
        ("report", f"{config.run_url}/{REPORT}"),
        ("runs on", _resources(config.cluster)),
    ]
    return "\n".join([*lines, "", *(f"{name:<8}  {what}" for name, what in places)])


def _prepare(config: Config, name: str, source: Source) -> tuple[_Known, Step]:
    if source.kind == "shards":
        return _there(name, ready_index(name, source))
    pictures = pictures_of(
        source.kind,
        source.images or None,
        source.annotations,
        count=source.count,
        seed=source.seed,
        skip_bad=source.skip_bad,
        max_pixels=config.limits.max_pixels,
    )
    kept = packed_before(
        pictures,
        source.url,
        seed=source.seed,
        max_bad_fraction=config.limits.max_bad_fraction,
        images_per_shard=source.images_per_shard,
    )
    if kept is not None:
        return _there(name, kept)
    looked_at, data = surveyed(pictures, LOOKED_AT)
    times = pictures.count / max(looked_at.images, 1)
    summary = Summary(
        images=pictures.count,
        empty=round(looked_at.empty * times),
        faces=round(looked_at.faces * times),
        sizes=tuple(round(faces * times) for faces in looked_at.sizes),
        ignored=round(looked_at.ignored * times),
        without_area=round(looked_at.without_area * times),
        with_landmarks=round(looked_at.with_landmarks * times),
    )
    shards = -(-pictures.count // source.images_per_shard)
    written = round(data * times)
    makes = (
        f"{_shards(shards)}: {count(summary.images)} images, {about(summary.faces)} faces, ~{size(written)}"
    )
    return _Known(summary, shards, None), Step(f"prepare {name}", TO_DO, makes, written)


def _there(name: str, index: Index) -> tuple[_Known, Step]:
    written = sum(row.bytes for row in index.shards)
    what = f"{_shards(len(index.shards))}: {count(index.images)} images, {count(index.faces)} faces, {size(written)}"
    return _Known(index.summary, len(index.shards), index), Step(f"prepare {name}", THERE, what)


def _shards(number: int) -> str:
    return f"{count(number)} shard{'s' * (number != 1)}"


def _stage(config: Config, stage: str, known: Mapping[str, _Known], chain: bool) -> tuple[Step, Step, bool]:
    """Mining and training of a stage; `chain`: all before it is there, so that its digests are known."""
    indexes = {name: known[name].index for name in training_sources(config)}
    there = {name: index for name, index in indexes.items() if index is not None}
    digest = None
    if chain and len(there) == len(indexes):
        digest = mining_digest(config, stage, there, weights_before(config, stage))
        store = crops_store(config, stage, digest)
        try:
            manifest = read_manifest(store)
        except MissingKey:
            marks = set(list_marks(store))
            done = sum(unit.name in marks for unit in mining_units(config, stage, there))
            mine, positives = _to_mine(config, stage, known, done)
        else:
            mine, positives = _mined(stage, manifest), manifest.count("pos", "train")
    else:
        mine, positives = _to_mine(config, stage, known, 0)
    state = TO_DO
    if digest is not None:
        training = training_plan(config, stage, digest)
        if trained_weights(config, training) is not None:
            state = THERE
        elif checkpoints_store(config, training).size(CHECKPOINT) is not None:
            state = "goes on from its checkpoint"
    return mine, Step(f"train {stage}", state, _training(config, stage, positives)), state == THERE


def _mined(stage: str, manifest: Manifest) -> Step:
    found = figures(manifest)
    crops = ", ".join(f"{count(found[name])} {name}" for name in CLASSES if found[name])
    return Step(f"mine {stage}", THERE, f"{_units(len(manifest.units))}: {crops}, {size(found['bytes'])}")


def _to_mine(config: Config, stage: str, known: Mapping[str, _Known], done: int) -> tuple[Step, float]:
    """The step, and the positives that may be trained on."""
    sources = {
        n: (known[n].summary, frozenset(map(str, s.classes))) for n, s in mined_sources(config, stage).items()
    }
    total = sum(known[name].shards for name in sources)
    crops = expected_crops(stage, config.stages.get(stage), sources)
    written = sum(crops.values()) * crop_bytes(stage)
    likely = ", ".join(f"{about(number)} {name}" for name, number in crops.items() if number)
    makes = f"{_units(total)}: {likely}, ~{size(written)}"
    state = f"{done} of {total} units there" if done else TO_DO
    rest = round(written * (total - done) / max(total, 1))
    return Step(f"mine {stage}", state, makes, rest), crops["pos"] * (1 - config.validation)


def _units(number: int) -> str:
    return f"{count(number)} unit{'s' * (number != 1)}"


def _training(config: Config, stage: str, positives: float) -> str:
    options = config.stages.get(stage)
    workers = config.cluster.workers
    of_each = blocks(options.training, options.net.landmarks).pos * workers
    steps = options.training.steps_per_epoch or max(math.ceil(positives / of_each), 1)
    crops = f"{options.training.batch_size} crops"
    return (
        f"{count(options.training.epochs)} epochs of {count(steps)} steps of {crops}"
        + (f" on each of {workers} workers" if workers > 1 else "")
    )  # fmt: skip


def _finish(config: Config, known: Mapping[str, _Known], chain: bool) -> list[Step]:
    tests = {name: known[name] for name, source in config.sources.items() if source.use == "test"}
    indexes = {name: test.index for name, test in tests.items() if test.index is not None}
    run, models = open_store(config.run_url), open_store(config.models_url)
    there = chain and len(indexes) == len(tests) and findings_there(config, run, models, indexes) is not None
    state = THERE if there else TO_DO
    most = config.evaluation.max_images
    steps = []
    for name, test in tests.items():
        images = min(test.summary.images, most or test.summary.images)
        steps.append(Step(f"evaluate {name}", state, f"{count(images)} images"))
    return [*steps, Step("report", state, f"{run.url}/{REPORT}")]


def _place(url: str) -> str:
    """A store with the space that is left on its disk."""
    folder = open_store(url).local_path
    if folder is None:
        return url
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return f"{url} ({size(shutil.disk_usage(there).free)} free)"


def _resources(cluster: Cluster) -> str:
    here = usable_cpus()
    if cluster.mode == "local":
        return f"this process, with {_cpus(here)} and without Ray"
    address = cluster.address or os.environ.get("RAY_ADDRESS", "")
    actors: int | str = cluster.actors
    cpus = cluster.cpus_per_worker
    if address:
        where = f"the Ray cluster at {address}"
        actors = "as many" if actors == "auto" else actors
        workers = "its share of a machine" if cpus == "auto" else _cpus(cpus)
    else:
        where = f"a new Ray on this machine, with {_cpus(here)}"
        # As cluster.resources has it for one machine.
        actors = int(here / cluster.cpus_per_actor + 1e-4) if actors == "auto" else actors
        workers = _cpus(max(here // cluster.workers, 1) if cpus == "auto" else cpus)
    mining = f"mining actors{' as fit' if actors == 'as many' else ''}"
    training = f"training worker{'s' * (cluster.workers > 1)}"
    return (
        f"{where}: {actors} {mining}, {_cpus(cluster.cpus_per_actor)}{_gpus(cluster.gpus_per_actor)} each; "
        f"{cluster.workers} {training}, {workers}{_gpus(cluster.gpus_per_worker)} each"
    )


def _cpus(number: float) -> str:
    return f"{number:g} CPU{'s' * (number != 1)}"


def _gpus(number: float) -> str:
    return f" and {number:g} GPU{'s' * (number != 1)}" if number else ""
