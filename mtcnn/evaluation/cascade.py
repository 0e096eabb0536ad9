"""The cascade as a filter: proposals left, faces still covered and time spent after each stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from mtcnn.boxes import FloatArray, area, iou
from mtcnn.image import Pixels

SIZE_EDGES = (12.0, 20.0, 40.0, 80.0, 160.0)
SIZE_NAMES = ("<12", "12-20", "20-40", "40-80", "80-160", ">=160")
COVERED_FROM = 0.5


class FacesLike(Protocol):
    """What a detector returns for one image: boxes (N, 4), scores (N,), landmarks (N, 5, 2), all float32."""

    @property
    def boxes(self) -> FloatArray: ...
    @property
    def scores(self) -> FloatArray: ...
    @property
    def landmarks(self) -> FloatArray: ...


class Tracer(Protocol):
    """What evaluation needs of a detector; `mtcnn.Detector` is one."""

    def trace(self, rgb: Pixels) -> Mapping[str, FacesLike]:
        """Boxes left after each stage, by the stage's name, in the order they run; the last is the result."""
        ...

    def detect_batch(self, images: list[Pixels]) -> Sequence[FacesLike]:
        """The faces of each image."""
        ...

    @property
    def timings(self) -> Mapping[str, float]:
        """Milliseconds by stage of the last trace."""
        ...


@dataclass(frozen=True)
class StageRow:
    """One stage: boxes left and milliseconds spent an image, and the share of faces still covered."""

    stage: str
    proposals: float
    recall: float
    recall_by_size: tuple[float, ...]
    """In the order of SIZE_NAMES; NaN where the source has no face of that size."""
    milliseconds: float


@dataclass(frozen=True)
class CascadeTable:
    """All stages of one evaluation; faces are those not ignored, sized by the square root of their area."""

    images: int
    faces_by_size: tuple[int, ...]
    stages: tuple[StageRow, ...]

    @property
    def faces(self) -> int:
        """Faces of all sizes."""
        return sum(self.faces_by_size)

    def lines(self) -> list[str]:
        """The table as aligned lines for a log or a terminal."""
        head = f"{'stage':<8}{'boxes/image':>12}{'recall':>8}{'ms':>8}" + "".join(
            f"{name:>8}" for name in SIZE_NAMES
        )
        rows = [
            f"{row.stage:<8}{row.proposals:>12.1f}{row.recall:>8.3f}{row.milliseconds:>8.1f}"
            + "".join(
                f"{'-' if np.isnan(value) else format(value, '.3f'):>8}" for value in row.recall_by_size
            )
            for row in self.stages
        ]
        faces = f"{'faces':<8}{'':>12}{self.faces:>8}{'':>8}" + "".join(
            f"{count:>8}" for count in self.faces_by_size
        )
        return [head, *rows, faces]


def size_bins(boxes: FloatArray) -> npt.NDArray[np.int64]:
    """Index into SIZE_NAMES (N,) of boxes (N, 4), by the square root of their area in pixels."""
    return np.digitize(np.sqrt(area(boxes)), SIZE_EDGES).astype(np.int64)


def covered(boxes: FloatArray, faces: FloatArray) -> npt.NDArray[np.bool_]:
    """Which faces (F,) have a box with IoU >= 0.5; memory is bounded: 4,096 boxes are compared at a time."""
    seen = np.zeros(len(faces), bool)
    for start in range(0, len(boxes), 4096):
        seen |= (iou(boxes[start : start + 4096], faces) >= COVERED_FROM).any(axis=0)
    return seen


class CascadeMeter:
    """Adds up traces image by image; a face is covered by a box with an IoU of at least 0.5."""

    def __init__(self) -> None:
        self._images = 0
        self._faces = np.zeros(len(SIZE_NAMES), np.int64)
        self._proposals: dict[str, int] = {}
        self._covered: dict[str, npt.NDArray[np.int64]] = {}
        self._milliseconds: dict[str, list[float]] = {}

    def add(
        self, stages: Mapping[str, FacesLike], timings: Mapping[str, float],
        truth: FloatArray, ignore: npt.NDArray[np.bool_],
    ) -> None:  # fmt: skip
        """Count one image: its trace, milliseconds by stage, labelled boxes (F, 4) and which are ignored."""
        faces = truth[~ignore]
        bins = size_bins(faces)
        self._images += 1
        self._faces += np.bincount(bins, minlength=len(SIZE_NAMES))
        for stage, left in stages.items():
            found = np.bincount(bins[covered(left.boxes, faces)], minlength=len(SIZE_NAMES))
            self._proposals[stage] = self._proposals.get(stage, 0) + len(left.boxes)
            self._covered[stage] = self._covered.get(stage, np.zeros(len(SIZE_NAMES), np.int64)) + found
            self._milliseconds.setdefault(stage, []).append(float(timings.get(stage, float("nan"))))

    def table(self) -> CascadeTable:
        """The rows so far; of several images the first one's times are left out: they include warming up."""
        rows = []
        for stage, found in self._covered.items():
            by_size = np.divide(found, self._faces, out=np.full(len(found), np.nan), where=self._faces > 0)
            recall = float(found.sum() / self._faces.sum()) if self._faces.sum() else float("nan")
            times = self._milliseconds[stage]
            spent = float(np.mean(times[1:] or times))
            proposals = self._proposals[stage] / self._images
            rows.append(StageRow(stage, proposals, recall, tuple(by_size.tolist()), spent))
        return CascadeTable(self._images, tuple(self._faces.tolist()), tuple(rows))
