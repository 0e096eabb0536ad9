"""The weights of a run: written once for each training, and never exchanged under a run that goes on."""

from pathlib import Path

import pytest
import torch

from mtcnn.config import Config, Source, Stores
from mtcnn.errors import UserError
from mtcnn.models import Models
from mtcnn.nets import Architecture, Weights, build, load


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(sources={"a": Source(url="b")}, store=Stores(models=str(tmp_path)))


def keep(models: Models, seed: int, digest: str) -> Weights:
    """Keep the weights that a training has given."""
    net = build(Architecture("pnet"))
    net.initialise(torch.Generator().manual_seed(seed))
    weights = Weights(net, threshold=seed / 10, digest=digest)
    return models.keep("pnet", weights, models.store.child(f"checkpoints/pnet-{digest}"))


def test_both_of_two_drivers_go_on_with_the_weights_of_the_first(config: Config) -> None:
    one, other = Models(config), Models(config)
    assert keep(one, 1, "d").threshold == 0.1
    # On other machines the same training gives other bits.
    assert keep(other, 2, "d").threshold == 0.1
    assert one.before("rnet") == other.before("rnet") == [one.store.get("pnet.pt")]
    assert load(one.store.get("pnet.pt"), "pnet", "").threshold == 0.1


def test_another_training_replaces_them_and_can_be_gone_back_from(config: Config) -> None:
    assert [keep(Models(config), seed, digest).threshold for seed, digest in ((1, "d"), (2, "e"), (3, "d"))] == [
        0.1, 0.2, 0.1,
    ]  # fmt: skip


def test_a_run_with_other_settings_in_the_same_place_is_noticed(config: Config) -> None:
    one = Models(config)
    keep(one, 1, "d")
    one.before("rnet")
    keep(Models(config), 2, "other")
    with pytest.raises(
        UserError, match=r"pnet.pt was replaced while this run went on: another run with other"
    ):
        one.before("rnet")
