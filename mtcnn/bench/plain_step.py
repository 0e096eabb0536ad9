"""The training step as one would first write it: a baseline for ours.

Contiguous layout, PReLU before pooling, AdamW as it comes; the same nets, augmentation and losses, so the same
samples teach the same. No averaged weights, which favours it.
"""

import torch

from mtcnn.config import Stages, Training
from mtcnn.nets import NETS, Architecture
from mtcnn.shards import Batch
from mtcnn.training.augment import flip_every_other, jitter, turn
from mtcnn.training.losses import blocks, losses


class PlainStep:
    """One net and its optimiser; a call is a step on a batch."""

    def __init__(self, stage: str, options: Training, device: torch.device) -> None:
        self.options, self.device = options, device
        landmarks = Stages().get(stage).net.landmarks
        self.parts = blocks(options, landmarks)
        self.net = NETS[stage](Architecture(stage, landmarks=landmarks)).to(device)
        self.net.monotone = False
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=1e-4)
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, batch: Batch) -> float:
        """The loss of the batch."""
        pixels, boxes, landmarks = (
            torch.from_numpy(a).to(self.device) for a in (batch.images, batch.boxes, batch.landmarks)
        )
        flip_every_other(pixels, boxes, landmarks)
        x = (pixels.permute(0, 3, 1, 2).contiguous().float() - 127.5) / 128
        x = jitter(x, self.options.jitter, self.generator)
        if self.options.turn:
            x, boxes, landmarks = turn(x, boxes, landmarks, self.options.turn, self.generator)
        loss = losses(self.net(x), boxes, landmarks, self.parts, self.options).total
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()
