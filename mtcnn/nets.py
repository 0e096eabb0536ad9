"""P-Net, R-Net and O-Net of Zhang et al. 2016 (arXiv 1604.02878) and the weights file that carries one of them.

Per-channel PReLU and ceil-mode pooling as in the original: 6,632, 100,178 and 389,040 parameters. Every net maps
uint8 RGB crops or images to class logits, box offsets (`boxes.encode`) and, with a landmark head, landmark targets.
"""

import io
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mtcnn.errors import WeightsError

STAGES = ("pnet", "rnet", "onet")
SIZES = {"pnet": 12, "rnet": 24, "onet": 48}
THRESHOLDS = (0.6, 0.7, 0.7)
"""Scores above which a stage passes a crop on unless told otherwise, in the order of the stages."""
FORMAT = 1
Resampling = Literal["octaves", "area"]
"""How the pixels were made that a net learned from: `image.Octaves`, or as facenet-pytorch makes them."""


class Outputs(NamedTuple):
    """What a net says: logits (N, 2) no face / face, offsets (N, 4), landmarks (N, 10) or None.

    For P-Net run over an image each has two more axes, the cells (rows, columns) at stride 2.
    """

    logits: Tensor
    offsets: Tensor
    landmarks: Tensor | None


@dataclass(frozen=True)
class Architecture:
    """What is needed to build a net: its stage and its variants."""

    stage: str
    depthwise: bool = False
    """P-Net conv3 and O-Net conv4 as depthwise + pointwise convolutions."""
    landmarks: bool = False
    """A head for the five points."""


class PReLU(nn.PReLU):
    """Per-channel PReLU; with slopes in 0..1, as our training keeps them, it commutes with max pooling."""

    @torch.no_grad()
    def clamp_slopes(self) -> None:
        """Keep the slopes in 0..1 (called after every optimiser step)."""
        self.weight.clamp_(0, 1)


def _activate_and_pool(x: Tensor, activation: PReLU, kernel: int, monotone: bool) -> Tensor:
    """PReLU then max pooling; pooled first where that gives the same at a quarter of the work."""
    if monotone:
        return activation(F.max_pool2d(x, kernel, 2, ceil_mode=True))
    return F.max_pool2d(activation(x), kernel, 2, ceil_mode=True)


def _separable(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    depthwise = nn.Conv2d(inputs, inputs, kernel, groups=inputs, bias=False)
    return nn.Sequential(depthwise, nn.Conv2d(inputs, outputs, 1))


class Net(nn.Module):
    """What the three have in common: the input's normalisation, and heads that are linear or 1x1 convolutions."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.monotone = True
        """Whether every PReLU slope is >= 0; weights of other projects have negative ones."""

    @property
    def size(self) -> int:
        """Side in pixels of a crop that this net looks at."""
        return SIZES[self.architecture.stage]

    def clamp_slopes(self) -> None:
        """Keep every PReLU monotone; to be called after each optimiser step."""
        for module in self.modules():
            if isinstance(module, PReLU):
                module.clamp_slopes()

    def check_slopes(self) -> None:
        """Set `monotone` from the weights as they are; to be called after loading a state dict."""
        slopes = [m.weight for m in self.modules() if isinstance(m, PReLU)]
        self.monotone = all(bool((slope >= 0).all()) for slope in slopes)

    @property
    def _classifier(self) -> nn.Module:
        return getattr(
            self, {"pnet": "conv4_1", "rnet": "dense5_1", "onet": "dense6_1"}[self.architecture.stage]
        )

    @torch.no_grad()
    def move_margins(self, by: float) -> None:
        """Add `by` to the margin (logit) of every crop."""
        bias: Tensor = self._classifier.bias  # type: ignore[assignment]
        bias[1] += by

    def initialise(self, generator: torch.Generator) -> None:
        """Fresh weights from `generator`: He initialisation, zero biases, slopes 0.25."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0.25, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, PReLU):
                nn.init.constant_(module.weight, 0.25)


class PNet(Net):
    """Proposal net: fully convolutional, a 12 px window at stride 2."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.conv1, self.prelu1 = nn.Conv2d(3, 10, 3), PReLU(10)
        self.conv2, self.prelu2 = nn.Conv2d(10, 16, 3), PReLU(16)
        self.conv3 = _separable(16, 32, 3) if architecture.depthwise else nn.Conv2d(16, 32, 3)
        self.prelu3 = PReLU(32)
        self.conv4_1, self.conv4_2 = nn.Conv2d(32, 2, 1), nn.Conv2d(32, 4, 1)
        self.conv4_3 = nn.Conv2d(32, 10, 1) if architecture.landmarks else None

    def forward(self, x: Tensor) -> Outputs:
        """Normalised pixels (N, 3, H, W), H and W >= 12 → outputs over ceil((H - 2) / 2) - 4 rows of cells."""
        x = _activate_and_pool(self.conv1(x), self.prelu1, 2, self.monotone)
        x = self.prelu2(self.conv2(x))
        x = self.prelu3(self.conv3(x))
        return Outputs(self.conv4_1(x), self.conv4_2(x), self.conv4_3(x) if self.conv4_3 else None)


class RNet(Net):
    """Refine net: 24 px crops."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.conv1, self.prelu1 = nn.Conv2d(3, 28, 3), PReLU(28)
        self.conv2, self.prelu2 = nn.Conv2d(28, 48, 3), PReLU(48)
        self.conv3, self.prelu3 = nn.Conv2d(48, 64, 2), PReLU(64)
        self.dense4, self.prelu4 = nn.Linear(576, 128), PReLU(128)
        self.dense5_1, self.dense5_2 = nn.Linear(128, 2), nn.Linear(128, 4)
        self.dense5_3 = nn.Linear(128, 10) if architecture.landmarks else None

    def forward(self, x: Tensor) -> Outputs:
        """Normalised crops (N, 3, 24, 24) → outputs (N, ...)."""
        x = _activate_and_pool(self.conv1(x), self.prelu1, 3, self.monotone)
        x = _activate_and_pool(self.conv2(x), self.prelu2, 3, self.monotone)
        x = self.prelu3(self.conv3(x))
        x = self.prelu4(self.dense4(x.flatten(1)))
        return Outputs(self.dense5_1(x), self.dense5_2(x), self.dense5_3(x) if self.dense5_3 else None)


class ONet(Net):
    """Output net: 48 px crops."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(architecture)
        self.conv1, self.prelu1 = nn.Conv2d(3, 32, 3), PReLU(32)
        self.conv2, self.prelu2 = nn.Conv2d(32, 64, 3), PReLU(64)
        self.conv3, self.prelu3 = nn.Conv2d(64, 64, 3), PReLU(64)
        self.conv4 = _separable(64, 128, 2) if architecture.depthwise else nn.Conv2d(64, 128, 2)
        self.prelu4 = PReLU(128)
        self.dense5, self.prelu5 = nn.Linear(1152, 256), PReLU(256)
        self.dense6_1, self.dense6_2 = nn.Linear(256, 2), nn.Linear(256, 4)
        self.dense6_3 = nn.Linear(256, 10) if architecture.landmarks else None

    def forward(self, x: Tensor) -> Outputs:
        """Normalised crops (N, 3, 48, 48) → outputs (N, ...)."""
        x = _activate_and_pool(self.conv1(x), self.prelu1, 3, self.monotone)
        x = _activate_and_pool(self.conv2(x), self.prelu2, 3, self.monotone)
        x = _activate_and_pool(self.conv3(x), self.prelu3, 2, self.monotone)
        x = self.prelu4(self.conv4(x))
        x = self.prelu5(self.dense5(x.flatten(1)))
        return Outputs(self.dense6_1(x), self.dense6_2(x), self.dense6_3(x) if self.dense6_3 else None)


NETS: dict[str, type[Net]] = {"pnet": PNet, "rnet": RNet, "onet": ONet}


def build(architecture: Architecture) -> Net:
    """A net with torch's own initial weights, convolutions laid out for channels-last input."""
    return NETS[architecture.stage](architecture).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


_DARKEST = torch.tensor(-127.5 / 128)


def normalise(pixels: Tensor) -> Tensor:
    """uint8 RGB (N, H, W, 3) → float32 (N, 3, H, W) in -1..1, channels last in memory: (x - 127.5) / 128."""
    x = pixels.permute(0, 3, 1, 2).to(torch.float32)
    # In one pass: the floats are four times the bytes, and memory is what this waits for. Exact either way.
    return torch.add(_DARKEST, x, alpha=1 / 128, out=x)


@dataclass(frozen=True)
class Weights:
    """A trained net and what is known of it."""

    net: Net
    threshold: float = 0.5
    """Score above which mining passes a crop on to the next stage, chosen by recall on held-out images."""
    digest: str = ""
    """Digest of the data and configuration that made it."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Held-out metrics of the epoch that was kept."""
    about: dict[str, Any] = field(default_factory=dict)
    """Anything else worth keeping: configuration, versions, where it came from."""
    resampling: Resampling = "octaves"
    """How the detector is to make its pixels, unless told otherwise."""


def save(weights: Weights) -> bytes:
    """The weights file: state dict and everything needed to use it, as `torch.save` writes it."""
    state = {name: value.detach().cpu().contiguous() for name, value in weights.net.state_dict().items()}
    content = {
        "format": FORMAT,
        "architecture": asdict(weights.net.architecture),
        "input": {
            "channels": "RGB",
            "mean": 127.5,
            "scale": 128.0,
            "size": weights.net.size,
            "resampling": weights.resampling,
        },
        "state_dict": state,
        "threshold": weights.threshold,
        "digest": weights.digest,
        "metrics": weights.metrics,
        "about": weights.about,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read_tensors(data: bytes, where: str) -> Any:
    """What `torch.save` wrote, tensors and plain values only; WeightsError names `where` for anything else."""
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    # torch's restricted unpickler has no error of its own: damaged bytes end in whatever they happen to trip over.
    except Exception as error:
        cause = str(error).strip().splitlines()[0][:120] if str(error) else type(error).__name__
        raise WeightsError(f"{where}: damaged, or holds code instead of weights ({cause})") from error


def load(data: bytes, stage: str, where: str) -> Weights:
    """The net of `stage` from a weights file, ready to run. `where` names the file in errors.

    Raises WeightsError for a file that is damaged, holds code, is of another stage or of another format.
    """
    content = read_tensors(data, where)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise WeightsError(
            f"{where}: not a weights file of mtcnn-ray; jobs/convert.py reads those of other projects"
        )
    try:
        architecture = Architecture(**content["architecture"])
        if architecture.stage != stage:
            raise WeightsError(f"{where}: holds {architecture.stage}, where {stage} is needed")
        net = build(architecture)
        net.load_state_dict(content["state_dict"])
        # Files from before there was a choice do not say.
        resampling = content["input"].get("resampling", "octaves")
        about = content["about"]
        weights = Weights(net, content["threshold"], content["digest"], content["metrics"], about, resampling)
    except (KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(f"{where}: damaged ({str(error).splitlines()[0][:120]})") from error
    net.check_slopes()
    net.eval()
    return weights
