"""What came out of mining a stage: whether training may begin, and the figures that are worth keeping."""

from mtcnn.config import Limits
from mtcnn.errors import UserError
from mtcnn.shards import CLASSES, Manifest

STATS = ("images", "faces", "proposals", "hit")

FILTERS = {
    "pos": "stages.{stage}.mining.positive_iou, min_face and jittered_squares",
    "part": "stages.{stage}.mining.part_iou and jittered_squares, or set stages.{stage}.training.parts=0",
    "neg": "stages.{stage}.mining.negative_iou, random_squares and negatives_per_image",
    "landmark": "stages.{stage}.mining.landmark_squares, or set stages.{stage}.net.landmarks=false; "
    "sources without points give none",
}
"""The settings that decide how many crops of a class there are."""


def require_classes(manifest: Manifest, classes: tuple[str, ...]) -> None:
    """Raise UserError where one of `classes` has no crops to train on, with the settings that filter it."""
    for name in classes:
        if manifest.count(name, "train") == 0:
            settings = FILTERS[name].format(stage=manifest.stage)
            raise UserError(
                f"{manifest.stage}: no '{name}' crops were mined for training; see {settings}, and the sources' classes"
            )


def require_held_out(manifest: Manifest) -> None:
    """Raise UserError where nothing is held out: epochs and thresholds could not be chosen."""
    for name in ("pos", "neg"):
        if manifest.count(name, "val") == 0:
            raise UserError(
                f"{manifest.stage}: no crops are held out of class '{name}', to choose epochs and thresholds by: whole "
                f"shards are held out, at least one of each source that has two; prepare the sources with a smaller "
                f"images_per_shard"
            )


def require_images(manifest: Manifest, limits: Limits) -> None:
    """Raise UserError where more images are bad than `limits.max_bad_fraction` allows."""
    bad = [entry for row in manifest.units for entry in row.stats["bad"]]
    images = sum(row.stats["images"] for row in manifest.units) + len(bad)
    if len(bad) > limits.max_bad_fraction * images:
        key, reason = bad[0]
        raise UserError(
            f"mine {manifest.stage}: {len(bad)} of {images} images are bad, over limits.max_bad_fraction="
            f"{limits.max_bad_fraction}; the first: {key}: {reason}"
        )


def figures(manifest: Manifest) -> dict[str, int]:
    """Totals of a stage: images, faces, proposals, hit (faces proposed), crops of each class, bytes."""
    totals = {name: sum(row.stats[name] for row in manifest.units) for name in STATS}
    crops = {name: manifest.count(name, "train") + manifest.count(name, "val") for name in CLASSES}
    size = sum(shard.bytes for row in manifest.units for shard in row.shards.values())
    return {**totals, **crops, "bytes": size}
