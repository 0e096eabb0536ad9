"""One canvas for the pyramid: nothing lies on anything else, and P-Net says the same as of each level alone."""

import numpy as np
import pytest
import torch

from mtcnn.canvas import ROUNDED_TO, draw, place
from mtcnn.image import Octaves
from mtcnn.nets import Architecture, build, normalise


def scales_of(height: int, width: int, min_face: float) -> list[float]:
    scales, scale = [], 12 / min_face
    while min(height, width) * scale >= 12:
        scales.append(scale)
        scale *= 0.709
    return scales


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (2000, 30), (31, 900), (100, 100)])
def test_levels_lie_beside_each_other_on_few_pixels(size: tuple[int, int]) -> None:
    sizes = [(max(int(size[0] * s), 12), max(int(size[1] * s), 12)) for s in scales_of(*size, 12)]
    corners = place(sizes)
    used = np.zeros((5000, 5000), np.uint8)
    for (x, y), (width, height) in zip(corners, sizes, strict=True):
        used[y : y + height, x : x + width] += 1
    assert used.max() == 1
    rows, columns = np.nonzero(used)
    if min(size) > 90:
        assert used.sum() > 0.8 * (rows.max() + 1) * (columns.max() + 1)


@pytest.mark.parametrize("shape", [(97, 120), (64, 64), (151, 77), (12, 40)])
def test_cells_of_a_canvas_are_those_of_its_levels(shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    octaves, scales = Octaves(rgb), scales_of(*shape, 12)
    net = build(Architecture("pnet")).eval()
    net.initialise(torch.Generator().manual_seed(2))
    canvas = draw(octaves, scales)
    assert all(side % ROUNDED_TO == 0 for side in canvas.pixels.shape[:2])
    with torch.inference_mode():
        everything = net(normalise(torch.from_numpy(canvas.pixels)[None])).logits[0]
        for level, scale in zip(canvas.levels, scales, strict=True):
            pixels, steps = octaves.level(scale)
            # What it sees of an odd level ends with the last row or column once more.
            padding = [(0, side % 2) for side in pixels.shape[:2]]
            alone = np.pad(pixels, [*padding, (0, 0)], mode="edge")
            expected = net(normalise(torch.from_numpy(alone)[None])).logits[0]
            assert level.steps == steps
            torch.testing.assert_close(everything[:, *level.cells], expected, atol=1e-4, rtol=1e-4)


def test_an_image_too_small_for_any_level_has_an_empty_canvas() -> None:
    canvas = draw(Octaves(np.zeros((5, 5, 3), np.uint8)), [])
    assert not canvas.levels and not canvas.pixels.any()
