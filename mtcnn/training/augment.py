"""What is done to a batch before a net sees it: mirror images, turns, light photometric changes."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

SWAP = [1, 0, 2, 4, 3]
"""Points after mirroring: left and right eye, and corners of the mouth, change places."""


def flip(pixels: Tensor, boxes: Tensor, landmarks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mirror images (B, S, S, 3), box targets (B, 4) and landmark targets (B, 10), all of them."""
    mirrored = torch.stack([-boxes[:, 2], boxes[:, 1], -boxes[:, 0], boxes[:, 3]], dim=1)
    points = landmarks.reshape(-1, 5, 2)[:, SWAP]
    points = torch.stack([1 - points[..., 0], points[..., 1]], dim=2)
    return pixels.flip(2), mirrored, points.reshape(-1, 10)


def flip_every_other(pixels: Tensor, boxes: Tensor, landmarks: Tensor) -> None:
    """Mirror every other crop in place; batches are shuffled, so that is half of them at random."""
    pixels[::2], boxes[::2], landmarks[::2] = flip(pixels[::2], boxes[::2], landmarks[::2])


GREY = 8
"""One crop in so many loses its colour, as in old photos and at night."""


def jitter(x: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Random contrast, brightness and colour of normalised crops (B, 3, S, S), each drawn per crop, in place.

    At strength 0.2 contrast varies by +-20 %, brightness by +-0.2 of the range -1..1, a channel by +-10 %; one crop in
    GREY has its mean over the channels in each.
    """

    def uniform(channels: int) -> Tensor:
        drawn = torch.rand((len(x), channels, 1, 1), generator=generator, device=generator.device)
        return (drawn * 2 - 1).to(x.device)

    grey = torch.randperm(len(x), generator=generator, device=generator.device)[: len(x) // GREY].to(x.device)
    x[grey] = x[grey].mean(dim=1, keepdim=True)
    gain = (1 + strength * uniform(1)) * (1 + 0.5 * strength * uniform(3))
    gain[grey] = gain[grey].mean(dim=1, keepdim=True)
    return x.mul_(gain).add_(strength * uniform(1))


def turn(
    x: Tensor, boxes: Tensor, landmarks: Tensor, degrees: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Crops (B, 3, S, S), box targets (B, 4) and landmark targets (B, 10), each turned by up to `degrees` either way.

    A crop turns about its centre, and its box with it, which stays upright and as large as it is. What comes in from
    beyond a crop is its border, drawn out.
    """
    drawn = torch.rand(len(x), generator=generator, device=generator.device) * 2 - 1
    angle = drawn.to(x.device) * math.radians(degrees)
    cos, sin = angle.cos(), angle.sin()
    # affine_grid asks where an output pixel comes from, points ask where an input pixel goes: opposite turns.
    rotation = torch.stack([cos, -sin, sin, cos], dim=1).reshape(-1, 2, 2)
    theta = F.pad(rotation.mT, (0, 1))
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    turned = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    # From the centre of the crop, in crop sides: that of a box is the mean of its two corners' offsets.
    centre = boxes.reshape(-1, 2, 2).mean(dim=1)
    moved = (rotation @ centre[:, :, None])[:, :, 0] - centre
    points = (landmarks.reshape(-1, 5, 2) - 0.5) @ rotation.mT + 0.5
    return turned, boxes + moved.repeat(1, 2), points.reshape(-1, 10)
