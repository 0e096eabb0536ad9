"""Mine the crops of one stage: pnet from random squares, rnet and onet from what the nets before propose."""

import _common

from mtcnn.config import load_config
from mtcnn.phases import crops_store
from mtcnn.pipeline import Pipeline
from mtcnn.shards import CLASSES


def main() -> None:
    """Mine one stage, unless its crops are there."""
    options = _common.parser(__doc__ or "", stage=True).parse_intermixed_args()
    config = load_config(options.config, options.overrides)
    with _common.backend(config) as backend:
        pipeline = Pipeline(config, backend)
        manifest = pipeline.mine(options.stage)
    counts = ", ".join(f"{manifest.count(c, 'train') + manifest.count(c, 'val')} {c}" for c in CLASSES)
    print(f"{options.stage}: {counts}\ncrops  {crops_store(config, options.stage, manifest.digest).url}")


if __name__ == "__main__":
    _common.run(main)
