"""Find faces in images and videos: boxes, scores and five points.

python jobs/detect.py photo.jpg holiday/ --draw pictures --json faces.jsonl
python jobs/detect.py film.mp4 --draw pictures            # pictures/film.mp4
curl -s URL | python jobs/detect.py - --draw pictures     # pictures/stdin.jpg
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import TypeVar

import _common
import cv2
import numpy as np

from mtcnn.ahead import ahead
from mtcnn.boxes import FloatArray
from mtcnn.detector import Detector, Faces
from mtcnn.drawing import draw
from mtcnn.errors import ImageError, UserError
from mtcnn.image import Pixels, decode, encode_jpeg
from mtcnn.nets import THRESHOLDS
from mtcnn.progress import Progress, progress
from mtcnn.video import ENDINGS as VIDEOS
from mtcnn.video import Video, VideoFile

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
STDIN = Path("-")
BATCH = 16
"""Images looked at together, which GPUs and many cores like; as many are read ahead."""
READERS = 2
COMPLETE = 0.95
"""Of the frames that a video announces, which some containers only estimate."""

T = TypeVar("T")
Row = dict[str, object]
Say = Callable[[Row], None]


def main() -> None:
    """Detect in every file given; those that cannot be read are named, and the exit code is 2."""
    options = _arguments()
    paths = _files(options.paths)
    detector = Detector.load(
        options.weights, options.device, options.min_face, options.factor, options.thresholds
    )
    cv2.setNumThreads(1)
    failed: list[str] = []
    drawn = _Drawn(options.draw, {path.resolve() for path in paths})
    total = sum(map(_count, paths))
    target = options.json or ("-" if options.draw is None else "")
    with _rows(target) as say, progress(total, "detect", "images") as bar:
        for videos, some in groupby(paths, _is_video):
            if not videos:
                failed += _detect_images(detector, some, drawn, say, bar)
                continue
            for path in some:
                try:
                    _detect_video(detector, path, drawn, say, bar)
                except (OSError, ImageError) as error:
                    failed.append(_failure(path, error))
    if failed:
        raise UserError("; ".join(failed))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH",
        help="image, video, folder of images, or - for an image on standard input",
    )  # fmt: skip
    parser.add_argument("--weights", metavar="URL", help="folder or URL (default: the released weights)")
    parser.add_argument("--min-face", type=float, default=20, help="smallest face in pixels (default: 20)")
    parser.add_argument("--factor", type=float, default=0.709, help="step of the pyramid (default: 0.709)")
    parser.add_argument("--thresholds", type=float, nargs=3, default=THRESHOLDS, metavar="T",
                        help="score to pass each net (default: .6 .7 .7)")  # fmt: skip
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--draw", type=Path, metavar="DIR", help="write pictures with boxes and points there")
    parser.add_argument(
        "--json", metavar="FILE",
        help="one JSON object a line and image or frame of a video (default: standard output, without --draw)",
    )  # fmt: skip
    return parser.parse_intermixed_args()


def _files(paths: list[Path]) -> list[Path]:
    """The files given, and the images of the folders given: sorted, recursive."""
    found = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGES)
            if not inside:
                raise UserError(f"{path}: no images ({' '.join(IMAGES)}) in this folder")
            found.extend(inside)
        elif path == STDIN or path.exists():
            found.append(path)
        else:
            raise UserError(f"{path}: no such file or folder")
    return found


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEOS


def _count(path: Path) -> int:
    """Images in a file as far as they are known before."""
    try:
        return Video(path).announced if _is_video(path) else 1
    except ImageError:
        return 1


def _detect_images(
    detector: Detector, paths: Iterable[Path], drawn: "_Drawn", say: Say, bar: Progress
) -> list[str]:
    """Faces of images; returns what failed, by image."""
    failed = []

    def readable() -> Iterator[tuple[Path, Pixels]]:
        with ThreadPoolExecutor(READERS) as pool:
            for path, rgb in ahead(pool, _read, paths, BATCH):
                bar.update()
                if isinstance(rgb, Exception):
                    failed.append(_failure(path, rgb))
                else:
                    yield path, rgb

    for path, rgb, faces in _seen(detector, readable()):
        say({"image": str(path), **_row(rgb.shape[1], rgb.shape[0], faces)})
        if drawn.folder:
            try:
                _write(drawn.file(path, ".jpg"), encode_jpeg(draw(rgb, *faces)))
            except ImageError as error:
                failed.append(_failure(path, error))
    return failed


def _read(path: Path) -> tuple[Path, Pixels | Exception]:
    try:
        return path, decode(sys.stdin.buffer.read() if path == STDIN else path.read_bytes())
    except (OSError, ImageError) as error:
        return path, error


def _failure(path: Path, error: Exception) -> str:
    return f"{path}: {error.strerror if isinstance(error, OSError) else error}"


def _seen(detector: Detector, images: Iterable[tuple[T, Pixels]]) -> Iterator[tuple[T, Pixels, Faces]]:
    """Images, each with what it is of and its faces, in their order; they are looked at in batches."""
    images = iter(images)
    while batch := list(islice(images, BATCH)):
        for (of, rgb), faces in zip(batch, detector.detect_batch([rgb for _, rgb in batch]), strict=True):
            yield of, rgb, faces


def _detect_video(detector: Detector, path: Path, drawn: "_Drawn", say: Say, bar: Progress) -> None:
    video = Video(path)
    count = 0
    with VideoFile(drawn.file(path, ".mp4"), video.rate) if drawn.folder else nullcontext() as copy:
        for frame, rgb, faces in _seen(detector, enumerate(video.frames())):
            if copy:
                copy.add(draw(rgb, *faces))
            when = {"frame": frame, "seconds": round(frame / video.rate, 3)}
            say({"image": str(path), **when, **_row(rgb.shape[1], rgb.shape[0], faces)})
            count += 1
            bar.update()
    if count < COMPLETE * video.announced or not count:
        raise ImageError(f"damaged: only {count} of {video.announced} frames could be read")


class _Drawn:
    """Names for the pictures in a folder; files of the same name in several folders get numbers."""

    def __init__(self, folder: Path | None, inputs: set[Path]) -> None:
        self.folder, self.inputs = folder, inputs
        self._taken: set[str] = set()

    def file(self, path: Path, suffix: str) -> Path:
        """Where the picture of `path` goes; the folder is made."""
        stem = "stdin" if path == STDIN else path.stem
        number = 1
        while (name := f"{stem}-{number}{suffix}" if number > 1 else f"{stem}{suffix}") in self._taken:
            number += 1
        self._taken.add(name)
        folder = self.folder or Path()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        if (folder / name).resolve() in self.inputs:
            raise UserError(f"{folder / name}: --draw {folder} would write over it; name another folder")
        return folder / name


@contextmanager
def _rows(target: str) -> Iterator[Say]:
    """Where rows go as lines of JSON: a file, `-` for standard output, or nowhere."""
    if not target:
        yield lambda row: None
    elif target == "-":
        # On a terminal lines would run into the progress bar: they come after it.
        lines: list[str] = []
        put: Callable[[str], object] = lines.append if sys.stdout.isatty() else sys.stdout.write
        yield partial(_say, put)
        sys.stdout.writelines(lines)
    else:
        with _writing(Path(target)):
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).touch()
        with Path(target).open("w", encoding="utf-8") as file:
            yield partial(_say, file.write)


def _say(put: Callable[[str], object], row: Row) -> None:
    put(json.dumps(row) + "\n")


def _row(width: int, height: int, faces: Faces) -> Row:
    return {
        "width": width,
        "height": height,
        "faces": [
            {
                "box": _rounded(box),
                "score": round(float(score), 4),
                # Nets without a head for points leave them unknown.
                "landmarks": [_rounded(p) for p in points] if np.isfinite(points).all() else None,
            }
            for box, score, points in zip(*faces, strict=True)
        ],
    }


def _rounded(values: FloatArray) -> list[float]:
    return [round(float(value), 2) for value in values]


def _write(path: Path, data: bytes) -> None:
    with _writing(path):
        path.write_bytes(data)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """The user's mistake where a file or folder cannot be written."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    # `detect.py … | head` ends without a word, as other filters do.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    _common.run(main)
