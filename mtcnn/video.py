"""Video files as frames, and frames as a video file; with OpenCV's own FFmpeg, nothing else to install.

Sound is not carried over.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import cv2

from mtcnn.errors import ImageError
from mtcnn.image import Pixels

ENDINGS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm")
CODEC = "mp4v"
USUAL_RATE = 25.0


class Video:
    """A video file that is read once; raises ImageError for what is none."""

    def __init__(self, path: Path) -> None:
        # What OpenCV and FFmpeg print of a damaged file is an error here, said once.
        os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        if not self._capture.isOpened():
            raise ImageError("not a video file, or a damaged one")
        self.rate = rate if 0 < rate < 1000 else USUAL_RATE
        """Frames a second."""
        self.announced = max(int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
        """Frames that there should be; 0: unknown, and an estimate in some containers."""

    def frames(self) -> Iterator[Pixels]:
        """Every frame (H, W, 3), upright."""
        while True:
            there, bgr = self._capture.read()
            if not there:
                break
            yield cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)  # type: ignore[misc]
        self._capture.release()


class VideoFile:
    """An MP4 that is written frame by frame; it takes its size from the first."""

    def __init__(self, path: Path, rate: float) -> None:
        """Frames go to `path`, shown at `rate` a second."""
        self.path, self.rate = path, rate
        self._writer: cv2.VideoWriter | None = None

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.release()

    def add(self, rgb: Pixels) -> None:
        """One more frame (H, W, 3). Raises ImageError where the file cannot be written."""
        # The codec halves the colours' resolution: it takes even sides only.
        even = rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2]
        if self._writer is None:
            size = even.shape[1], even.shape[0]
            code = cv2.VideoWriter.fourcc(*CODEC)
            self._writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, code, self.rate, size)
            if not self._writer.isOpened():
                raise ImageError(
                    f"{self.path}: a video of {size[0]}x{size[1]} pixels cannot be written there"
                )
        self._writer.write(cv2.cvtColor(even, cv2.COLOR_RGB2BGR))
