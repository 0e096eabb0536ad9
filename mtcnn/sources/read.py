"""Source shards as they are read: the index, and one shard at a time, proven to be what was packed.

A shard is `NNNNN.tar` with KEY.jpg (the original file, whatever its format) and KEY.json for each image.
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mtcnn.errors import MissingKey, ShardError
from mtcnn.sources.annotation import Annotation, SourceImage
from mtcnn.sources.entry import Skipped, safe_path
from mtcnn.store import Store, open_store

FORMAT = 1
INDEX = "index.json"
SIZES = ("under 12 px", "12-20 px", "20-40 px", "40-80 px", "80-160 px", "over 160 px")
"""Faces by the shorter side of their box."""

_SHARD_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*\.tar")
_MEMBER_NAME = re.compile(r"([A-Za-z0-9_-]+)\.(jpg|json)")


@dataclass(frozen=True)
class ShardRow:
    """One source shard in the index."""

    name: str
    """`NNNNN.tar`"""
    images: int
    """Images in it."""
    faces: int
    """Boxes in it that are not ignore regions."""
    bytes: int
    """Length of the file."""
    sha256: str
    """Of the file."""


@dataclass(frozen=True)
class Summary:
    """What a data set holds, for a table."""

    images: int
    """Images packed."""
    empty: int
    """Images without a face or an ignore region."""
    faces: int
    """Boxes that are not ignore regions."""
    sizes: tuple[int, ...]
    """Faces in each of SIZES."""
    ignored: int
    """Ignore regions, those without area among them."""
    without_area: int
    """Boxes that had no area or lay outside their image."""
    with_landmarks: int
    """Faces with all five points."""


@dataclass(frozen=True)
class Index:
    """Everything about a set of source shards; `digest` names its content."""

    kind: str
    """KIND it was prepared from."""
    inputs: str
    """sha256 of all that decided it: the same inputs need no second packing."""
    shards: tuple[ShardRow, ...]
    """In the order of their names."""
    summary: Summary
    """Counts over all shards."""
    skipped: tuple[Skipped, ...]
    """Images and lines that were left out."""

    @property
    def images(self) -> int:
        """Images in all shards."""
        return sum(row.images for row in self.shards)

    @property
    def faces(self) -> int:
        """Boxes in all shards that are not ignore regions."""
        return sum(row.faces for row in self.shards)

    @property
    def digest(self) -> str:
        """sha256 over the rows of the shards."""
        return hashlib.sha256(
            json.dumps([asdict(row) for row in self.shards], sort_keys=True).encode()
        ).hexdigest()

    def to_json(self) -> bytes:
        """`index.json`."""
        tree = {"format": FORMAT, "digest": self.digest, **asdict(self)}
        return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Index":
        """The inverse of `to_json`; ValueError for what is not an index, or an altered one."""
        try:
            tree: dict[str, Any] = json.loads(data)
            if tree["format"] != FORMAT:
                raise ValueError(f"has format {tree['format']}, this program reads {FORMAT}")
            summary = tree["summary"]
            index = cls(
                kind=tree["kind"],
                inputs=tree["inputs"],
                shards=tuple(ShardRow(**row) for row in tree["shards"]),
                summary=Summary(**summary | {"sizes": tuple(summary["sizes"])}),
                skipped=tuple(Skipped(**one) for one in tree["skipped"]),
            )
            names = [row.name for row in index.shards]
            if not all(_SHARD_NAME.fullmatch(name) for name in names) or len(set(names)) != len(names):
                raise ValueError("names a shard that leaves its folder, or one twice")
            if tree["digest"] != index.digest:
                raise ValueError("was altered: its digest is not that of its shards")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is not an index of source shards: {error!r}") from error
        return index


def read_index(url: str) -> Index:
    """The index of the source shards in a folder or URL; MissingKey if there is none, ShardError if it is damaged."""
    store = open_store(url)
    try:
        return Index.from_json(store.get(INDEX))
    except ValueError as error:
        raise ShardError(f"{store.url}/{INDEX}: {error}") from error


def read_shard(store: Store, row: ShardRow) -> list[SourceImage]:
    """The images of one shard, in the order they were packed.

    Length and sha256 are compared with the index; a shard that differs is read once more, then ShardError.
    """
    fault = ""
    for _ in range(2):
        try:
            data = store.get(row.name)
        except MissingKey:
            fault = "is missing, though the index names it"
            continue
        sha256 = hashlib.sha256(data).hexdigest()
        if len(data) != row.bytes:
            fault = f"has {len(data)} bytes where the index says {row.bytes}"
        elif sha256 != row.sha256:
            fault = f"has sha256 {sha256[:16]}… where the index says {row.sha256[:16]}…"
        else:
            return _unpack(f"{store.url}/{row.name}", data, row.images)
    raise ShardError(f"{store.url}/{row.name} {fault}: make the source shards again")


def _unpack(where: str, data: bytes, count: int) -> list[SourceImage]:
    files: dict[str, bytes] = {}
    annotations: dict[str, Annotation] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                match = _MEMBER_NAME.fullmatch(member.name)
                if match is None or not member.isreg():
                    raise ValueError(f"holds '{member.name}', which is no KEY.jpg or KEY.json")
                # Sliced: reading through tarfile's file objects takes as long as finding the member.
                content = data[member.offset_data : member.offset_data + member.size]
                if match[2] == "jpg":
                    files[match[1]] = content
                else:
                    annotations[match[1]] = Annotation.from_json(content)
        for annotation in annotations.values():
            safe_path(annotation.name or "unnamed")
        if files.keys() != annotations.keys() or len(files) != count:
            raise ValueError(
                f"holds {len(files)} images and {len(annotations)} annotations for {count} images"
            )
    except (tarfile.TarError, ValueError) as error:
        raise ShardError(f"{where}: {error}") from error
    return [SourceImage(key, files[key], annotation) for key, annotation in annotations.items()]


def write_tar(images: Sequence[SourceImage]) -> bytes:
    """The bytes of a shard: the same images give the same bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for image in images:
            for ending, data in (("jpg", image.data), ("json", image.annotation.to_json())):
                member = tarfile.TarInfo(f"{image.key}.{ending}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    return out.getvalue()
