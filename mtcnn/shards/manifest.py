"""What was mined, as small JSON files: a row for each shard and unit, and the manifest of a whole stage.

Bytes and checksums are in every row: a truncated tar reads without any error, so nothing else would show a loss.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from xxhash import xxh3_128_hexdigest

from mtcnn.errors import MissingKey, ShardError
from mtcnn.shards.crops import CLASSES, FORMAT
from mtcnn.store import Store

MANIFEST = "manifest.json"
SPLITS = ("train", "val")
MARK_READERS = 32
"""Marks that are read at once: on an object store nearly all of a read is waiting."""
MARKS_AHEAD = 1024


@dataclass(frozen=True, slots=True)
class CropShard:
    """One `UNIT-CLASS.tar`."""

    name: str
    """Its key in the stage's store."""
    crops: int
    size: int
    """Side of its crops in pixels."""
    bytes: int
    sha256: str
    """For other tools: checking it takes longer than all else in reading a shard."""
    xxh3: str
    """Checked whenever the shard is read: 128 bits of XXH3, at a tenth of that."""


def shard_row(name: str, crops: int, size: int, data: bytes) -> CropShard:
    """The row of a shard with the bytes `data`."""
    return CropShard(name, crops, size, len(data), hashlib.sha256(data).hexdigest(), checksum(data))


def checksum(data: bytes) -> str:
    """What tells whether a shard is as it was written."""
    return xxh3_128_hexdigest(data)


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One unit of mining that is done: the content of its commit mark `UNIT.json`."""

    unit: str
    split: str
    """`train` or `val`."""
    shards: dict[str, CropShard]
    """By class, without the classes that gave no crops."""
    stats: dict[str, Any]
    """What the miner counted, as plain JSON values."""

    def to_json(self) -> bytes:
        """The same bytes for equal rows."""
        return _json({"format": FORMAT, **asdict(self)})

    @staticmethod
    def from_json(data: bytes, where: str) -> "UnitRow":
        """Read a mark; ShardError names `where` it was when it is not one."""
        return _unit(_content(data, where), where)


@dataclass(frozen=True)
class Manifest:
    """All crop shards of a stage."""

    stage: str
    digest: str
    """Digest of everything that decides the crops."""
    units: tuple[UnitRow, ...]
    """Ordered by name."""

    @property
    def size(self) -> int:
        """Side of the crops in pixels; 0 where there are none."""
        return next((shard.size for row in self.units for shard in row.shards.values()), 0)

    def shards(self, cls: str, split: str) -> tuple[CropShard, ...]:
        """Shards of a class and split, ordered by unit."""
        return tuple(row.shards[cls] for row in self.units if row.split == split and cls in row.shards)

    def count(self, cls: str, split: str) -> int:
        """Crops of a class and split."""
        return sum(shard.crops for shard in self.shards(cls, split))


def write_manifest(store: Store, stage: str, digest: str, units: Iterable[UnitRow]) -> Manifest:
    """Write `manifest.json`, last of all: the stage is mined. The order of `units` is of no effect."""
    manifest = Manifest(stage, digest, tuple(sorted(units, key=lambda row: row.unit)))
    rows = [asdict(row) for row in manifest.units]
    content = {"format": FORMAT, "stage": stage, "size": manifest.size, "digest": digest, "units": rows}
    store.put(MANIFEST, _json(content))
    return manifest


def read_manifest(store: Store) -> Manifest:
    """The manifest of a stage. MissingKey where the stage is not mined, ShardError where it is damaged."""
    where = f"{store.url}/{MANIFEST}"
    content = _content(store.get(MANIFEST), where)
    try:
        stage, digest, rows = content["stage"], content["digest"], content["units"]
    except KeyError as error:
        raise _damaged(where, f"no {error}") from error
    return Manifest(stage, digest, tuple(_unit(row, where) for row in rows))


def read_mark(store: Store, unit: str) -> UnitRow | None:
    """The commit mark of a unit; None where the unit is not done."""
    key = f"{unit}.json"
    try:
        return UnitRow.from_json(store.get(key), f"{store.url}/{key}")
    except MissingKey:
        return None


def read_marks(store: Store, units: Sequence[str]) -> Iterator[UnitRow | None]:
    """The commit marks of many units, in their order."""
    with ThreadPoolExecutor(MARK_READERS, thread_name_prefix="marks") as pool:
        # In pages: no object for each of a hundred thousand reads at a time.
        for start in range(0, len(units), MARKS_AHEAD):
            yield from pool.map(lambda unit: read_mark(store, unit), units[start : start + MARKS_AHEAD])


def _json(content: dict[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _content(data: bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(data)
    except ValueError as error:
        raise _damaged(where, str(error)) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise _damaged(where, f"not of format {FORMAT}")
    return content


def _unit(content: dict[str, Any], where: str) -> UnitRow:
    try:
        shards = {cls: CropShard(**content["shards"][cls]) for cls in CLASSES if cls in content["shards"]}
        row = UnitRow(content["unit"], content["split"], shards, content["stats"])
    except (KeyError, TypeError) as error:
        raise _damaged(where, str(error)) from error
    if row.split not in SPLITS:
        raise _damaged(where, f"split is {row.split!r}")
    return row


def _damaged(where: str, what: str) -> ShardError:
    return ShardError(f"{where}: damaged or of another version ({what}); delete it and mine the stage again")
