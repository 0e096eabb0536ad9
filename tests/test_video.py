"""Videos: what was written is read back frame by frame, and what is no video says so."""

from pathlib import Path

import numpy as np
import pytest

from mtcnn.errors import ImageError
from mtcnn.video import Video, VideoFile


def write(path: Path, frames: int, shape: tuple[int, int]) -> None:
    with VideoFile(path, 12) as video:
        for number in range(frames):
            video.add(np.full((*shape, 3), (20 * number, 60, 200 - 20 * number), np.uint8))


@pytest.mark.parametrize("shape", [(96, 128), (97, 131)])
def test_frames_come_back_in_order_with_their_colours(tmp_path: Path, shape: tuple[int, int]) -> None:
    write(tmp_path / "a.mp4", 8, shape)
    video = Video(tmp_path / "a.mp4")
    assert (video.rate, video.announced) == (12, 8)
    frames = list(video.frames())
    assert len(frames) == 8
    for number, frame in enumerate(frames):
        assert frame.shape == (shape[0] // 2 * 2, shape[1] // 2 * 2, 3)
        assert frame.mean(axis=(0, 1)) == pytest.approx((20 * number, 60, 200 - 20 * number), abs=8)


@pytest.mark.parametrize("data", [b"", b"not a video", None])
def test_what_is_no_video_is_refused(tmp_path: Path, data: bytes | None) -> None:
    if data is not None:
        (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(ImageError, match="not a video"):
        Video(tmp_path / "a.mp4")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="nowhere"):
        write(tmp_path / "nowhere" / "a.mp4", 1, (16, 16))
