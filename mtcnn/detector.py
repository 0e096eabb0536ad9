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

import numpy as np
import torch
from torch import Tensor

from mtcnn import align, reference
from mtcnn import boxes as bx
from mtcnn.boxes import FloatArray
from mtcnn.canvas import CELL, STRIDE, Level, draw, scales
from mtcnn.device import DeviceCascade
from mtcnn.engine import Engine, EngineName, chosen
from mtcnn.engine import engine as make_engine
from mtcnn.errors import UserError
from mtcnn.faces import Faces as Faces
from mtcnn.faces import joined, moved, no_faces, without_landmarks
from mtcnn.image import Octaves, Pixels, Windows, check
from mtcnn.nets import STAGES, THRESHOLDS, Net, Resampling, Weights, load
from mtcnn.peaks import peaks
from mtcnn.store import open_store

CHUNK = 512
"""Crops a net looks at together: bounds the memory whatever the number of proposals."""
LEVELS_APART = 0.76
"""Up to this factor no two boxes of different levels overlap by STAGE_IOU, levels being rounded by 4 % at most."""
BAND = 4_000_000
"""Pixels of a canvas that P-Net looks at together, for the same reason."""


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
        self._floors = torch.logit(torch.tensor(self.thresholds, dtype=torch.float64)).tolist()
        self.max_proposals = max_proposals
        self.resampling = resampling
        self._theirs = made_for == "area"
        # The exact cascade goes by PyTorch, whose sums are those of facenet-pytorch.
        self.engine = "torch" if resampling == "area" else chosen(engine, self.device)
        self._on_device: DeviceCascade | None = None
        self._engines: list[Engine] = []
        if self.device.type == "cpu":
            self._engines = [make_engine(self.engine, net) for net in self.nets]
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
        """Faces of each image; the sizes may differ. On a GPU groups of images are looked at together."""
        if self._on_device is None:
            return [self.detect(rgb) for rgb in images]
        for rgb in images:
            check(rgb)
        return self._on_device.detect(images)

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
            results = self._fast(octaves)
        for net in self.nets:
            with self._timed(net.architecture.stage):
                faces = next(results)
            yield faces

    def _exact(self, octaves: Octaves) -> Iterator[Faces]:
        rgb = torch.from_numpy(octaves.levels[0]).to(self.device)
        yield from reference.stages(
            self.nets, rgb, self._scales(octaves), self.thresholds, self.max_proposals
        )

    def _fast(self, octaves: Octaves) -> Iterator[Faces]:
        found = self._scan(octaves)
        yield self._reported(found)
        for index in range(1, len(self.nets)):
            found = self._refine(index, octaves, found)
            yield self._reported(found)

    def _reported(self, found: Faces) -> Faces:
        """Of what a stage hands on, with margins for scores, what is told to the outside."""
        faces = found._replace(scores=torch.sigmoid(torch.from_numpy(found.scores)).numpy())
        return moved(faces, 1) if self._theirs else faces

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.timings[stage] = (time.perf_counter() - start) * 1e3

    def _scales(self, octaves: Octaves) -> Iterator[float]:
        return scales(min(octaves.height, octaves.width), self.min_face, self.factor)

    def _scan(self, octaves: Octaves) -> Faces:
        """P-Net over the pyramid, in bands where the canvas is very large."""
        pixels, levels = draw(octaves, self._scales(octaves))
        height, width = pixels.shape[:2]
        rows = max(BAND // width // STRIDE, 1) * STRIDE
        seen = [
            self._engines[0](pixels[None, top : top + rows + CELL - STRIDE])
            for top in range(0, height - CELL + STRIDE, rows)
        ]
        margins = torch.cat([s.margins[0] for s in seen]).numpy()
        return self._cells(levels, margins, torch.cat([s.offsets[0] for s in seen], dim=1))

    def _cells(self, levels: Sequence[Level], margins: FloatArray, offsets: Tensor) -> Faces:
        """Proposals of one image from the margins (rows, columns) and offsets (4, rows, columns) of its canvas."""
        if not levels:
            return no_faces()
        # Windows that lie on no level or on two are left out; they also keep the levels' cells apart.
        valid = np.full(margins.shape, -np.inf, np.float32)
        level_of = np.zeros(margins.shape, np.uint16)
        for number, level in enumerate(levels):
            valid[level.cells] = margins[level.cells]
            level_of[level.cells] = number
        rows, columns = peaks(valid, self.thresholds[0])
        seen_on = level_of[rows, columns]
        first = np.array([(level.x, level.y) for level in levels])[seen_on]
        steps = np.array([level.steps for level in levels], np.float32)[seen_on]
        corner = np.stack([columns, rows], axis=1) * STRIDE - first
        cells = np.concatenate([corner * steps, (corner + CELL) * steps], axis=1).astype(np.float32)
        margin = valid[rows, columns]
        keep = np.argsort(-margin, kind="stable")[: self.max_proposals]
        if self.factor > LEVELS_APART:
            keep = keep[bx.nms(cells[keep], margin[keep], bx.STAGE_IOU)]
        shifts = offsets[:, torch.from_numpy(rows[keep]), torch.from_numpy(columns[keep])].T.numpy()
        return without_landmarks(bx.decode(cells[keep], shifts), margin[keep])

    def _refine(self, index: int, octaves: Octaves, before: Faces) -> Faces:
        """R-Net or O-Net over the squares of the stage before."""
        squares = bx.square(before.boxes)
        reachable = _reachable(squares, octaves)
        if not reachable.any():
            return no_faces()
        windows = octaves.snap(squares[reachable], self.nets[index].size)
        margins, offsets, points = self._look(index, octaves, windows)
        if not self._theirs:
            margins = joined(margins, before.scores[reachable])
        over = np.flatnonzero(margins > self._floors[index])
        squares, margins, offsets, points = (
            array[over] for array in (windows.squares, margins, offsets, points)
        )
        found = bx.decode(squares, offsets)
        # By margin: scores of sure faces are all 1.0 in float32, and the best box of a face would be any of them.
        if self.nets[index].architecture.stage == "onet":
            keep = bx.nms(found, margins, bx.FINAL_IOU)
        else:
            keep = bx.nms(squares, margins, bx.STAGE_IOU)
        return Faces(found[keep], margins[keep], bx.decode_points(squares[keep], points[keep]))

    def _look(self, index: int, octaves: Octaves, windows: Windows) -> tuple[FloatArray, ...]:
        """Margins (N,), offsets (N, 4) and points (N, 10) of a net for N windows, a chunk of crops at a time."""
        size, count, seen = self.nets[index].size, len(windows.octave), []
        for start in range(0, count, CHUNK):
            crops = octaves.cut(windows[np.arange(start, min(start + CHUNK, count))], size, self._theirs)
            out = self._engines[index](crops)
            unknown = out.offsets.new_full((len(crops), 10), torch.nan)
            seen.append((out.margins, out.offsets, unknown if out.landmarks is None else out.landmarks))
        return tuple(torch.cat(part).numpy() for part in zip(*seen, strict=True))


def released_weights() -> Path:
    """The folder of the released weights: beside the package in a checkout, inside it when installed."""
    package = Path(__file__).resolve().parent
    inside = package / "model_store"
    return inside if inside.is_dir() else package.parent / "model_store"


def load_weights(url: str, stages: Sequence[str] = STAGES) -> list[Weights]:
    """The weights of `stages` from a folder or URL, in the order given."""
    store = open_store(url)
    return [load(store.get(f"{stage}.pt"), stage, f"{store.url}/{stage}.pt") for stage in stages]


def _reachable(squares: FloatArray, octaves: Octaves) -> np.ndarray:
    """Squares that touch the image and are not absurdly large: regression can throw a box anywhere."""
    frame = np.array([[0, 0, octaves.width, octaves.height]], np.float32)
    side = squares[:, 2] - squares[:, 0]
    touches = bx.intersection(squares, frame)[:, 0] > 0
    return touches & (side >= 1) & (side <= 4 * max(octaves.width, octaves.height))
