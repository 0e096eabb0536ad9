"""Typed, strict configuration: YAML files and dotted overrides become one frozen `Config`."""

from mtcnn.config.file import load_config, to_yaml
from mtcnn.config.keys import (
    Cluster,
    Config,
    Limits,
    Mining,
    NetOptions,
    Source,
    Stage,
    Stages,
    Stores,
    Training,
)

__all__ = [
    "Cluster", "Config", "Limits", "Mining", "NetOptions", "Source", "Stage", "Stages", "Stores", "Training",
    "load_config", "to_yaml",
]  # fmt: skip
