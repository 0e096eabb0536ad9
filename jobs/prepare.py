"""Make source shards: `python jobs/prepare.py KIND --images DIR --annotations FILE --out URL`."""

import argparse
import logging
from collections import Counter

import _common

from mtcnn.config import load_config
from mtcnn.sources import KINDS, prepare
from mtcnn.sources.read import SIZES, Index

log = logging.getLogger(__name__)

FOREIGN = 0.1
"""Share of boxes off their images from which the annotations seem to be for others: WIDER has 1 in 10,000."""


def main() -> None:
    """Parse the command line, pack, and print what there is now."""
    parser = argparse.ArgumentParser(description="Make source shards from images and annotations.")
    parser.add_argument("kind", choices=KINDS, metavar="KIND", help=" ".join(KINDS))
    parser.add_argument("--images", metavar="DIR", help="folder that the paths in the annotations start from")
    parser.add_argument(
        "--annotations",
        metavar="FILE",
        nargs="+",
        action="extend",
        default=[],
        help="annotation file; two for celeba",
    )
    parser.add_argument(
        "--out", metavar="URL", help="folder or s3://, gs://, az:// URL (default: anno_store/KIND)"
    )
    parser.add_argument("--count", type=_number, default=0, help="how many scenes to draw (synthetic)")
    parser.add_argument(
        "--seed", type=_number, default=0, help="seed of the scenes and of the order of images (default: 0)"
    )
    parser.add_argument(
        "--images-per-shard", type=_number, default=64, help="images in a shard: the unit of mining"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="list annotation lines that cannot be read and go on"
    )
    parser.add_argument("--config", metavar="FILE", help="configuration whose limits.* hold")
    parser.add_argument(
        "overrides", nargs="*", metavar="limits.key=value", help="limits.max_pixels, limits.max_bad_fraction"
    )
    options = parser.parse_intermixed_args()
    out = options.out or f"anno_store/{options.kind}"

    # A configuration has at least one source; without a file it is the one that is being made.
    own = [] if options.config else ["sources.made.url=anno_store"]
    limits = load_config(options.config, [*own, *options.overrides]).limits
    index = prepare(
        options.kind,
        options.images,
        options.annotations,
        out,
        count=options.count,
        seed=options.seed,
        skip_bad=options.skip_bad,
        max_pixels=limits.max_pixels,
        max_bad_fraction=limits.max_bad_fraction,
        images_per_shard=options.images_per_shard,
    )
    print(table(index, out))
    summary = index.summary
    if summary.without_area > FOREIGN * (summary.faces + summary.ignored):
        log.warning(
            "%d of %d boxes have no area or lie outside their image: are these the images, in the size, that the "
            "annotations are for?", summary.without_area, summary.faces + summary.ignored,
        )  # fmt: skip


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 up")
    return int(text)


def table(index: Index, out: str) -> str:
    """The summary of a data set in aligned lines."""
    summary = index.summary
    rows: list[tuple[str, int, str]] = [
        ("shards", len(index.shards), f"{sum(row.bytes for row in index.shards) / 1e6:.1f} MB in {out}"),
        ("images", summary.images, f"{summary.empty} without a face"),
        ("faces", summary.faces, f"{summary.with_landmarks} with five points"),
        *((f"  {size}", faces, "shorter side") for size, faces in zip(SIZES, summary.sizes, strict=True)),
        ("ignored", summary.ignored, f"{summary.without_area} without area or outside their image"),
        ("skipped", len(index.skipped), "named in index.json" if index.skipped else ""),
        *(
            ("", times, reason)
            for reason, times in Counter(one.reason for one in index.skipped).most_common(10)
        ),
    ]
    return "\n".join(f"{name:<14} {number:>9}  {note}".rstrip() for name, number, note in rows)


if __name__ == "__main__":
    _common.run(main)
