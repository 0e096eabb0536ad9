"""The published annotation files are read whole; what they hold is counted here by other means."""

import csv
from pathlib import Path

import numpy as np

from mtcnn.sources import read_entries
from mtcnn.sources.entry import BadLines, Entry


def read(kind: str, path: Path) -> dict[str, Entry]:
    return {entry.path: entry for entry in read_entries(kind, path.parent, [path], BadLines())}


def test_wider_val_in_text_and_mat_agree_box_for_box(shared_data: Path) -> None:
    text = read("wider", shared_data / "wider" / "wider_face_val_bbx_gt.txt")
    mat = read("wider", shared_data / "wider" / "wider_face_val.mat")
    assert text.keys() == mat.keys()
    assert len(text) == 3226
    assert sum(len(entry.boxes) for entry in text.values()) == 39708
    for path, entry in text.items():
        np.testing.assert_array_equal(entry.boxes, mat[path].boxes)
        np.testing.assert_array_equal(entry.ignore, mat[path].ignore)
        assert entry.attributes == mat[path].attributes


def test_dface_is_wider_train_to_a_pixel_where_the_invalid_faces_are_faces(shared_data: Path) -> None:
    dface = read("dface", shared_data / "wider" / "wider_origin_anno.txt")
    wider = read("wider", shared_data / "wider" / "wider_face_train.mat")
    assert dface.keys() == wider.keys()
    assert len(dface) == 12880
    assert sum(int(entry.ignore.sum()) for entry in wider.values()) == 2399
    assert sum(int(entry.ignore.sum()) for entry in dface.values()) == 0
    difference = np.concatenate([entry.boxes - wider[path].boxes for path, entry in dface.items()])
    assert len(difference) == 159424
    assert (np.abs(difference) <= 1).mean() > 0.99
    # Half open boxes: neither one pixel wider nor narrower than WIDER's.
    assert np.abs((difference[:, 2:] - difference[:, :2]).mean(axis=0)).max() < 0.1
    assert sum(bool((entry.boxes == -1).any(axis=1).any()) for entry in dface.values()) > 100


def test_facepoint_list(shared_data: Path) -> None:
    path = shared_data / "landmarks" / "sun2013_trainImageList.txt"
    entries = read("facepoint", path)
    assert len(entries) == 10000
    for line in path.read_text().splitlines()[::500]:
        name, x1, x2, y1, y2, *numbers = line.replace("\\", "/").split()
        entry = entries[name]
        assert entry.boxes.tolist() == [[float(x1), float(y1), float(x2), float(y2)]]
        np.testing.assert_allclose(entry.landmarks.ravel(), np.array(numbers, float))
    # Left is left in the image, and the box is around the points: nothing is swapped.
    points = np.concatenate([entry.landmarks for entry in entries.values()])
    boxes = np.concatenate([entry.boxes for entry in entries.values()])
    assert (points[:, 0, 0] < points[:, 1, 0]).mean() > 0.99
    assert (points[:, 3, 0] < points[:, 4, 0]).mean() > 0.99
    inside = (points > boxes[:, None, :2]) & (points < boxes[:, None, 2:])
    assert inside.all(axis=2).mean() > 0.98


def test_csv_of_faces(shared_data: Path) -> None:
    for name, images, faces in (("train", 2400, 10293), ("val", 300, 1275)):
        path = shared_data / "faces" / f"{name}.csv"
        entries = read("csv", path)
        assert len(entries) == images
        assert sum(len(entry.boxes) for entry in entries.values()) == faces
        with path.open() as file:
            rows = list(csv.DictReader(file))
        by_image: dict[str, list[list[float]]] = {}
        for row in rows:
            by_image.setdefault(row["name"], []).append(
                [float(row[c]) for c in ("xmin", "ymin", "xmax", "ymax")]
            )
        for image, boxes in by_image.items():
            np.testing.assert_array_equal(entries[image].boxes, np.array(boxes, np.float32))


def test_csv_of_landmarks(shared_data: Path) -> None:
    entries = read("csv", shared_data / "landmarks" / "landmarks.csv")
    assert len(entries) == 10000
    assert all(np.isfinite(entry.landmarks).all() for entry in entries.values())
    # The same photos and points as in the original list, in pixels of the smaller copies.
    original = read("facepoint", shared_data / "landmarks" / "sun2013_trainImageList.txt")
    assert entries.keys() == original.keys()
