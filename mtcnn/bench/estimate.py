"""What a data set of 10 million and of a billion images needs, worked out from rates measured in this run.

Rates by CPU time of one thread: what a core gives that is not shared. Training: one pass over the positives.
"""

import tempfile
import time
from dataclasses import dataclass

from mtcnn.bench.crop_shards import write_random_crops
from mtcnn.bench.data import Material, Setting, miner
from mtcnn.bench.report import Report, number
from mtcnn.bench.training import STEPS, fixed_batch
from mtcnn.config import Source, Stages
from mtcnn.nets import SIZES
from mtcnn.shards import UnitRow
from mtcnn.store import open_store
from mtcnn.training.losses import blocks

DATA_SETS = {"10 M": 10_000_000, "1 B": 1_000_000_000}
UNIT_IMAGES: int = Source(url="x").images_per_shard
"""Images of a unit as `prepare` makes them."""
MARKS_A_PAGE = 1000
HEAD = [
    "images", "stage", "units", "shards", "requests to mine", "source read", "crops", "crops written",
    "{unit} to mine", "requests a pass", "{unit} a pass over the positives",
]  # fmt: skip


@dataclass(frozen=True)
class StageRates:
    """What was measured of one stage."""

    stage: str
    images_per_second: float
    """Mining, one core or GPU."""
    samples_per_second: float
    """Training, one core or GPU."""
    crops: float
    """Crops that an image gives."""
    positives: float
    bytes: float
    """Bytes of shards that an image gives."""
    classes: int
    """Shards that a unit gives."""
    source_bytes: float
    """Bytes of an image in its source shard."""


def estimate(found: Material, setting: Setting, report: Report) -> None:
    """Measure mining and training of each stage shortly, and add the table to `report`."""
    unit = "GPU-hours" if setting.device == "cuda" else "core-hours"
    table = [[title.format(unit=unit) for title in HEAD]]
    rates = [_rates(stage, found, setting) for stage in found.stages()]
    for name, images in DATA_SETS.items():
        table += [[name, *needs(rate, images)] for rate in rates]
    report.tables.append(table)
    measured = "; ".join(
        f"{r.stage} {number(r.images_per_second)} images/s mined, {number(r.samples_per_second)} samples/s trained"
        for r in rates
    )
    report.notes.append(
        f"the estimate takes, for a {unit.split('-')[0]}: {measured}; units of {UNIT_IMAGES} images"
    )
    if setting.device == "cpu":
        report.notes.append("GPU-hours are worked out by --device cuda, on a machine with a GPU")


def needs(rate: StageRates, images: int) -> list[str]:
    """One row of the table for `images` images."""
    units = -(-images // UNIT_IMAGES)
    shards = units * rate.classes
    # Mining a unit: its source shard, a look for its mark, a put for each class and one for the mark; then all
    # marks and shards are listed once.
    requests = units * (3 + rate.classes) + (units * (1 + rate.classes)) // MARKS_A_PAGE
    batch = blocks(Stages().get(rate.stage).training, Stages().get(rate.stage).net.landmarks)
    samples = images * rate.positives * batch.total / batch.pos
    return [
        rate.stage,
        f"{units:,}",
        f"{shards:,}",
        f"{requests:,}",
        _size(images * rate.source_bytes),
        f"{images * rate.crops:,.0f}",
        _size(images * rate.bytes),
        number(images / rate.images_per_second / 3600),
        f"{shards:,}",
        number(samples / rate.samples_per_second / 3600),
    ]


def _rates(stage: str, found: Material, setting: Setting) -> StageRates:
    row, mining = _mine(stage, found, setting)
    url = tempfile.mkdtemp(dir=setting.folder)
    landmarks = Stages().get(stage).net.landmarks
    batch = Stages().get(stage).training.batch_size
    write_random_crops(open_store(url), stage, SIZES[stage], 8 * batch, landmarks)
    steps = max(round(STEPS[stage] / 2 * setting.scale), 1)
    train = fixed_batch(stage, url, setting.device, 1, steps)
    train()
    start = _clock(setting.device)
    samples = train()
    training = samples / max(_clock(setting.device) - start, 1e-9)
    images = row.stats["images"]
    shards = row.shards.values()
    return StageRates(
        stage,
        mining,
        training,
        sum(s.crops for s in shards) / images,
        (row.shards["pos"].crops if "pos" in row.shards else 0) / images,
        sum(s.bytes for s in shards) / images,
        len(row.shards),
        found.units[0].shard.bytes / images,
    )


def _mine(stage: str, found: Material, setting: Setting) -> tuple[UnitRow, float]:
    """A unit's row, and images a second; the first unit warms up."""
    worker = miner(found, stage, setting)
    for _ in range(2):
        worker.store = open_store(tempfile.mkdtemp(dir=setting.folder))
        start = _clock(setting.device)
        row = worker.mine(found.units[0])
        seconds = _clock(setting.device) - start
    return row, row.stats["images"] / max(seconds, 1e-9)


def _clock(device: str) -> float:
    """CPU seconds of this process, or wall seconds where a GPU does the work."""
    return time.perf_counter() if device == "cuda" else time.process_time()


def _size(count: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9)):
        if count >= size:
            return f"{number(count / size)} {unit}"
    return f"{number(count / 1e6)} MB"
