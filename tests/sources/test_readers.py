"""Each annotation format is read as its authors meant it, and a line that cannot be read is named."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

from mtcnn.errors import UserError
from mtcnn.sources import KINDS, READERS, read_entries
from mtcnn.sources.entry import BadLines, Entry


def read(
    kind: str, folder: Path, *texts: str | bytes, skip: bool = False
) -> tuple[dict[str, Entry], BadLines]:
    """Entries by path of annotation files with these contents."""
    files = [folder / f"file{number}.txt" for number in range(len(texts))]
    for path, text in zip(files, texts, strict=True):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    bad = BadLines(skip)
    return {entry.path: entry for entry in read_entries(kind, folder, files, bad)}, bad


WIDER = """0--Parade/a.jpg
3
10 20 30 40 1 0 0 0 2 1
5 6 0 7 0 0 0 0 0 0
50 60 7 8 2 0 1 1 0 0
0--Parade/empty.jpg
0
0 0 0 0 0 0 0 0 0 0
1--Handshaking/b c.jpg
1
-3 4 5 6 0 0 0 0 0 0
"""


def test_wider_text(tmp_path: Path) -> None:
    entries, _ = read("wider", tmp_path, WIDER.replace("\n", " \r\n"))
    assert list(entries) == ["0--Parade/a.jpg", "0--Parade/empty.jpg", "1--Handshaking/b c.jpg"]
    a = entries["0--Parade/a.jpg"]
    assert a.boxes.tolist() == [[10, 20, 40, 60], [5, 6, 5, 13], [50, 60, 57, 68]]
    assert a.ignore.tolist() == [False, False, True]
    assert a.attributes["blur"] == (1, 0, 2)
    assert a.attributes["occlusion"] == (2, 0, 0)
    assert a.attributes["invalid"] == (0, 0, 1)
    assert a.attributes["pose"] == (1, 0, 0)
    assert a.attributes["illumination"] == (0, 0, 1)
    assert len(entries["0--Parade/empty.jpg"].boxes) == 0
    assert entries["1--Handshaking/b c.jpg"].boxes.tolist() == [[-3, 4, 2, 10]]


def test_wider_mat_is_the_same_as_its_text(tmp_path: Path) -> None:
    def cell(items: list[object]) -> np.ndarray:
        column = np.empty((len(items), 1), object)
        column[:, 0] = items
        return column

    marks = {
        "blur": [[1], [0], [2]],
        "expression": [[0], [0], [0]],
        "illumination": [[0], [0], [1]],
        "invalid": [[0], [0], [1]],
        "occlusion": [[2], [0], [0]],
        "pose": [[1], [0], [0]],
    }
    boxes = np.array([[10, 20, 30, 40], [5, 6, 0, 7], [50, 60, 7, 8]], np.int32)
    lists = {f"{mark}_label_list": cell([cell([np.array(values)])]) for mark, values in marks.items()}
    lists |= {
        "event_list": cell(["0--Parade"]),
        "file_list": cell([cell(["a"])]),
        "face_bbx_list": cell([cell([boxes])]),
    }
    scipy.io.savemat(tmp_path / "wider_face_val.mat", lists)
    [entry] = read_entries("wider", tmp_path, [tmp_path / "wider_face_val.mat"], BadLines())
    expected = read("wider", tmp_path, WIDER)[0]["0--Parade/a.jpg"]
    assert entry.path == expected.path
    assert entry.attributes == expected.attributes
    np.testing.assert_array_equal(entry.boxes, expected.boxes)
    np.testing.assert_array_equal(entry.ignore, expected.ignore)


@pytest.mark.parametrize("content", [b"", b"no MATLAB file at all, but long enough to be a header" * 9])
def test_wider_mat_that_is_none_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.mat"):
        read_entries("wider", tmp_path, [tmp_path / "a.mat"], BadLines())


def test_wider_mat_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"face_bbx_list": np.arange(4000.0)}, do_compression=True)
    data = (tmp_path / "a.mat").read_bytes()
    for length in (0, 1, 127, 128, 135, 140, 200, len(data) // 2, len(data) - 1):
        (tmp_path / "a.mat").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"a\.mat"):
            read_entries("wider", tmp_path, [tmp_path / "a.mat"], BadLines())


def test_wider_mat_of_something_else_is_refused(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"x": 1})
    with pytest.raises(UserError, match="WIDER FACE ground truth"):
        read_entries("wider", tmp_path, [tmp_path / "a.mat"], BadLines())


def test_dface(tmp_path: Path) -> None:
    entries, _ = read("dface", tmp_path, "0--Parade/a.jpg 1 2 30 40 -1 5 8 9 \nb.jpg\n")
    assert entries["0--Parade/a.jpg"].boxes.tolist() == [[1, 2, 30, 40], [-1, 5, 8, 9]]
    assert len(entries["b.jpg"].boxes) == 0


CELEBA_BOXES = (
    "2\nimage_id x_1 y_1 width height\n000001.jpg    95  71 226 313\n000002.jpg    72  94 221 306\n"
)
CELEBA_POINTS = """2
lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y rightmouth_x rightmouth_y
000002.jpg 140 204 220 204 168 254 146 289 226 289
000001.jpg 165 184 244 176 196 249 194 271 266 260
"""


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_celeba_joins_its_two_files_by_name_in_either_order(order: tuple[int, int], tmp_path: Path) -> None:
    texts = CELEBA_BOXES, CELEBA_POINTS
    entries, _ = read("celeba", tmp_path, *(texts[i] for i in order))
    assert entries["000001.jpg"].boxes.tolist() == [[95, 71, 321, 384]]
    points = [[165, 184], [244, 176], [196, 249], [194, 271], [266, 260]]
    assert entries["000001.jpg"].landmarks.tolist() == [points]
    assert entries["000002.jpg"].landmarks[0, 0].tolist() == [140, 204]


def test_celeba_without_points(tmp_path: Path) -> None:
    entries, _ = read("celeba", tmp_path, CELEBA_BOXES)
    assert np.isnan(entries["000002.jpg"].landmarks).all()


def test_celeba_needs_the_boxes(tmp_path: Path) -> None:
    for texts in ((), (CELEBA_POINTS,), (CELEBA_BOXES, CELEBA_BOXES)):
        with pytest.raises(UserError, match="list_bbox_celeba.txt"):
            read("celeba", tmp_path, *texts)
    with pytest.raises(UserError, match="file0.txt: the header"):
        read("celeba", tmp_path, "something else\n")


def test_celeba_points_of_the_aligned_images_do_not_go_with_the_boxes(tmp_path: Path) -> None:
    boxes, points = tmp_path / "list_bbox_celeba.txt", tmp_path / "list_landmarks_align_celeba.txt"
    boxes.write_text(CELEBA_BOXES)
    points.write_text(CELEBA_POINTS)
    with pytest.raises(UserError, match="aligned"):
        read_entries("celeba", tmp_path, [boxes, points], BadLines())


def test_celeba_that_is_cut_off_or_misses_a_name_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="announces 2 images and has 1"):
        read("celeba", tmp_path, CELEBA_BOXES.rsplit("\n", 2)[0] + "\n")
    other = CELEBA_POINTS.replace("000001", "000009")
    with pytest.raises(UserError, match=r"file0\.txt:3: 000001\.jpg is not in .*file1\.txt"):
        read("celeba", tmp_path, CELEBA_BOXES, other)
    entries, bad = read("celeba", tmp_path, CELEBA_BOXES, other, skip=True)
    assert list(entries) == ["000002.jpg"]
    assert len(bad.skipped) == 2


def test_facepoint_has_x1_x2_y1_y2_and_back_slashes(tmp_path: Path) -> None:
    line = "lfw_5590\\A_B_0001.jpg 84 161 92 169 106.25 107.75 146.75 112.25 125.25 142.75 105.25 157.75 139.75 161.75"
    entries, _ = read("facepoint", tmp_path, line + "\r\n")
    entry = entries["lfw_5590/A_B_0001.jpg"]
    assert entry.boxes.tolist() == [[84, 92, 161, 169]]
    assert entry.landmarks[0, [0, 4]].tolist() == [[106.25, 107.75], [139.75, 161.75]]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("name,width,height,xmin,ymin,xmax,ymax", "a.jpg,100,50,1,2,11,22"),
        ("x1,y1,x2,y2,PATH", "1,2,11,22,a.jpg"),
        ("image, x, y, w, h", "a.jpg, 1, 2, 10, 20"),
        ("\ufefffilename,x,y,w,h,comment", 'a.jpg,1,2,10,20,"one, two"'),
        ("file,ignore,xmin,ymin,xmax,ymax", "./a.jpg,0,1,2,11,22"),
    ],
)
def test_csv_columns_are_found_by_their_names(header: str, row: str, tmp_path: Path) -> None:
    entries, _ = read("csv", tmp_path, f"{header}\n{row}\n")
    assert entries["a.jpg"].boxes.tolist() == [[1, 2, 11, 22]]
    assert entries["a.jpg"].ignore.tolist() == [False]
    assert entries["a.jpg"].size == ((100, 50) if "width" in header else None)
    assert np.isnan(entries["a.jpg"].landmarks).all()


def test_csv_rows_of_an_image_are_gathered_wherever_they_are(tmp_path: Path) -> None:
    text = "name,x1,y1,x2,y2,ignore\nb.jpg,1,2,3,4,1\na.jpg,,,,,\nb.jpg,5,6,7,8,\n\n"
    entries, _ = read("csv", tmp_path, text)
    assert list(entries) == ["b.jpg", "a.jpg"]
    assert entries["b.jpg"].boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert entries["b.jpg"].ignore.tolist() == [True, False]
    assert len(entries["a.jpg"].boxes) == 0


def test_wider_images_named_twice_keep_the_marks_that_all_their_faces_have(tmp_path: Path) -> None:
    text = "0--P/a.jpg\n1\n1 2 30 40 2 0 0 0 1 0\n0--P/a.jpg\n1\n50 60 20 20\n"
    entry = read("wider", tmp_path, text)[0]["0--P/a.jpg"]
    assert entry.boxes.tolist() == [[1, 2, 31, 42], [50, 60, 70, 80]]
    assert dict(entry.attributes) == {}


def test_csv_landmarks_may_be_unknown_for_some_faces(tmp_path: Path) -> None:
    names = "lex,ley,rex,rey,nx,ny,lmx,lmy,rmx,rmy"
    text = f"path,x1,y1,x2,y2,{names}\na.jpg,0,0,9,9,1,2,3,4,5,6,7,8,9,10\na.jpg,0,0,8,8{',' * 10}\n"
    entry = read("csv", tmp_path, text)[0]["a.jpg"]
    assert entry.landmarks[0].tolist() == [[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]]
    assert np.isnan(entry.landmarks[1]).all()


def test_csv_without_the_columns_is_refused(tmp_path: Path) -> None:
    for header in ("", "name,x1,y1", "x1,y1,x2,y2"):
        with pytest.raises(UserError, match=r"file0\.txt:1: the header"):
            read("csv", tmp_path, header)


def test_folder_finds_images_below_it_in_order(tmp_path: Path) -> None:
    for name in ("b.JPG", "a/z.png", "a/k/y.jpeg", "notes.txt", ".hidden.jpg", "a/.thumbs/x.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    entries = read_entries("folder", tmp_path, [], BadLines())
    assert [entry.path for entry in entries] == ["a/k/y.jpeg", "a/z.png", "b.JPG"]
    assert all(len(entry.boxes) == 0 for entry in entries)


BAD = [
    ("wider", "a.jpg\nmany\n", 2, "not a number of faces"),
    ("wider", "a.jpg\n1\n1 2 x 4 0 0 0 0 0 0\n", 3, "not a number: 'x'"),
    ("wider", "a.jpg\n1\n1 2 3\n", 3, "3 numbers"),
    ("wider", "a.jpg\n2\n1 2 3 4 0 0 0 0 0 0\n", 3, "1 faces follow where 2"),
    ("wider", "a.jpg\n", 1, "does not follow"),
    ("wider", "3\n", 1, "not the path of an image"),
    ("wider", "../a.jpg\n0\n", 1, "leaves the images folder"),
    ("dface", "b.jpg 1 2 3 4\na.jpg 1 2 3\n", 2, "not whole boxes"),
    ("dface", "a.jpg 1 2 3 nan\n", 1, "not finite"),
    ("dface", "a.jpg 1 2 3 1e9\n", 1, "within"),
    ("dface", "/etc/a.jpg 1 2 3 4\n", 1, "leaves the images folder"),
    ("dface", "x/../../a.jpg 1 2 3 4\n", 1, "leaves the images folder"),
    ("celeba", CELEBA_BOXES.replace("226", "wide"), 3, "not a number: 'wide'"),
    ("celeba", CELEBA_BOXES.replace("226", ""), 3, "3 numbers"),
    ("facepoint", "a.jpg 1 2 3 4\n", 1, "4 numbers instead of 14"),
    ("facepoint", "..\\a.jpg" + " 1" * 14, 1, "leaves the images folder"),
    ("facepoint", "C:\\a.jpg" + " 1" * 14, 1, "leaves the images folder"),
    ("csv", "name,x1,y1,x2,y2\na.jpg,1,2,3,4\na.jpg,1,2,,4\n", 3, "not a number"),
    ("csv", "name,x1,y1,x2,y2\na.jpg,1,2,3\n", 2, "4 cells under 5 columns"),
    ("csv", "name,x1,y1,x2,y2\n,1,2,3,4\n", 2, "not the path of an image"),
    ("csv", "name,x1,y1,x2,y2,ignore\na.jpg,1,2,3,4,maybe\n", 2, "ignore is 'maybe'"),
    ("csv", "name,width,height,x1,y1,x2,y2\na.jpg,9,9,1,2,3,4\na.jpg,8,9,1,2,3,4\n", 3, "differ"),
    ("csv", "name,x1,y1,x2,y2\na.jpg,1,2,3,inf\n", 2, "not finite"),
]


@pytest.mark.parametrize(("kind", "text", "line", "reason"), BAD)
def test_a_bad_line_is_named_or_skipped_with_its_image(
    kind: str, text: str, line: int, reason: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=reason) as error:
        read(kind, tmp_path, text)
    assert f"file0.txt:{line}: " in str(error.value)
    assert "\n" not in str(error.value)

    entries, bad = read(kind, tmp_path, text, skip=True)
    assert bad.skipped[0].name.endswith(f"file0.txt:{line}")
    # An image that misses one of its faces would teach that this face is background.
    assert not {"a.jpg", "000001.jpg"} & entries.keys()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("folder", "synthetic")])
def test_a_file_that_is_no_text_or_not_there_is_named(kind: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"file0\.txt:2: not UTF-8"):
        read(kind, tmp_path, b"a\n\xff\xfe\x00")
    with pytest.raises(UserError, match="nowhere"):
        read_entries(kind, tmp_path, [tmp_path / "nowhere"], BadLines())
    with pytest.raises(UserError, match="--annotations"):
        read_entries(kind, tmp_path, [], BadLines())


def test_every_kind_has_a_reader_or_is_drawn() -> None:
    assert set(KINDS) == {*READERS, "synthetic"}
