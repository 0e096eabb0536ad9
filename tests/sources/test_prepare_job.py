"""`jobs/prepare.py` as a user runs it: a table when it is done, one clear line and exit code 2 when it cannot."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "jobs" / "prepare.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name, side in (("a.jpg", 40), ("b.jpg", 200)):
        cv2.imwrite(str(tmp_path / name), np.full((side, side, 3), 99, np.uint8))
    (tmp_path / "boxes.csv").write_text(
        "name,x1,y1,x2,y2\na.jpg,1,1,9,9\na.jpg,1,1,31,31\nb.jpg,50,50,150,150\n"
    )
    return tmp_path


def test_it_says_what_there_is_and_what_was_skipped(photos: Path) -> None:
    with (photos / "boxes.csv").open("a") as file:
        file.write("gone.jpg,1,2,3,4\nb.jpg,1,2,3\n")
    out = photos / "out"
    done = run(
        "csv", "--images", photos, "limits.max_bad_fraction=0.5", "--annotations", photos / "boxes.csv",
        "--out", out, "--skip-bad",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    table = {" ".join(line[:24].split()[:-1]): line for line in done.stdout.splitlines()}
    assert table["images"].split()[1] == "1"
    assert table["faces"].split()[1] == "2"
    assert table["under 12 px"].split()[3] == "1"
    assert table["20-40 px"].split()[2] == "1"
    assert table["skipped"].split()[1] == "2"
    assert "1  no such file" in done.stdout
    assert "4 cells under 5 columns; b.jpg left out" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["00000.tar", "index.json"]


def test_annotations_for_other_images_are_suspected(photos: Path) -> None:
    (photos / "boxes.csv").write_text("name,x1,y1,x2,y2\na.jpg,210,120,310,220\nb.jpg,50,50,150,150\n")
    done = run("csv", "--images", photos, "--annotations", photos / "boxes.csv", "--out", photos / "out")
    assert done.returncode == 0, done.stderr
    assert "1 of 2 boxes have no area or lie outside their image" in done.stderr


def test_a_mistake_is_one_line_and_exit_code_2(photos: Path) -> None:
    done = run("folder", "--images", photos, "limits.max_pixel=9")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: the command line: unknown key 'limits.max_pixel': did you mean 'limits.max_pixels'?"
    ]
    assert not done.stdout
