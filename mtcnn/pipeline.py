"""The chain of phases: prepare → mine → train, stage after stage → evaluate, and what of it can be skipped.

A phase is skipped when its output carries the digest of everything that decides it. So a run that was stopped goes
on where it was, a changed setting never meets stale shards, and nothing is mined twice.
"""

import dataclasses
import logging
import time

from mtcnn.backend import Backend
from mtcnn.config import Config, to_yaml
from mtcnn.detector import load_weights
from mtcnn.errors import MissingKey, UserError
from mtcnn.faces import BEFORE, margin_of
from mtcnn.findings import Findings, finish
from mtcnn.mining.plan import MiningPlan, Unit, held_out_images
from mtcnn.mining.review import figures, require_classes, require_held_out, require_images
from mtcnn.mining.threshold import mining_threshold
from mtcnn.models import Models
from mtcnn.nets import STAGES, THRESHOLDS, Weights, load
from mtcnn.phases import (
    checkpoints_store,
    crops_store,
    mining_digest,
    mining_plan,
    mining_units,
    planned,
    source_index,
    trained_weights,
    training_plan,
    training_sources,
)
from mtcnn.progress import progress
from mtcnn.report import write_events
from mtcnn.run_log import RunLog
from mtcnn.shards import Manifest, UnitRow, list_marks, read_manifest, read_marks, write_manifest
from mtcnn.sources.read import INDEX, Index, read_index
from mtcnn.store import Store, open_store
from mtcnn.training.losses import blocks

log = logging.getLogger(__name__)

THRESHOLD_IMAGES = 200
"""Held-out images that decide a stage's mining threshold."""


class Pipeline:
    """The phases of one run. Each can be called alone; it says which command makes what it misses."""

    def __init__(self, config: Config, backend: Backend) -> None:
        self.config = config
        self.backend = backend
        self.models = open_store(config.models_url)
        self._weights = Models(config)
        self.run = open_store(config.run_url)
        self.log = RunLog(self.run)
        self._indexes: dict[str, Index] = {}

    def all(self) -> Findings:
        """Every phase, each skipped where it is done; returns what the cascade is worth."""
        self.run.put("config.yaml", to_yaml(self.config).encode())
        self.prepare()
        for stage in STAGES:
            self.mine(stage)
            self.train(stage)
        return self.finish()

    # prepare

    def prepare(self) -> None:
        """Make the source shards that are to be made and are not there."""
        for name in self.config.sources:
            self.index(name)

    def index(self, name: str) -> Index:
        """The index of a source, whose shards are made first where that is configured."""
        if name not in self._indexes:
            source = self.config.sources[name]
            made = source.kind != "shards"
            before = read_index(source.url).digest if made and open_store(source.url).size(INDEX) else ""
            start = time.perf_counter()
            index = self._indexes[name] = source_index(self.config, name)
            seconds = time.perf_counter() - start
            if made and index.digest != before:
                self.log.add("prepare", source=name, images=index.images, faces=index.faces, seconds=seconds)
        return self._indexes[name]

    # mine

    def mine(self, stage: str) -> Manifest:
        """Mine the crops of `stage`, unless they are there; returns their manifest."""
        config = self.config
        before = self._weights.before(stage)
        digest = mining_digest(config, stage, self._indexed(), before)
        store = crops_store(config, stage, digest)
        try:
            manifest = read_manifest(store)
            log.info("mine %s: there already, %s", stage, store.url)
            self.log.again("mine", stage, digest)
            return manifest
        except MissingKey:
            pass
        planned = mining_units(config, stage, self._indexed())
        committed = set(list_marks(store))
        todo = [unit for unit in planned if unit.name not in committed]
        start = time.perf_counter()
        rows = self._mine_units(mining_plan(config, stage, before, store), todo, len(planned))
        # Only what an earlier run has committed is read back.
        rows += read_marks(store, [unit.name for unit in planned if unit.name in committed])
        done = [row for row in rows if row is not None]
        # Before the manifest is there: a stage that may not be trained on is not mined.
        mined = Manifest(stage, digest, tuple(done))
        require_images(mined, config.limits)
        options = config.stages.get(stage)
        require_classes(mined, tuple(blocks(options.training, options.net.landmarks).sizes()))
        require_held_out(mined)
        manifest = write_manifest(store, stage, digest, done)
        self.log.add(
            "mine",
            stage,
            digest=digest,
            seconds=time.perf_counter() - start,
            units=len(todo),
            failed_units=len(planned) - len(done),
            **figures(manifest),
        )
        return manifest

    def _indexed(self) -> dict[str, Index]:
        """The indexes of the sources that are mined."""
        return {name: self.index(name) for name in training_sources(self.config)}

    def _mine_units(self, plan: MiningPlan, todo: list[Unit], planned: int) -> list[UnitRow | None]:
        """The rows of the units that are mined now."""
        rows: list[UnitRow | None] = []
        failed: list[str] = []
        images = bad = crops = 0
        with progress(planned, f"mine {plan.stage}", "units") as bar:
            bar.update(planned - len(todo))
            for outcome in self.backend.mine(plan, todo):
                if outcome.row is None:
                    bar.update()
                    failed.append(f"{outcome.unit}: {outcome.error}")
                    if len(failed) > self.config.limits.max_failed_units:
                        raise UserError(
                            f"mine {plan.stage}: {len(failed)} units failed three times, over "
                            f"limits.max_failed_units={self.config.limits.max_failed_units}; the last: {failed[-1]}"
                        )
                    continue
                rows.append(outcome.row)
                images += outcome.row.stats["images"]
                bad += len(outcome.row.stats["bad"])
                crops += sum(shard.crops for shard in outcome.row.shards.values())
                bar.note(f"{images:,} images{f', {bad} bad' if bad else ''}, {crops:,} crops")
                bar.update()
        if failed:
            log.warning("mine %s: left out for good: %s", plan.stage, "; ".join(failed))
        return rows

    # train

    def train(self, stage: str) -> Weights:
        """Train `stage` on its crops, unless its weights carry the same digest; returns the weights."""
        config = self.config
        crops = mining_digest(config, stage, self._indexed(), self._weights.before(stage))
        plan = training_plan(config, stage, crops)
        weights = trained_weights(config, plan)
        if weights is not None:
            log.info("train %s: there already, %s/%s.pt", stage, self.models.url, stage)
            self.log.again("train", stage, plan.digest)
            return weights
        try:
            read_manifest(open_store(plan.crops))
        except MissingKey as error:
            raise UserError(
                f"train {stage}: no crops in {plan.crops}: run jobs/mine.py {stage} with the same configuration first"
            ) from error
        with progress(plan.options.epochs, f"train {stage}", "epochs") as bar:
            epochs = 0

            def heard(record: dict[str, float]) -> None:
                nonlocal epochs
                self.log.add("train", stage, digest=plan.digest, **record)
                write_events(self.run, self.log)
                bar.note(
                    f"loss {record['held_out/loss']:.4f}, pos {record['held_out/positive_accuracy']:.3f}, "
                    f"neg {record['held_out/negative_accuracy']:.3f}, {record['samples_per_second']:.0f} crops/s"
                )
                # A training that goes on begins with a later epoch than the first.
                bar.update(int(record["epoch"]) - epochs)
                epochs = int(record["epoch"])

            data = self.backend.train(plan, checkpoints_store(config, plan).url, heard)
        # Its checkpoint may have been whole already.
        self.log.again("train", stage, plan.digest)
        return self._keep(stage, data, checkpoints_store(config, plan))

    def _keep(self, stage: str, data: bytes, folder: Store) -> Weights:
        """Set the threshold of new weights by recall on held-out images and keep them.

        How sure a net is depends on its crops' mixture. The scores of P- and R-Net are moved so that their usual
        threshold, which users and their commands know, is the one that passes on the share of faces wanted.
        """
        config = self.config
        weights = load(data, stage, f"{stage}.pt")
        start = time.perf_counter()
        sources = training_sources(config).items()
        labelled = [
            (planned(source), self.index(name)) for name, source in sources if "pos" in source.classes
        ]
        earlier = load_weights(self.models.url, STAGES[: STAGES.index(stage)])
        threshold, recall = mining_threshold(
            [w.net for w in [*earlier, weights]],
            [w.threshold for w in earlier],
            held_out_images(labelled, config.validation, THRESHOLD_IMAGES),
            config.stages.get(stage).mining,
            config.stages.get(stage).training.recall,
        )
        if stage != STAGES[-1]:
            usual = THRESHOLDS[STAGES.index(stage)]
            by = margin_of(usual) - margin_of(threshold)
            # Of R-Net's score its own margin is a part only.
            weights.net.move_margins(by if stage == STAGES[0] else by * (1 + BEFORE))
            threshold = usual
        self.log.add(
            "threshold", stage, threshold=threshold, recall=recall, seconds=time.perf_counter() - start
        )
        about = {**weights.about, "run": config.name, "recall": recall}
        return self._weights.keep(
            stage, dataclasses.replace(weights, threshold=threshold, about=about), folder
        )

    # evaluate

    def finish(self) -> Findings:
        """Measure the cascade on every test source and write the report, unless both are there."""
        config = self.config
        crops = {}
        for stage in STAGES:
            digest = mining_digest(config, stage, self._indexed(), self._weights.before(stage))
            crops[stage] = crops_store(config, stage, digest)
        tests = {n: self.index(n) for n, s in config.sources.items() if s.use == "test"}
        return finish(config, self.run, self.models, self.log, crops, tests)
