"""The three nets against the published sizes, and their weights file against everything that can be wrong with it."""

import io
import math
import pickle

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mtcnn.errors import WeightsError
from mtcnn.nets import SIZES, STAGES, Architecture, PReLU, Weights, build, load, normalise, save


def net_of(stage: str, seed: int = 0, **variants: bool):  # type: ignore[no-untyped-def]
    net = build(Architecture(stage, **variants))
    net.initialise(torch.Generator().manual_seed(seed))
    return net.eval()


def pixels(count: int, height: int, width: int) -> torch.Tensor:
    data = np.random.default_rng(1).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return torch.from_numpy(data)


@pytest.mark.parametrize(
    ("stage", "landmarks", "count"),
    # As counted in the original authors' weights, in which O-Net alone has points.
    [("pnet", False, 6_632), ("rnet", False, 100_178), ("onet", True, 389_040)],
)
def test_nets_have_the_original_number_of_parameters(stage: str, landmarks: bool, count: int) -> None:
    net = net_of(stage, landmarks=landmarks)
    assert sum(p.numel() for p in net.parameters()) == count


def test_depthwise_variants_are_lighter_where_they_say() -> None:
    def count(stage: str, depthwise: bool) -> int:
        return sum(p.numel() for p in net_of(stage, depthwise=depthwise).parameters())

    # Weights: 3*3*16*32 against 3*3*16 + 16*32; 2*2*64*128 against 2*2*64 + 64*128.
    assert count("pnet", False) - count("pnet", True) == 9 * 16 * 32 - (9 * 16 + 16 * 32)
    assert count("onet", False) - count("onet", True) == 4 * 64 * 128 - (4 * 64 + 64 * 128)
    assert count("rnet", False) == count("rnet", True)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("landmarks", [False, True])
@pytest.mark.parametrize("depthwise", [False, True])
def test_a_crop_gives_one_row_of_outputs(stage: str, landmarks: bool, depthwise: bool) -> None:
    side = SIZES[stage]
    out = net_of(stage, landmarks=landmarks, depthwise=depthwise)(normalise(pixels(3, side, side)))
    assert out.logits.flatten(1).shape == (3, 2)
    assert out.offsets.flatten(1).shape == (3, 4)
    assert (out.landmarks is not None) == landmarks
    if out.landmarks is not None:
        assert out.landmarks.flatten(1).shape == (3, 10)


@pytest.mark.parametrize(("height", "width"), [(12, 12), (13, 14), (41, 30), (64, 51)])
def test_pnet_over_an_image_is_pnet_on_every_window_at_stride_two(height: int, width: int) -> None:
    net = net_of("pnet")
    image = pixels(1, height, width)
    with torch.inference_mode():
        out = net(normalise(image))
        rows, columns = out.logits.shape[2:]
        assert (rows, columns) == (-((2 - height) // 2) - 4, -((2 - width) // 2) - 4)
        # The last row and column of an odd size pool over less than a window: ceil mode.
        for row in range((height - 12) // 2 + 1):
            for column in range((width - 12) // 2 + 1):
                window = image[:, 2 * row : 2 * row + 12, 2 * column : 2 * column + 12]
                alone = net(normalise(window.contiguous()))
                torch.testing.assert_close(out.logits[0, :, row, column], alone.logits[0, :, 0, 0])
                torch.testing.assert_close(out.offsets[0, :, row, column], alone.offsets[0, :, 0, 0])


def test_pixels_are_scaled_to_minus_one_to_one_with_channels_first() -> None:
    image = pixels(2, 5, 7)
    x = normalise(image)
    assert x.shape == (2, 3, 5, 7) and x.dtype == torch.float32
    expected = (image.numpy().astype(np.float64).transpose(0, 3, 1, 2) - 127.5) / 128
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-7)
    assert image.dtype == torch.uint8


@pytest.mark.parametrize("stage", STAGES)
def test_pooling_first_changes_nothing_where_slopes_are_not_negative(stage: str) -> None:
    net = net_of(stage, landmarks=True)
    for module in net.modules():
        if isinstance(module, PReLU):
            torch.nn.init.uniform_(module.weight, 0, 1)
    x = normalise(pixels(4, SIZES[stage], SIZES[stage]))
    with torch.inference_mode():
        net.monotone = True
        pooled_first = net(x)
        net.monotone = False
        for ours, reference in zip(pooled_first, net(x), strict=True):
            torch.testing.assert_close(ours, reference, rtol=0, atol=0)


def test_negative_slopes_are_noticed_and_pooled_after() -> None:
    net = net_of("rnet")
    with torch.no_grad():
        net.prelu1.weight.fill_(-0.5)
    again = load(save(Weights(net)), "rnet", "rnet.pt").net
    x = normalise(pixels(4, 24, 24))
    with torch.inference_mode():
        y = F.max_pool2d(F.prelu(net.conv1(x), net.prelu1.weight), 3, 2, ceil_mode=True)
        y = F.max_pool2d(F.prelu(net.conv2(y), net.prelu2.weight), 3, 2, ceil_mode=True)
        y = F.prelu(net.conv3(y), net.prelu3.weight).flatten(1)
        expected = net.dense5_1(F.prelu(net.dense4(y), net.prelu4.weight))
        torch.testing.assert_close(again(x).logits, expected)


def test_clamped_slopes_lie_between_nought_and_one() -> None:
    net = net_of("onet")
    with torch.no_grad():
        net.prelu1.weight.fill_(-0.5)
        net.prelu5.weight.fill_(1.5)
    net.clamp_slopes()
    slopes = torch.cat([m.weight for m in net.modules() if isinstance(m, PReLU)])
    assert slopes.min() == 0 and slopes.max() == 1 and net.prelu2.weight[0] == 0.25


def test_equal_seeds_give_equal_nets() -> None:
    same, again, other = net_of("pnet", 3), net_of("pnet", 3), net_of("pnet", 4)
    assert torch.equal(same.conv1.weight, again.conv1.weight)
    assert not torch.equal(same.conv1.weight, other.conv1.weight)


@pytest.mark.parametrize("stage", STAGES)
def test_moved_scores_keep_their_order_and_pass_at_the_new_threshold(stage: str) -> None:
    net = net_of(stage)
    x = normalise(pixels(40, SIZES[stage], SIZES[stage]))
    with torch.inference_mode():
        before = net(x).logits.flatten(1).softmax(1)[:, 1]
        middle = before.median().item()
        net.move_margins(math.log(0.7 / 0.3) - math.log(middle / (1 - middle)))
        after = net(x).logits.flatten(1).softmax(1)[:, 1]
    assert torch.equal(before.argsort(), after.argsort())
    torch.testing.assert_close(after.median().item(), 0.7, rtol=0, atol=1e-5)


# the weights file


@pytest.mark.parametrize("stage", STAGES)
def test_everything_about_a_net_is_in_its_file(stage: str) -> None:
    net = net_of(stage, landmarks=True, depthwise=True)
    data = save(Weights(net, 0.37, "abcdef", {"positive_accuracy": 0.9}, {"run": "demo"}))
    weights = load(data, stage, f"{stage}.pt")
    assert (weights.threshold, weights.digest) == (0.37, "abcdef")
    assert weights.metrics == {"positive_accuracy": 0.9} and weights.about == {"run": "demo"}
    assert weights.net.architecture == Architecture(stage, depthwise=True, landmarks=True)
    assert not weights.net.training
    x = normalise(pixels(2, SIZES[stage], SIZES[stage]))
    with torch.inference_mode():
        for ours, theirs in zip(weights.net(x), net(x), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_equal_weights_give_equal_bytes_and_any_torch_can_read_them() -> None:
    data = save(Weights(net_of("pnet")))
    assert data == save(Weights(net_of("pnet")))
    content = torch.load(io.BytesIO(data), weights_only=True)
    pixels = {"channels": "RGB", "mean": 127.5, "scale": 128.0, "size": 12, "resampling": "octaves"}
    assert content["input"] == pixels
    assert content["architecture"] == {"stage": "pnet", "depthwise": False, "landmarks": False}


def test_weights_of_another_stage_are_refused() -> None:
    with pytest.raises(WeightsError, match="here/rnet.pt: holds pnet, where rnet is needed"):
        load(save(Weights(net_of("pnet"))), "rnet", "here/rnet.pt")


def test_a_file_that_holds_code_is_refused_and_the_code_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    class Code:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return print, ("the code was run",)

    for data in (pickle.dumps(Code(), protocol=2), _torch_file(Code()), _torch_file(net_of("pnet"))):
        with pytest.raises(WeightsError, match="holds code instead of weights"):
            load(data, "pnet", "pnet.pt")
    assert capsys.readouterr().out == ""


def _torch_file(content: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def test_damaged_files_are_refused_whatever_is_damaged() -> None:
    whole = save(Weights(net_of("pnet")))
    rng = np.random.default_rng(2)
    cut = [whole[: int(length)] for length in rng.integers(0, len(whole), 40)]
    rubbish = [rng.bytes(int(length)) for length in rng.integers(1, 400, 40)]
    for data in (b"", *cut, *rubbish):
        with pytest.raises(WeightsError, match=r"^pnet\.pt: "):
            load(data, "pnet", "pnet.pt")


def test_altered_files_are_refused_or_harmless() -> None:
    """A flipped byte may fall on a number, which no format without checksums can tell; nothing else may happen."""
    whole = save(Weights(net_of("pnet")))
    rng = np.random.default_rng(3)
    for place in rng.integers(0, len(whole), 60):
        altered = bytearray(whole)
        altered[place] ^= 0xFF
        try:
            load(bytes(altered), "pnet", "pnet.pt")
        except WeightsError as error:
            assert str(error).startswith("pnet.pt: ")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.update(format=99), "not a weights file of mtcnn-ray"),
        (lambda c: c.pop("format"), "not a weights file of mtcnn-ray"),
        (lambda c: c.pop("threshold"), "damaged"),
        (lambda c: c["state_dict"].pop("conv1.weight"), "damaged"),
        (lambda c: c["state_dict"].update({"conv1.bias": torch.zeros(3)}), "damaged"),
        (lambda c: c.update(state_dict=[1]), "damaged"),
        (lambda c: c["architecture"].update(colour=1), "damaged"),
        (lambda c: c.update(architecture=None), "damaged"),
    ],
)
def test_contents_that_do_not_fit_are_refused(change, words: str) -> None:  # type: ignore[no-untyped-def]
    content = torch.load(io.BytesIO(save(Weights(net_of("pnet")))), weights_only=True)
    change(content)
    with pytest.raises(WeightsError, match=f"^pnet.pt: {words}"):
        load(_torch_file(content), "pnet", "pnet.pt")
