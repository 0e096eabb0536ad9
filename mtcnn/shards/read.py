"""Crop shards back into arrays, checked: bytes and checksum against the commit mark, then every member.

The tar is read by its fixed layout: names, order and headers must be the ones `write.py` makes, so nothing in a
shard can name a path or hold anything but plain arrays.
"""

import io
import logging
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtcnn.errors import MissingKey, ShardError
from mtcnn.shards.crops import MEMBERS, Crops, member_name
from mtcnn.shards.manifest import CropShard, checksum
from mtcnn.store import Store

log = logging.getLogger(__name__)

BLOCK = 512
"""Bytes of a tar header, and what members are padded to."""
PARSING = threading.Lock()
NPY_PREFIX = 10
"""Magic, version and length of the header that follows, of a version 1.0 `.npy`."""


def read_crops(store: Store, row: CropShard) -> Crops:
    """All crops of a shard, in fresh arrays.

    A shard that is missing or differs from its row is read once more; then ShardError names it and says what
    differs.
    """
    parts = read_records(store, row)
    images, boxes, landmarks, origin = (
        np.concatenate(arrays) for arrays in zip(*(part.arrays() for part in parts), strict=True)
    )
    return Crops(images, boxes, landmarks, origin)


def read_records(store: Store, row: CropShard) -> list[Crops]:
    """The records of a shard as read-only views of its bytes; errors as `read_crops`."""
    data, problem = _get(store, row)
    if problem:
        log.warning("%s/%s: %s; reading it again", store.url, row.name, problem)
        data, problem = _get(store, row)
    if problem:
        unit, _, _ = row.name.rpartition("-")
        raise ShardError(
            f"{store.url}/{row.name}: {problem}; to mine it again, delete it, {unit}.json and manifest.json, "
            f"and repeat the command"
        )
    try:
        records = list(unpack(data, row.name))
    except ValueError as error:
        raise ShardError(f"{store.url}/{row.name}: not a crop shard: {error}") from error
    crops, sizes = sum(map(len, records)), {record.size for record in records}
    if crops != row.crops or sizes != {row.size}:
        found = f"{crops} crops of {sorted(sizes)} px"
        raise ShardError(f"{store.url}/{row.name}: holds {found}, not {row.crops} of {row.size} px")
    return records


def unpack(data: bytes, name: str) -> Iterator[Crops]:
    """The records of the tar of shard `name` ("UNIT-CLASS.tar"), as views. Raises ValueError where it is not one."""
    unit, _, cls = name.removesuffix(".tar").rpartition("-")
    view = memoryview(data)
    position = record = 0
    while data[position : position + 1] not in (b"", b"\0"):
        arrays: list[NDArray[Any]] = []
        for member, dtype in MEMBERS:
            expected = member_name(unit, cls, record, member)
            size = _member_bytes(view[position : position + BLOCK], expected)
            start = position + BLOCK
            arrays.append(_array(view[start : start + size], expected, dtype))
            position = start + -(-size // BLOCK) * BLOCK
        yield Crops(*arrays)
        record += 1
    if len(data) != position + 2 * BLOCK:
        raise ValueError("it does not end where its last record does")


def _get(store: Store, row: CropShard) -> tuple[bytes, str]:
    """The bytes of a shard and, in words, how they differ from what was written; "" where they don't."""
    try:
        data = store.get(row.name)
    except MissingKey:
        return b"", "it is missing"
    if len(data) != row.bytes:
        return b"", f"{len(data):,} bytes, but {row.bytes:,} were written"
    found = checksum(data)
    if found != row.xxh3:
        return b"", f"altered: its checksum (XXH3) is {found[:16]}…, but {row.xxh3[:16]}… was written"
    return data, ""


def _member_bytes(header: memoryview, expected: str) -> int:
    """Bytes of the member that a tar header announces."""
    name = bytes(header[:100]).rstrip(b"\0")
    if name != expected.encode():
        raise ValueError(f"member {name!r} where {expected} belongs")
    return int(bytes(header[124:135]), 8)


def _array(member: memoryview, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A `.npy` without copying it."""
    start = NPY_PREFIX + int.from_bytes(member[8:NPY_PREFIX], "little")
    shape, fortran, found = _npy_header(bytes(member[:start]))
    if found != dtype or fortran or int(np.prod(shape)) * dtype.itemsize != len(member) - start:
        raise ValueError(f"{name}: {found} {shape} in {len(member)} bytes")
    return np.frombuffer(member, dtype, offset=start).reshape(shape)


# Most members have one of a few headers, and parsing one takes longer than the rest of a record.
@lru_cache(maxsize=256)
def _npy_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError(f".npy of version {version}")
    # NumPy parses it as Python, which Python 3.11 can't do in two threads: "AST constructor recursion depth mismatch".
    with PARSING:
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, fortran, dtype
