"""Crops of one unit into committed shards: tars first, one atomic put each, then the mark that makes them count.

The same crops give the same bytes, and what is there is not replaced: a unit that runs twice, or in two drivers at
once, leaves one result, and a mark always describes the shards beside it.
"""

import io
import re
import tarfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mtcnn.errors import ShardError
from mtcnn.shards.crops import CLASSES, MEMBERS, RECORD, Crops, member_name
from mtcnn.shards.manifest import MANIFEST, SPLITS, CropShard, UnitRow, read_mark, shard_row
from mtcnn.shards.read import unpack
from mtcnn.store import Store

UNIT_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""No dots, at which readers would split a key; short enough for the 100 bytes of a tar's name."""


def commit_unit(
    store: Store, unit: str, crops: Mapping[str, Crops], stats: Mapping[str, Any], split: str
) -> UnitRow:
    """Put the shards of a unit that is mined, then its mark; returns the row that stands in the mark.

    `crops` by class; classes without crops get no shard. `stats` holds plain JSON values. A unit that is
    committed already is left as it is. Raises ShardError for a unit name that can't be part of a key.
    """
    _check(unit, crops, split)
    committed = read_mark(store, unit)
    if committed is not None:
        return committed
    shards = {cls: _put(store, unit, cls, crops[cls]) for cls in CLASSES if len(crops.get(cls, ()))}
    mark = UnitRow(unit, split, shards, dict(stats)).to_json()
    if not store.put(f"{unit}.json", mark, overwrite=False):
        mark = store.get(f"{unit}.json")
    return UnitRow.from_json(mark, f"{store.url}/{unit}.json")


def list_marks(store: Store) -> Iterator[str]:
    """Names of the units that are committed, in no order, page by page."""
    for key, _ in store.list():
        if key.endswith(".json") and key != MANIFEST and "/" not in key:
            yield key.removesuffix(".json")


def pack_crops(crops: Crops, unit: str, cls: str) -> bytes:
    """The tar of one class of a unit; equal crops give equal bytes."""
    blocks: list[bytes | memoryview] = []
    for record, start in enumerate(range(0, len(crops), RECORD)):
        part = crops.slice(start, start + RECORD)
        for (member, _), array in zip(MEMBERS, part.arrays(), strict=True):
            array = np.ascontiguousarray(array)
            npy = io.BytesIO()
            np.lib.format.write_array_header_1_0(npy, np.lib.format.header_data_from_array_1_0(array))
            # TarInfo's defaults are what is wanted: time 0, mode 644, owner 0 without a name.
            entry = tarfile.TarInfo(member_name(unit, cls, record, member))
            entry.size = npy.tell() + array.nbytes
            padding = bytes(-entry.size % tarfile.BLOCKSIZE)
            blocks += [entry.tobuf(tarfile.USTAR_FORMAT), npy.getvalue(), array.data, padding]
    # The end of a tar, without tarfile's padding to 10 KiB: small shards would be mostly that.
    return b"".join([*blocks, bytes(2 * tarfile.BLOCKSIZE)])


def _put(store: Store, unit: str, cls: str, crops: Crops) -> CropShard:
    """Put one shard, or adopt the one that a run that died before its mark, or another driver, has left there."""
    name = f"{unit}-{cls}.tar"
    data = pack_crops(crops, unit, cls)
    count = len(crops)
    if not store.put(name, data, overwrite=False):
        there = store.get(name)
        if there != data:
            left = _count(there, name, crops.size)
            if left:
                data, count = there, left
            else:
                store.put(name, data)
    return shard_row(name, count, crops.size, data)


def _count(data: bytes, name: str, size: int) -> int:
    """Crops of `size` pixels in what is a whole shard; 0 where it is anything else."""
    try:
        records = list(unpack(data, name))
    except ValueError:
        return 0
    return sum(map(len, records)) if {record.size for record in records} == {size} else 0


def _check(unit: str, crops: Mapping[str, Crops], split: str) -> None:
    if not UNIT_NAME.fullmatch(unit) or f"{unit}.json" == MANIFEST:
        raise ShardError(
            f"unit {unit!r} can't name a shard: use at most 64 letters, digits, - and _, not 'manifest'; "
            f"its first part is the name of a source in the configuration"
        )
    unknown = set(crops) - set(CLASSES)
    if unknown or split not in SPLITS:
        raise ValueError(f"unit {unit}: split {split!r}, classes {sorted(unknown)}")
