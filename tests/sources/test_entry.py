"""Paths in annotations stay inside the images folder, whatever system they were written on."""

import pytest

from mtcnn.sources.entry import safe_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a.jpg", "a.jpg"),
        ("./0--Parade//a b.jpg", "0--Parade/a b.jpg"),
        ("x/..a/b...jpg", "x/..a/b...jpg"),
        ("Bildschirmfoto\u202fÜ.png", "Bildschirmfoto\u202fÜ.png"),
    ],
)
def test_relative_paths_are_kept(text: str, path: str) -> None:
    assert safe_path(text) == path


@pytest.mark.parametrize(
    "text",
    [
        "/a.jpg",
        "..",
        "../a.jpg",
        "x/../../a.jpg",
        "x\\..\\a.jpg",
        "\\\\host\\a.jpg",
        "\\a.jpg",
        "c:a.jpg",
        "C:\\a.jpg",
    ],
)
def test_paths_that_leave_the_folder_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="leaves the images folder"):
        safe_path(text)


@pytest.mark.parametrize("text", ["", ".", "./", "a\x00.jpg", "a\n.jpg", "a\udc80.jpg"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not the path of an image"):
        safe_path(text)
