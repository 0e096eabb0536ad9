"""One thin door to local folders and object stores (s3://, gs://, az://), on obstore.

Objects are whole: a get reads all of one, a put is atomic (written aside and renamed, or a single request).
Endpoint and credentials come from the usual environment variables (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, …).
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, from_url

from mtcnn.errors import MissingKey, StoreError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")
PAGE = 1000
"""Objects in one page of a listing."""
ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT", "AZURE_STORAGE_ENDPOINT")
METADATA_SERVER = "169.254.169.254"
"""Where a machine in a cloud asks for credentials; tried where the environment has none."""

# A server that fails every tenth request is survived; one that is not there is reported within half a minute.
RETRIES: "RetryConfig" = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=5), "base": 2},
}
CONNECT_SECONDS = 5
READ_SECONDS = 30
"""Longest silence within an answer."""
REQUEST_SECONDS = 300
"""Longest request: a shard of some hundred megabytes over a slow line."""


class Store:
    """A folder of objects, on disk or on an object store. Small, thread-safe, and pickled as its URL.

    Keys are relative paths with `/`; one that climbs out of its folder is refused. Every failure is a
    StoreError of one line with the full URL and the store's own words.
    """

    def __init__(self, url: str) -> None:
        """Open `url`: a path, file://, s3://, gs:// or az://. Nothing is contacted or made yet."""
        scheme, separator, _ = url.partition("://")
        if separator and scheme != "file":
            self.url = url.rstrip("/")
            self.local_path: Path | None = None
            bucket, self._prefix = _bucket(self.url)
            self._objects = _client(self.url, bucket)
        else:
            named = Path(_file_path(url) if separator else url).expanduser()
            path = os.path.abspath(named)  # noqa: PTH100 - resolve() would replace symbolic links too
            self.url = path
            self.local_path = Path(path)
            self._prefix = path.strip("/")
            self._objects = LocalStore()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def __reduce__(self) -> tuple[type["Store"], tuple[str]]:
        return Store, (self.url,)

    def child(self, folder: str) -> "Store":
        """The store of a folder inside this one."""
        if not folder.strip("/"):
            return self
        self._path(folder.strip("/"))
        return Store(f"{self.url.rstrip('/')}/{folder.strip('/')}")

    def get(self, key: str) -> bytes:
        """The whole object. Raises MissingKey where there is none."""
        path = self._path(key)
        with self._words("read", key):
            if self.local_path is not None:
                # obstore hands a local file over in small chunks: 4 times slower than one read.
                return Path("/", path).read_bytes()
            return self._objects.get(path).bytes().to_bytes()

    def put(self, key: str, data: bytes, overwrite: bool = True) -> bool:
        """Write the whole object atomically, making folders; returns True.

        With `overwrite=False` an object that is there already is left as it is, and the answer is False. (A
        request that was repeated because its answer got lost also finds its own object, and is answered False.)
        """
        path = self._path(key)
        with self._words("write", key):
            try:
                self._objects.put(
                    path, data, mode="overwrite" if overwrite else "create", use_multipart=False
                )
            except AlreadyExistsError:
                return False
        return True

    def size(self, key: str) -> int | None:
        """Bytes of an object; None where there is none."""
        path = self._path(key)
        try:
            with self._words("look at", key):
                return int(self._objects.head(path)["size"])
        except MissingKey:
            return None

    def list(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Keys and bytes of all objects below the folder `prefix`, page by page, in no order.

        A folder that is not there is empty.
        """
        start = self._path(prefix.strip("/")) if prefix.strip("/") else self._prefix
        skip = len(self._prefix) + 1 if self._prefix else 0
        with self._words("list", prefix):
            for page in self._objects.list(start or None, chunk_size=PAGE):
                for found in page:
                    yield found["path"][skip:], int(found["size"])

    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""
        path = self._path(key)
        try:
            with self._words("delete", key):
                self._objects.delete(path)
        except MissingKey:
            pass

    def _path(self, key: str) -> str:
        if not is_safe(key):
            raise StoreError(
                f"{self.url}: refused the name {key!r}: it is not a plain path inside this folder"
            )
        return f"{self._prefix}/{key}" if self._prefix else key

    @contextmanager
    def _words(self, doing: str, key: str) -> Iterator[None]:
        """Turn whatever the store raises into one line."""
        url = f"{self.url}/{key}" if key else self.url
        try:
            yield
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
                raise StoreError(f"cannot {doing} {url}: {_own_words(error)}") from error
            raise MissingKey(f"{url}: not found") from error
        except (BaseError, OSError, ValueError) as error:
            raise StoreError(f"cannot {doing} {url}: {_own_words(error)}") from error


def open_store(url: str) -> Store:
    """The store at `url`: a path, file://, s3://bucket/prefix, gs://… or az://container/prefix."""
    return Store(url)


def is_safe(key: str) -> bool:
    """Whether a relative path stays inside its folder on every system, and its bytes are plain."""
    parts = key.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not re.search(r"[\\\x00-\x1f\x7f]", key)


def _file_path(url: str) -> str:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise StoreError(f"{url}: a file URL has three slashes before its path: file:///folder")
    return unquote(parts.path)


def _bucket(url: str) -> tuple[str, str]:
    """`scheme://bucket` and the prefix inside it."""
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise StoreError(
            f"{parts.scheme}://: unknown kind of store; use a path or one of s3://, gs://, az://"
        )
    if "@" in parts.netloc or parts.query:
        # Such a URL would carry its secret into logs, reports and resolved configurations.
        raise StoreError(
            f"{parts.scheme}:// URL with credentials: give them by environment variables, not in the URL"
        )
    prefix = parts.path.strip("/")
    if not parts.netloc or (prefix and not is_safe(prefix)):
        raise StoreError(f"{url}: not a store; write {parts.scheme}://bucket/folder")
    return f"{parts.scheme}://{parts.netloc}", prefix


def _client(url: str, bucket: str) -> "ObjectStore":
    endpoint = next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "")
    options: ClientConfig = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=READ_SECONDS),
        "timeout": timedelta(seconds=REQUEST_SECONDS),
    }
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    try:
        return from_url(bucket, client_options=options, retry_config=RETRIES)
    except (BaseError, ValueError) as error:
        raise StoreError(f"cannot open {url}: {_own_words(error)}") from error


def _own_words(error: Exception) -> str:
    """The store's own words on one line, without debug dump, queries and signed strings: those may hold secrets."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split("\n\nDebug source", 1)[0].split())
    code, message = (re.search(f"<{tag}>(.*?)</{tag}>", text) for tag in ("Code", "Message"))
    answer = ": ".join(found[1] for found in (code, message) if found)
    text = re.sub(r"<\?xml.*|<Error>.*", answer, text)
    hint = " (are there credentials in the environment?)" if METADATA_SERVER in text else ""
    return re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", text) + hint
