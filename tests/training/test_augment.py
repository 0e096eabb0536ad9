"""Mirrored crops are what the mirrored picture would have given; jitter stays within its bounds."""

import numpy as np
import torch

from mtcnn import boxes as bx
from mtcnn.training.augment import GREY, flip, flip_every_other, jitter, turn

SIDE = 24


def drawn(box: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A crop on which the box is grey and each point has a colour of its own."""
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    x1, y1, x2, y2 = np.rint(box).astype(int)
    image[y1:y2, x1:x2] = 100
    for number, (x, y) in enumerate(points.astype(int)):
        image[y, x] = 150 + number
    return image


def test_boxes_and_points_are_those_of_the_mirrored_picture() -> None:
    square = np.array([[0, 0, SIDE, SIDE]], np.float32)
    box = np.array([[3, 5, 16, 21]], np.float32)
    # In the middle of their pixels, as drawn.
    points = np.array([[[6.5, 9.5], [12.5, 8.5], [9.5, 13.5], [7.5, 17.5], [13.5, 18.5]]], np.float32)
    image = drawn(box[0], points[0])
    pixels, boxes, landmarks = flip(
        torch.from_numpy(image[None]),
        torch.from_numpy(bx.encode(box, square)),
        torch.from_numpy(bx.encode_points(points, square)),
    )
    mirrored = image[:, ::-1]
    np.testing.assert_array_equal(pixels[0].numpy(), mirrored)
    rows, columns = np.nonzero(mirrored[..., 0])
    found = bx.decode(square, boxes.numpy())
    np.testing.assert_allclose(
        found, [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], atol=1e-4
    )
    # The left eye of the mirrored picture is the right one of the picture.
    moved = bx.decode_points(square, landmarks.numpy())[0]
    colours = [int(mirrored[int(y), int(x), 0]) - 150 for x, y in moved]
    assert colours == [1, 0, 2, 4, 3]
    assert moved[0, 0] < moved[1, 0] and moved[3, 0] < moved[4, 0]


def test_twice_mirrored_is_as_before() -> None:
    rng = np.random.default_rng(1)
    before = (
        torch.from_numpy(rng.integers(0, 256, (5, 12, 12, 3), dtype=np.uint8)),
        torch.from_numpy(rng.normal(size=(5, 4)).astype(np.float32)),
        torch.from_numpy(rng.normal(size=(5, 10)).astype(np.float32)),
    )
    for twice, once in zip(flip(*flip(*before)), before, strict=True):
        torch.testing.assert_close(twice, once)


def test_every_other_crop_is_mirrored_where_it_lies() -> None:
    rng = np.random.default_rng(2)
    pixels = torch.from_numpy(rng.integers(0, 256, (7, 12, 12, 3), dtype=np.uint8))
    boxes = torch.from_numpy(rng.normal(size=(7, 4)).astype(np.float32))
    points = torch.from_numpy(rng.normal(size=(7, 10)).astype(np.float32))
    before = pixels.clone(), boxes.clone(), points.clone()
    expected = flip(*before)
    flip_every_other(pixels, boxes, points)
    for after, old, mirrored in zip((pixels, boxes, points), before, expected, strict=True):
        assert torch.equal(after[::2], mirrored[::2]) and torch.equal(after[1::2], old[1::2])


def test_jitter_changes_contrast_brightness_and_colour_within_bounds() -> None:
    x = torch.full((2000, 3, 2, 2), 0.5)
    x[:, :, 0] = -0.5
    after = jitter(x.clone(), 0.2, torch.Generator().manual_seed(1))
    contrast = (after[:, :, 1] - after[:, :, 0]).mean(dim=2)
    brightness = (after[:, :, 1] + after[:, :, 0]).mean(dim=2) / 2
    assert 0.8 * 0.9 <= contrast.min() < 0.8 and 1.2 < contrast.max() <= 1.2 * 1.1
    assert -0.2 <= brightness.min() < -0.18 and 0.18 < brightness.max() <= 0.2
    # Brightness is one for all channels of a crop, colour is one for each.
    torch.testing.assert_close(brightness[:, 0], brightness[:, 2])
    grey = contrast[:, 0] == contrast[:, 1]
    assert grey.sum() == 2000 // GREY
    again = jitter(x.clone(), 0.2, torch.Generator().manual_seed(1))
    assert torch.equal(after, again)


def test_a_crop_that_loses_its_colour_keeps_its_light() -> None:
    x = torch.rand((GREY, 3, 4, 4), generator=torch.Generator().manual_seed(0))
    after = jitter(x.clone(), 1e-9, torch.Generator().manual_seed(1))
    (grey,) = (after - x).abs().amax(dim=(1, 2, 3)).gt(1e-3).nonzero()
    torch.testing.assert_close(after[grey], x[grey].mean(dim=1, keepdim=True).expand(-1, 3, -1, -1))


def test_points_of_a_turned_face_stay_on_what_they_mark() -> None:
    side = 48
    generator = torch.Generator().manual_seed(0)
    points = torch.rand((20, 5, 2), generator=generator) * 0.4 + 0.3
    pixels = (torch.arange(side) + 0.5) / side
    distance = (pixels[None, None, :, None] - points[..., 1, None, None]) ** 2
    distance = distance + (pixels[None, None, None, :] - points[..., 0, None, None]) ** 2
    for number in range(5):
        # One soft spot a crop: after turning, its middle is where the point says.
        spot = torch.exp(-distance[:, number] / (2 * 0.04**2))[:, None].expand(-1, 3, -1, -1)
        generator = torch.Generator().manual_seed(7)
        turned, _, targets = turn(spot, torch.zeros(20, 4), points.reshape(-1, 10), 30, generator)
        weight = turned[:, 0] / turned[:, 0].sum(dim=(1, 2), keepdim=True)
        x = (weight.sum(dim=1) * pixels).sum(dim=1)
        y = (weight.sum(dim=2) * pixels).sum(dim=1)
        found = torch.stack([x, y], dim=1)
        expected = targets.reshape(-1, 5, 2)[:, number]
        torch.testing.assert_close(found, expected, atol=0.005, rtol=0)
        assert (expected - points[:, number]).abs().max() > 0.05


def test_a_box_turns_with_its_crop_and_keeps_its_size() -> None:
    side = 48
    square = torch.tensor([[0.0, 0.0, side, side]])
    box = np.array([[22, 10, 42, 26]], np.float32)
    x = torch.zeros(1, 3, side, side)
    x[0, :, 10:26, 22:42] = 1
    targets = torch.from_numpy(bx.encode(box, square.numpy()))
    for seed in range(5):
        turned, moved, _ = turn(x, targets, torch.zeros(1, 10), 15, torch.Generator().manual_seed(seed))
        weight = turned[0, 0] / turned[0, 0].sum()
        grid = torch.arange(side) + 0.5
        middle = [(weight.sum(dim=0) * grid).sum(), (weight.sum(dim=1) * grid).sum()]
        found = bx.decode(square.numpy(), moved.numpy())[0]
        np.testing.assert_allclose((found[:2] + found[2:]) / 2, middle, atol=0.1)
        np.testing.assert_allclose(found[2:] - found[:2], [20, 16], atol=1e-3)
        # What is no face has no box, turned or not.
        assert not turn(x, torch.zeros(1, 4), torch.zeros(1, 10), 15, torch.Generator())[1].any()
