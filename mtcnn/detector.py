"""The cascade, or its first one or two nets: what users call, and what mining calls for proposals.

    detector = Detector.load()
    boxes, scores, landmarks = detector.detect(rgb)

Follows Zhang et al. 2016: P-Net over a pyramid, R-Net and O-Net over squares. Of overlapping boxes the best stays, by
what the net and those before it say together. Needs no Ray.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from mtcnn import align, reference
from mtcnn import boxes as bx
from mtcnn.canvas import scales
from mtcnn.device import DeviceCascade
from mtcnn.engine import EngineName, chosen
from mtcnn.engine import engine as make_engine
from mtcnn.errors import UserError
from mtcnn.faces import Faces as Faces
from mtcnn.host import HostCascade
from mtcnn.image import Octaves, Pixels, check
from mtcnn.nets import STAGES, THRESHOLDS, Net, Resampling, Weights, load
from mtcnn.store import open_store


class Detector:
    """One to three nets run as a cascade on one device."""

    def __init__(
        self,
        nets: Sequence[Net],
        device: str = "cpu",
        min_face: float = 20,
        factor: float = 0.709,
        thresholds: Sequence[float] = THRESHOLDS,
        max_proposals: int = 3000,
        resampling: Resampling = "octaves",
        engine: EngineName = "torch",
        made_for: Resampling = "octaves",
    ) -> None:
        """Nets in the order of the stages; `min_face` is the smallest side looked for, in pixels.

        At most `max_proposals`, the best, go on to the next stage. `resampling` is how pyramid and crops are made:
        from octaves, or with area averages (and all else) as facenet-pytorch does it, for weights from there.
        `engine` runs the nets: "torch", "openvino" (with torch's number of threads as it is now), or "auto".
        `made_for` is the resampling that the nets learned with. Those of facenet-pytorch, made for "area", count pixels
        from 1 and see what the border leaves of a crop stretched; on a CPU they get that from octaves, too. Their
        scores are the last net's alone, those of others also say what the nets before thought (`faces.joined`).
        """
        if not 0.1 < factor < 1 or min_face <= 0:
            raise UserError(f"factor {factor} must lie between 0.1 and 1, min_face {min_face} above 0")
        if len(thresholds) < len(nets) or not all(0 <= threshold <= 1 for threshold in thresholds):
            given = " ".join(map(str, thresholds))
            raise UserError(f"thresholds {given}: one for each of {len(nets)} nets is needed, from 0 to 1")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise UserError(
                f"device '{device}' was asked for; this machine has no usable CUDA GPU: use device 'cpu'"
            )
        try:
            self.device = torch.device(device)
        except RuntimeError as error:
            raise UserError(f"device '{device}' is not one of cpu, cuda, cuda:0, cuda:1 …") from error
        self.nets = [net.to(self.device, memory_format=torch.channels_last).eval() for net in nets]  # type: ignore[call-overload]
        self.min_face, self.factor = min_face, factor
        self.thresholds = tuple(thresholds)
        self.max_proposals = max_proposals
        self.resampling = resampling
        self._theirs = made_for == "area"
        # The exact cascade goes by PyTorch, whose sums are those of facenet-pytorch.
        self.engine = "torch" if resampling == "area" else chosen(engine, self.device)
        self._on_device: DeviceCascade | None = None
        if self.device.type == "cpu":
            engines = [make_engine(self.engine, net) for net in self.nets]
            self._on_host = HostCascade(
                self.nets, engines, min_face, factor, self.thresholds, max_proposals, self._theirs
            )
        elif resampling == "octaves":
            self._on_device = DeviceCascade(
                self.nets, self.device, min_face, factor, self.thresholds, max_proposals, not self._theirs
            )
        self.timings: dict[str, float] = {}
        """Milliseconds of each stage of the last image."""

    @classmethod
    def load(
        cls,
        weights: str | Path | None = None,
        device: str = "cpu",
        min_face: float = 20,
        factor: float = 0.709,
        thresholds: Sequence[float] = THRESHOLDS,
        resampling: Resampling | None = None,
        engine: EngineName = "auto",
    ) -> "Detector":
        """The detector with the weights in a folder or URL; without one, the released weights.

        Without `resampling`, the one that the weights were made for. See `__init__` for the rest.
        """
        found = load_weights(str(weights or released_weights()))
        nets = [w.net for w in found]
        made_for = found[-1].resampling
        return cls(
            nets, device, min_face, factor, thresholds,
            resampling=resampling or made_for, engine=engine, made_for=made_for,
        )  # fmt: skip

    def detect(self, rgb: Pixels) -> Faces:
        """Faces of one image, uint8 (H, W, 3) RGB of any size."""
        *_, faces = self._stages(Octaves(rgb))
        return faces

    def detect_batch(self, images: Sequence[Pixels]) -> list[Faces]:
        """Faces of each image; the sizes may differ.

        On a GPU groups of images are looked at together. On a CPU they take turns: as many at once as there are cores
        was tried, and gained nothing with two, for half of the work holds Python's lock.
        """
        for rgb in images:
            check(rgb)
        if self._on_device is not None:
            return self._on_device.detect(images)
        return [self.detect(rgb) for rgb in images]

    def crop_faces(self, rgb: Pixels, faces: Faces, size: int = align.SIDE) -> Pixels:
        """Faces of `detect` as recognition models take them: (N, size, size, 3), points on ArcFace's template."""
        return align.crop_aligned(rgb, faces.landmarks, size)

    def trace(self, rgb: Pixels) -> dict[str, Faces]:
        """What is left after each stage, by the stage's name; the last is what `detect` returns."""
        return dict(zip(STAGES, self._stages(Octaves(rgb)), strict=False))

    def propose(self, octaves: Octaves) -> Faces:
        """The crops that the next stage would look at: squares and their scores."""
        *_, last = self._stages(octaves)
        return last._replace(boxes=bx.square(last.boxes))

    @torch.inference_mode()
    def _stages(self, octaves: Octaves) -> Iterator[Faces]:
        self.timings = {}
        if self.resampling == "area":
            results = self._exact(octaves)
        elif self._on_device:
            results = self._on_device.stages(octaves.levels[0])
        else:
            results = self._on_host.stages(octaves)
        for net in self.nets:
            with self._timed(net.architecture.stage):
                faces = next(results)
            yield faces

    def _exact(self, octaves: Octaves) -> Iterator[Faces]:
        rgb = torch.from_numpy(octaves.levels[0]).to(self.device)
        levels = scales(min(octaves.height, octaves.width), self.min_face, self.factor)
        yield from reference.stages(self.nets, rgb, levels, self.thresholds, self.max_proposals)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = (time.perf_counter() - start) * 1e3


def released_weights() -> Path:
    """The folder of the released weights: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent
    inside = package / "model_store"
    return inside if inside.is_dir() else package.parent / "model_store"


def load_weights(url: str, stages: Sequence[str] = STAGES) -> list[Weights]:
    """The weights of `stages` from a folder or URL, in the order given."""
    store = open_store(url)
    return [load(store.get(f"{stage}.pt"), stage, f"{store.url}/{stage}.pt") for stage in stages]
