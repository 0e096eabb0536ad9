"""The training loop: it learns, goes on after any epoch as if nothing had happened, and stops where it cannot."""

import dataclasses
import io
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mtcnn.config import Training
from mtcnn.errors import MissingKey, UserError
from mtcnn.nets import SIZES, Architecture, PReLU, load
from mtcnn.store import Store
from mtcnn.training.loop import TrainingPlan, learning_rate, train

CPU = torch.device("cpu")


class Host:
    """Keeps every checkpoint, and stops the training after an epoch when told to."""

    def __init__(self, checkpoint: bytes | None = None, stop_after: int = 0) -> None:
        self.start, self.stop_after = checkpoint, stop_after
        self.checkpoints: list[bytes] = []
        self.records: list[dict[str, float]] = []

    def resume(self) -> bytes | None:
        return self.start

    def epoch(self, record: dict[str, float], checkpoint: bytes) -> None:
        self.records.append(record)
        self.checkpoints.append(checkpoint)
        if len(self.checkpoints) == self.stop_after:
            raise KeyboardInterrupt


def planned(
    store: Store, stage: str = "pnet", landmarks: bool = False, depthwise: bool = False, **options: object
) -> TrainingPlan:
    settings: dict[str, object] = {"epochs": 3, "steps_per_epoch": 8, "batch_size": 60, "lr": 0.01, **options}
    return TrainingPlan(
        Architecture(stage, depthwise, landmarks), Training(**settings), 3, store.url, "digest"
    )  # type: ignore[arg-type]


@pytest.fixture
def store(mined: Callable[..., Store]) -> Store:
    return mined("pos", "part", "neg", "landmark")


@pytest.mark.parametrize(
    ("stage", "landmarks", "depthwise"),
    [("pnet", False, False), ("pnet", True, True), ("rnet", True, False), ("onet", True, True)],
)
def test_every_net_and_variant_learns(
    mined: Callable[..., Store], stage: str, landmarks: bool, depthwise: bool
) -> None:
    store = mined("pos", "part", "neg", "landmark", size=SIZES[stage], stage=stage, count=40)
    host = Host()
    lr = {"pnet": 0.015, "rnet": 0.004, "onet": 0.002}[stage]
    # O-Net as it is trained by default; where a machine has no bfloat16 of its own, in float32.
    own = {"bfloat16": True, "turn": 15.0} if stage == "onet" else {}
    plan = planned(store, stage, landmarks, depthwise, steps_per_epoch=10, batch_size=42, lr=lr, **own)
    weights = load(train(plan, host, CPU), stage, f"{stage}.pt")
    first, last = host.records[0], host.records[-1]
    assert last["train/class_loss"] < 0.7 * first["train/class_loss"]
    assert last["train/box_loss"] < first["train/box_loss"]
    assert min(weights.metrics["positive_accuracy"], weights.metrics["negative_accuracy"]) > 0.8
    assert ("landmark_error" in weights.metrics) == landmarks
    assert weights.digest == "digest" and weights.net.architecture == plan.architecture
    assert [record["epoch"] for record in host.records] == [1, 2, 3]


def test_it_goes_on_after_any_epoch_as_if_nothing_had_happened(store: Store) -> None:
    plan = planned(store, landmarks=True)
    undisturbed = Host()
    weights = train(plan, undisturbed, CPU)
    for epoch in (1, 2):
        stopped = Host(stop_after=epoch)
        with pytest.raises(KeyboardInterrupt):
            train(plan, stopped, CPU)
        assert stopped.checkpoints == undisturbed.checkpoints[:epoch]
        resumed = Host(stopped.checkpoints[-1])
        assert train(plan, resumed, CPU) == weights
        assert resumed.checkpoints == undisturbed.checkpoints[epoch:]
    finished = Host(undisturbed.checkpoints[-1])
    assert train(plan, finished, CPU) == weights and finished.records == []


def test_another_seed_trains_another_net(store: Store) -> None:
    plan = planned(store, epochs=1)
    assert train(plan, Host(), CPU) != train(dataclasses.replace(plan, seed=4), Host(), CPU)


def test_the_best_epoch_is_kept(store: Store) -> None:
    host = Host()
    # A rate that grows beyond all reason ruins what was learned.
    weights = load(train(planned(store, lr=0.5, warmup=1.0, epochs=4, ema=0.0), host, CPU), "pnet", "pnet.pt")
    found = [record["held_out/loss"] for record in host.records]
    assert weights.about["epoch"] == found.index(min(found)) + 1
    best = host.records[found.index(min(found))]
    assert weights.metrics["class_loss"] == best["held_out/class_loss"]


def test_what_an_epoch_is_judged_by_is_weighted_as_in_training(store: Store) -> None:
    host = Host()
    train(planned(store, landmarks=True, epochs=1, box_weight=0.6, landmark_weight=1.5), host, CPU)
    (record,) = host.records
    parts = {name: record[f"held_out/{name}_loss"] for name in ("class", "box", "landmark")}
    expected = parts["class"] + 0.6 * parts["box"] + 1.5 * parts["landmark"]
    assert record["held_out/loss"] == pytest.approx(expected)


def test_slopes_stay_where_pooling_first_is_right(store: Store) -> None:
    net = load(train(planned(store, lr=0.3, epochs=1), Host(), CPU), "pnet", "pnet.pt").net
    slopes = torch.cat([module.weight for module in net.modules() if isinstance(module, PReLU)])
    assert slopes.min() >= 0 and slopes.max() <= 1 and net.monotone


def test_steps_follow_the_positives_where_none_are_given(store: Store) -> None:
    host = Host()
    train(planned(store, epochs=1, steps_per_epoch=0), host, CPU)
    # 120 positives, 12 in a batch of 60.
    steps = host.records[0]["samples_per_second"] / 60
    content = torch.load(io.BytesIO(host.checkpoints[0]), weights_only=True)
    assert {int(s["step"]) for s in content["optimiser"]["state"].values()} == {10} and steps > 0


# rates and averages


def test_the_rate_rises_then_falls_along_a_cosine_to_one_percent() -> None:
    options = Training(lr=0.02, warmup=0.1)
    rates = [learning_rate(step, 200, options) for step in range(200)]
    assert rates[:21] == sorted(rates[:21]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[0] == pytest.approx(0.02 / 21) and rates[20] == pytest.approx(0.02)
    assert rates[110] == pytest.approx(0.02 * (0.01 + 0.99 / 2))
    assert rates[-1] == pytest.approx(0.0002, rel=0.05)
    assert rates[65] == pytest.approx(0.02 * (0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2))


def test_a_constant_rate_is_constant_after_the_warm_up() -> None:
    options = Training(lr=0.02, warmup=0.05, schedule="constant")
    assert {learning_rate(step, 100, options) for step in range(5, 100)} == {0.02}
    assert learning_rate(0, 100, Training(lr=0.02, warmup=0.0, schedule="constant")) == 0.02


def test_the_recorded_rate_is_that_of_the_epochs_last_step(store: Store) -> None:
    host = Host()
    plan = planned(store)
    train(plan, host, CPU)
    expected = [learning_rate(step, 24, plan.options) for step in (7, 15, 23)]
    assert [record["learning_rate"] for record in host.records] == pytest.approx(expected)


def test_averaged_weights_follow_the_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kept weights are the running mean of those after each step, with a decay that starts low."""
    from mtcnn.training import loop

    after: list[torch.Tensor] = []
    start: list[torch.Tensor] = []
    average = loop._average

    def watched(state, decay: float, step: int) -> None:  # type: ignore[no-untyped-def]
        if not start:
            start.append(state.average.conv1.weight.detach().clone())
        after.append(state.net.conv1.weight.detach().clone())
        average(state, decay, step)

    monkeypatch.setattr(loop, "_average", watched)
    weights = load(train(planned(store, epochs=1, ema=0.5), Host(), CPU), "pnet", "pnet.pt")
    expected = start[0]
    for step, current in enumerate(after):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * current
    torch.testing.assert_close(weights.net.conv1.weight, expected, rtol=1e-4, atol=1e-6)
    after.clear()
    plain = load(train(planned(store, epochs=1, ema=0.0), Host(), CPU), "pnet", "pnet.pt")
    assert torch.equal(plain.net.conv1.weight, after[-1])


# what stops it


def test_a_loss_that_is_not_finite_stops_it_and_keeps_the_last_good_checkpoint(store: Store) -> None:
    host = Host()
    good = train(planned(store, epochs=1), host, CPU)
    assert good
    mad = Host(host.checkpoints[0])
    with pytest.raises(
        UserError,
        match=r"^pnet: loss not finite by step \d+ \(epoch 2\), learning rate 1e\+25; the last good checkpoint is "
        r"kept: lower stages\.pnet\.training\.lr$",
    ):
        train(planned(store, lr=1e25, warmup=0.0, schedule="constant"), mad, CPU)
    assert mad.checkpoints == []


@pytest.mark.parametrize("missing", ["pos", "part", "neg", "landmark"])
def test_a_class_without_crops_stops_it_with_the_settings_that_filter_it(
    mined: Callable[..., Store], missing: str
) -> None:
    store = mined(*{"pos", "part", "neg", "landmark"} - {missing})
    words = {
        "pos": "positive_iou", "part": "training.parts=0", "neg": "negative_iou", "landmark": "net.landmarks=false"
    }  # fmt: skip
    with pytest.raises(UserError, match=rf"^pnet: no '{missing}' crops .* stages\.pnet\..*{words[missing]}"):
        train(planned(store, landmarks=True), Host(), CPU)


def test_classes_that_are_not_wanted_are_not_missed(mined: Callable[..., Store]) -> None:
    assert train(planned(mined("pos", "neg"), parts=0.0, epochs=1), Host(), CPU)


def test_a_stage_that_is_not_mined_is_named(tmp_path: Path) -> None:
    plan = TrainingPlan(Architecture("pnet"), Training(), 0, str(tmp_path / "none"), "digest")
    with pytest.raises(MissingKey, match="manifest.json"):
        train(plan, Host(), CPU)
