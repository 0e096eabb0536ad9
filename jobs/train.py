"""Train one stage on its mined crops."""

import _common

from mtcnn.config import load_config
from mtcnn.pipeline import Pipeline


def main() -> None:
    """Train one stage, unless its weights are there."""
    options = _common.parser(__doc__ or "", stage=True).parse_intermixed_args()
    config = load_config(options.config, options.overrides)
    with _common.backend(config) as backend:
        pipeline = Pipeline(config, backend)
        weights = pipeline.train(options.stage)
    held_out = ", ".join(f"{name} {value:.4f}" for name, value in weights.metrics.items())
    print(f"{options.stage}: {held_out}, mining threshold {weights.threshold:.3f}")
    print(f"weights  {pipeline.models.url}/{options.stage}.pt")


if __name__ == "__main__":
    _common.run(main)
