"""The actor that mines units for the pool, and the counters that Ray's dashboard and Prometheus show of it."""

import logging
import threading
import time

from ray.util.metrics import Counter, Gauge

from mtcnn.mining.plan import MiningPlan, Unit, UnitMiner
from mtcnn.shards import UnitRow

log = logging.getLogger(__name__)


class MiningMetrics:
    """What one mining actor has done, by stage: Ray adds it up over actors."""

    def __init__(self, stage: str) -> None:
        self.images = Counter("mtcnn_images", "Images mined.", ("stage",))
        self.crops = Counter("mtcnn_crops", "Crops kept, by class.", ("stage", "class"))
        self.bytes = Counter("mtcnn_bytes_written", "Bytes of crop shards written.", ("stage",))
        self.rate = Gauge(
            "mtcnn_images_per_second", "Images mined in a second, in the last unit.", ("stage",)
        )
        for metric in (self.images, self.crops, self.bytes, self.rate):
            metric.set_default_tags({"stage": stage})

    def unit(self, row: UnitRow, seconds: float) -> None:
        """A unit is committed."""
        images = row.stats["images"]
        self.rate.set(images / seconds)
        _add(self.images, images)
        _add(self.bytes, sum(shard.bytes for shard in row.shards.values()))
        for name, shard in row.shards.items():
            _add(self.crops, shard.crops, {"class": name})


def _add(counter: Counter, value: int, tags: dict[str, str] | None = None) -> None:
    if value:  # Ray's counters refuse 0
        counter.inc(value, tags or {})


class MiningActor:
    """Holds the nets once and mines unit after unit: the work of an actor in a Pool."""

    def __init__(self, plan: MiningPlan, device: str, threads: int) -> None:
        self.plan, self.device, self.threads = plan, device, threads

    def start(self) -> None:
        """Load the nets: not in the constructor, whose errors Ray hands on as text only."""
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        self.miner = UnitMiner(self.plan, self.device, self.threads)
        self.metrics = MiningMetrics(self.plan.stage)
        self.telling = threading.Lock()
        self.ended = 0.0

    def work(self, unit: Unit) -> UnitRow:
        """Mine a unit; its row is all that goes back to the driver."""
        start = time.perf_counter()
        log.info("%s unit %s: begins", self.plan.stage, unit.name)
        try:
            row = self.miner.mine(unit)
        except Exception:
            log.exception("%s unit %s: failed", self.plan.stage, unit.name)
            raise
        with self.telling:
            # Units overlap: what counts is the time since the one before.
            now = time.perf_counter()
            seconds, self.ended = now - max(start, self.ended), now
            self.metrics.unit(row, seconds)
        crops = {name: shard.crops for name, shard in row.shards.items()}
        log.info("%s unit %s: done in %.1f s, %s", self.plan.stage, unit.name, seconds, crops)
        return row
