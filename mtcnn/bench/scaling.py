"""What more machines and more units cost and bring: images a second by actors, the driver's share, and an estimate.

Needs Ray; it is started here for as long as the measurement takes.
"""

import time
from collections.abc import Iterator, Sequence

from mtcnn.backend import usable_cpus
from mtcnn.bench.data import Material, Setting, material, missing_nets
from mtcnn.bench.estimate import estimate
from mtcnn.bench.memory import rss, rss_is_known
from mtcnn.bench.report import Report, Row
from mtcnn.cluster import connect
from mtcnn.cluster.miner import MiningActor
from mtcnn.cluster.timed import Span, run_timed
from mtcnn.config import Config, Source
from mtcnn.mining.plan import Unit
from mtcnn.shards import CropShard, UnitRow
from mtcnn.sources.read import ShardRow

UNITS = 24
"""Units that each number of actors gets."""
ACTORS_GOAL = 0.9
"""Of as many times one actor's rate: 1.8 times with two."""
EMPTY_UNITS = 100_000
EMPTY_SECONDS = 100.0
SAMPLES = 5
"""How often the driver's memory is looked at while it works off empty units."""


def run(setting: Setting) -> Report:
    """Rates by number of actors, what a unit costs the driver, and what large data sets need."""
    found = material(setting, shards=2)
    report = Report("scaling", notes=missing_nets(found))
    with connect(Config(sources={"none": Source(url="none")})):
        _actors(found, setting, report)
        _empty_units(max(int(EMPTY_UNITS * setting.scale), 100), report)
    estimate(found, setting, report)
    return report


def _actors(found: Material, setting: Setting, report: Report) -> None:
    """Images a second for 1, 2, … actors of one thread, once all of them are at work."""
    stage = found.stages()[min(1, len(found.files))]
    report.notes.append(f"actors mine {stage} with one thread each, units of {len(found.images)} images")
    one = 0.0
    for actors in range(1, usable_cpus() + 1):
        plan = found.plan(stage, str(setting.folder / f"crops-{actors}"))
        worker = MiningActor(plan, setting.device, 1)
        count = max(round(UNITS * setting.scale), 3) * actors
        rate = steady_rate(list(run_timed(worker, _units(found, count), actors, 1.0)))
        one = one or rate
        report.rows.append(
            Row(f"{actors} actor{'s' * (actors > 1)}", "images/s", rate, actors * one, rate / (actors * one),
                goal=ACTORS_GOAL if actors > 1 else None, limit_is="1 actor, times as many")
        )  # fmt: skip


def _units(found: Material, count: int) -> Iterator[Unit]:
    """As many units as wanted over the shards that are there; each commits its own."""
    for number in range(count):
        unit = found.units[number % len(found.units)]
        yield Unit(f"bench-{number:06d}", unit.source, unit.shard, unit.split)


def steady_rate(spans: Sequence[Span]) -> float:
    """Images a second of all actors together, over the time in which every one of them was at work.

    Actors start at different times, and the last units leave some idle: neither says anything of a long run.
    """
    actors = sorted({span.actor for span in spans})
    mine = {actor: [span for span in spans if span.actor == actor] for actor in actors}
    begin = max(min(span.begin for span in mine[actor]) for actor in actors)
    end = min(max(span.end for span in mine[actor]) for actor in actors)
    images = 0.0
    for span in spans:
        # A unit that lies partly outside counts by the part of it that lies inside.
        inside = min(span.end, end) - max(span.begin, begin)
        if inside > 0:
            images += span.result.stats["images"] * inside / (span.end - span.begin)
    return images / (end - begin)


class EmptyWorker:
    """Does nothing, and answers with a row as large as that of a unit which was mined."""

    def start(self) -> None:
        """Nothing to get ready."""

    def work(self, unit: Unit) -> UnitRow:
        """The row of `unit`."""
        shards = {
            name: CropShard(f"{unit.name}-{name}.tar", 1000, 24, 1_800_000, "0" * 64, "0" * 32)
            for name in ("pos", "part", "neg")
        }
        return UnitRow(
            unit.name, unit.split, shards, {"images": 64, "faces": 0, "proposals": 0, "hit": 0, "bad": []}
        )


def _empty_units(most: int, report: Report) -> None:
    """The driver's time and memory for units that take no time: planned, handed out, their rows kept."""
    actors = usable_cpus()
    rows: list[UnitRow] = []
    memory = [rss()]
    start, cpu = time.monotonic(), time.process_time()
    step = max(most // SAMPLES, 1)
    for span in run_timed(EmptyWorker(), _empty(most, start + EMPTY_SECONDS), actors, 1.0):
        rows.append(span.result)
        if len(rows) % step == 0:
            memory.append(rss())
    seconds, cpu = time.monotonic() - start, time.process_time() - cpu
    memory.append(rss())
    done = len(rows)
    if done < most:
        report.notes.append(f"slow machine: {done:,} of {most:,} empty units in {EMPTY_SECONDS:g} s")
    report.rows.append(Row(f"{done:,} empty units, {actors} actors", "units/s", done / seconds))
    report.rows.append(Row("driver time for a unit", "ms", 1e3 * seconds / max(done, 1)))
    report.rows.append(Row("driver CPU time for a unit", "ms", 1e3 * cpu / max(done, 1)))
    if rss_is_known():
        report.rows.append(Row("driver memory, peak", "MB", max(memory) / 1e6, memory[0] / 1e6,
                               limit_is="before the first unit"))  # fmt: skip
        grown = max(memory) - memory[0]
        report.rows.append(Row("driver memory for a unit, its row kept", "bytes", grown / max(done, 1)))


def _empty(most: int, deadline: float) -> Iterator[Unit]:
    """Units of a source with one shard each, until `most` or the deadline."""
    for number in range(most):
        if time.monotonic() > deadline:
            return
        row = ShardRow(f"{number:06d}.tar", 64, 100, 6_000_000, "0" * 64)
        yield Unit(f"empty-{number:06d}", "empty", row, "train")
