"""The store behaves alike on a local folder and on S3, and says in one line what went wrong."""

import os
import pickle
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from mtcnn.errors import MissingKey, StoreError
from mtcnn.store import Store, open_store
from tests import s3 as s3_servers


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    with s3_servers.serving() as address:
        yield address


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Store:
    """A folder, of its own for each test, in a bucket on loopback."""
    s3_servers.use(monkeypatch, s3_server)
    s3_servers.make_bucket()
    return open_store(f"s3://{s3_servers.BUCKET}/{tmp_path.name}/in")


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.s3)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        return request.getfixturevalue("s3")  # type: ignore[no-any-return]
    return open_store(str(tmp_path / "not yet there #1"))


def test_what_was_put_is_got_listed_and_measured(store: Store) -> None:
    blob = os.urandom(100_000)
    store.put("a/b c.bin", blob)
    store.put("top", b"")
    assert store.get("a/b c.bin") == blob
    assert store.get("top") == b""
    assert sorted(store.list()) == [("a/b c.bin", 100_000), ("top", 0)]
    assert list(store.list("a")) == [("a/b c.bin", 100_000)]
    assert (store.size("a/b c.bin"), store.size("absent"), store.size("a")) == (100_000, None, None)


def test_a_folder_that_is_absent_lists_as_empty(store: Store) -> None:
    assert list(store.list()) == []
    assert list(store.list("deeper/folder")) == []


def test_a_listing_is_limited_to_the_folder_and_not_to_names_that_begin_alike(store: Store) -> None:
    store.put("unit/1", b"1")
    store.put("unit-other/1", b"22")
    assert list(store.list("unit")) == [("unit/1", 1)]
    assert list(store.child("unit").list()) == [("1", 1)]


def test_create_only_keeps_what_is_there(store: Store) -> None:
    assert store.put("key", b"first", overwrite=False) is True
    assert store.put("key", b"second", overwrite=False) is False
    assert store.get("key") == b"first"
    assert store.put("key", b"third") is True
    assert store.get("key") == b"third"


def test_one_of_many_create_only_writers_wins(store: Store) -> None:
    results: list[bool] = []
    writers = [
        threading.Thread(target=lambda n=n: results.append(store.put("key", b"%d" % n, overwrite=False)))
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(results) == [False] * 7 + [True]
    assert [key for key, _ in store.list()] == ["key"]


def test_deleting_twice_is_no_error(store: Store) -> None:
    store.put("key", b"")
    store.delete("key")
    store.delete("key")
    assert list(store.list()) == []


def test_a_missing_object_is_named_in_full(store: Store) -> None:
    with pytest.raises(MissingKey) as error:
        store.child("folder").get("absent.tar")
    assert str(error.value) == f"{store.url}/folder/absent.tar: not found"


@pytest.mark.parametrize(
    "key", ["../up", "a/../b", "/root", "a//b", "", ".", "a/./b", "a\\b", "a\nb", "a\0b"]
)
def test_names_that_climb_out_or_cannot_be_written_are_refused(store: Store, key: str) -> None:
    for act in (store.get, store.size, store.delete, lambda k: store.put(k, b"")):
        with pytest.raises(StoreError, match="refused"):
            act(key)


def test_a_store_travels_to_another_process_as_its_url(store: Store) -> None:
    store.put("key", b"data")
    parcel = pickle.dumps(store.child("folder"))
    assert len(parcel) < 500
    assert pickle.loads(parcel).url == f"{store.url}/folder"
    assert pickle.loads(pickle.dumps(store)).get("key") == b"data"


def test_a_relative_path_and_a_file_url_are_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    relative = open_store("x/../some where")
    monkeypatch.chdir("/")
    relative.put("key", b"1")
    assert relative.local_path == tmp_path / "some where"
    assert open_store(f"file://{tmp_path}/some%20where").get("key") == b"1"


def test_a_put_leaves_nothing_beside_the_object(tmp_path: Path) -> None:
    open_store(str(tmp_path)).put("a/key", b"1" * 100_000)
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "key"]


def test_a_file_in_the_place_of_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot write .*/file/key: .*Not a directory") as error:
        open_store(str(tmp_path / "file")).put("key", b"")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://host/x", "unknown kind of store"),
        ("s3://", "write s3://bucket/folder"),
        ("s3://bucket/a//b", "write s3://bucket/folder"),
        ("s3://key:secret@bucket/x", "environment variables"),
        ("az://container/x?sig=secret", "environment variables"),
        ("file://host/x", "three slashes"),
    ],
)
def test_a_url_that_is_no_store_is_refused_without_repeating_secrets(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as error:
        open_store(url)
    assert "secret" not in str(error.value)


@pytest.mark.s3
def test_a_missing_bucket_is_not_taken_for_a_missing_object(s3: Store) -> None:
    absent = open_store("s3://no-such-bucket/folder")
    for act in (lambda: absent.get("key"), lambda: absent.put("key", b""), lambda: list(absent.list())):
        with pytest.raises(StoreError, match="s3://no-such-bucket/folder.*NoSuchBucket") as error:
            act()
        assert not isinstance(error.value, MissingKey)
        assert "\n" not in str(error.value)


@pytest.mark.s3
def test_a_store_that_cannot_be_reached_is_reported_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    s3_servers.use(monkeypatch, "http://127.0.0.1:9")
    start = time.monotonic()
    with pytest.raises(StoreError, match="cannot read s3://bucket/folder/key: .*127.0.0.1:9"):
        open_store("s3://bucket/folder").get("key")
    assert time.monotonic() - start < 20


class Moody(BaseHTTPRequestHandler):
    """Answers with the statuses in `answers` one after the other, then with the body."""

    answers: ClassVar[list[int]] = []
    body = b"the object"

    def do_GET(self) -> None:
        status = self.answers.pop(0) if self.answers else 200
        body = (
            self.body
            if status == 200
            else b"<Error><Code>Denied</Code><Message>Not you</Message><X>AKIA</X></Error>"
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.send_header("ETag", '"1"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def moody(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Moody)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    s3_servers.use(monkeypatch, f"http://127.0.0.1:{server.server_port}")
    yield open_store("s3://bucket/folder")
    server.shutdown()
    server.server_close()


@pytest.mark.s3
def test_passing_faults_of_the_server_are_retried(moody: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Moody, "answers", [503, 500])
    assert moody.get("key") == b"the object"


@pytest.mark.s3
def test_a_denial_is_not_retried_and_repeats_only_the_stores_code_and_message(
    moody: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Moody, "answers", [403])
    with pytest.raises(
        StoreError, match=r"cannot read s3://bucket/folder/key: .*403 Forbidden: Denied: Not you$"
    ):
        moody.get("key")


@pytest.mark.s3
def test_every_second_request_may_fail(s3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_servers.serving(failing=2) as address:
        s3_servers.use(monkeypatch, address)
        store = open_store(s3.url)
        for number in range(3):
            key = f"key-{number}"
            assert store.put(key, b"%d" % number)
            assert store.get(key) == b"%d" % number and store.size(key) == 1
            # The answer may have got lost: then it finds its own object, and says so.
            store.put(f"once-{number}", b"x", overwrite=False)
            assert store.get(f"once-{number}") == b"x"
        assert len(list(store.list())) == 6
        store.delete("key-0")
        assert store.size("key-0") is None
