"""What a stage is expected to give, against what mining it gives."""

from collections.abc import Callable

import numpy as np
import pytest

from mtcnn.config import Mining, NetOptions, Stage, Stages
from mtcnn.mining.expected import crop_bytes, expected_crops
from mtcnn.mining.unit import Recipe, mine_unit
from mtcnn.nets import SIZES
from mtcnn.shards import pack_crops
from mtcnn.sources.pack import Pictures, surveyed
from mtcnn.sources.synthetic import synthetic_image

ALL = frozenset({"pos", "part", "neg", "landmark"})


@pytest.fixture(scope="module")
def drawn() -> Callable[[int], Pictures]:
    return lambda count: Pictures("synthetic", count, lambda i: synthetic_image(7, i), "0" * 64)


@pytest.mark.parametrize("min_face", [12.0, 40.0])
def test_it_is_near_to_what_random_squares_give(drawn: Callable[[int], Pictures], min_face: float) -> None:
    options = Mining(min_face=min_face)
    images = [synthetic_image(7, i) for i in range(30)]
    recipe = Recipe(12, options, ALL)
    mined = mine_unit(images, recipe, None, np.random.default_rng(0)).crops
    summary, _ = surveyed(drawn(30), 30)
    stage = Stage(net=NetOptions(landmarks=True), mining=options)
    expected = expected_crops("pnet", stage, {"scenes": (summary, ALL)})
    for name, crops in mined.items():
        assert expected[name] == pytest.approx(len(crops), rel=0.35), name


def test_a_source_gives_the_classes_that_it_may_and_a_net_without_points_takes_none(
    drawn: Callable[[int], Pictures],
) -> None:
    summary, _ = surveyed(drawn(5), 5)
    only = expected_crops("rnet", Stages().rnet, {"photos": (summary, frozenset({"neg"}))})
    assert only["neg"] > 0 and sum(only.values()) == only["neg"]
    assert expected_crops("pnet", Stages().pnet, {"scenes": (summary, ALL)})["landmark"] == 0
    # More squares than crops are kept.
    capped = Stage(mining=Mining(jittered_squares=1000, crops_per_face=3))
    assert expected_crops("pnet", capped, {"scenes": (summary, ALL)})["pos"] <= 3 * summary.faces


def test_crops_take_the_bytes_that_their_shard_has(drawn: Callable[[int], Pictures]) -> None:
    images = [synthetic_image(7, i) for i in range(20)]
    mined = mine_unit(images, Recipe(24, Mining(), ALL), None, np.random.default_rng(0)).crops
    for crops in mined.values():
        assert crop_bytes("rnet") * len(crops) == pytest.approx(len(pack_crops(crops, "u", "pos")), rel=0.05)
    assert {stage: crop_bytes(stage) > 3 * side**2 for stage, side in SIZES.items()} == dict.fromkeys(
        SIZES, True
    )


def test_a_survey_looks_at_few_pictures_and_all_of_a_few(drawn: Callable[[int], Pictures]) -> None:
    pictures = drawn(40)
    looked_at: list[int] = []

    def make(i: int):  # type: ignore[no-untyped-def]
        looked_at.append(i)
        return pictures.make(i)

    summary, size = surveyed(Pictures("synthetic", 40, make, "0" * 64), 4)
    assert looked_at == [0, 13, 26, 39] and summary.images == 4
    assert size == sum(len(synthetic_image(7, i).data) for i in looked_at)
    assert surveyed(drawn(3), 10)[0].faces == sum(
        int((~synthetic_image(7, i).annotation.ignore).sum()) for i in range(3)
    )
