"""Crop shards: how crops are written, committed, checked and read back as shuffled, mixed batches."""

from mtcnn.shards.batches import Batch, Batches
from mtcnn.shards.crops import CLASSES, FORMAT, Crops
from mtcnn.shards.manifest import (
    CropShard,
    Manifest,
    UnitRow,
    read_manifest,
    read_mark,
    read_marks,
    write_manifest,
)
from mtcnn.shards.read import read_crops
from mtcnn.shards.write import commit_unit, list_marks, pack_crops

__all__ = [
    "CLASSES", "FORMAT", "Batch", "Batches", "CropShard", "Crops", "Manifest", "UnitRow",
    "commit_unit", "list_marks", "pack_crops", "read_crops", "read_manifest", "read_mark", "read_marks",
    "write_manifest",
]  # fmt: skip
