"""The weights of a run's stages in its store of models: of two drivers, the first to finish a training decides."""

import hashlib

from mtcnn.config import Config
from mtcnn.errors import UserError
from mtcnn.nets import STAGES, Weights, load, save
from mtcnn.phases import weights_before
from mtcnn.store import Store, open_store

FINISHED = "weights.pt"
"""Key of a training's weights beside its checkpoint; written once."""


class Models:
    """`STAGE.pt` of each stage, as one driver sees them.

    Two drivers may do the same run at once. They need not compute the same bits, and what comes after depends on the
    bits, so both go on with the weights of the one that was first. Runs with other settings can't share a store.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.store = open_store(config.models_url)
        self._seen: dict[str, str] = {}

    def before(self, stage: str) -> list[bytes]:
        """The weights files of the stages before; UserError where one is missing, or is not what it was."""
        files = weights_before(self.config, stage)
        for earlier, data in zip(STAGES, files, strict=False):
            if self._seen.setdefault(earlier, _sum(data)) != _sum(data):
                raise UserError(
                    f"{self.store.url}/{earlier}.pt was replaced while this run went on: another run with other "
                    "settings writes there; give one of them another name or store.models"
                )
        return files

    def keep(self, stage: str, weights: Weights, folder: Store) -> Weights:
        """Put the weights of a training, which has `folder` for itself; returns those that count."""
        data = save(weights)
        if not folder.put(FINISHED, data, overwrite=False):
            data = folder.get(FINISHED)
            weights = load(data, stage, f"{folder.url}/{FINISHED}")
        self.store.put(f"{stage}.pt", data)
        self._seen[stage] = _sum(data)
        return weights


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
