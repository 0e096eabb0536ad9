"""An S3 server on loopback, of moto's, whose every so manyth request may fail."""

import itertools
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import pytest

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
BUCKET = "bucket"


@contextmanager
def serving(failing: int = 0) -> Iterator[str]:
    """The address of a server. All servers of a process show the same buckets.

    With `failing` every so manyth request fails, by turns with 503, a broken connection, and a broken connection
    after it was carried out.
    """
    moto = pytest.importorskip("moto.server")
    from werkzeug.serving import make_server

    application = moto.DomainDispatcherApplication(moto.create_backend_app)
    server = make_server(
        "127.0.0.1", 0, _faulty(application, failing) if failing else application, threaded=True
    )
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def use(patch: pytest.MonkeyPatch, address: str) -> None:
    """Make stores, and processes started from now on, use the server."""
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", "key")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "secret-words")
    patch.setenv("AWS_REGION", "us-east-1")


def make_bucket() -> None:
    """Make BUCKET on the server in use, where it is not there."""
    client = pytest.importorskip("boto3").client("s3")
    if not client.list_buckets()["Buckets"]:
        client.create_bucket(Bucket=BUCKET)


def _faulty(application: Application, failing: int) -> Application:
    requests, faults = itertools.count(1), itertools.cycle(["refused", "lost", "answer lost"])

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if next(requests) % failing:
            return application(environ, start_response)
        fault = next(faults)
        if fault == "answer lost":
            list(application(environ, start_response))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault != "refused":
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        start_response("503 Slow Down", [("Content-Length", "0")])
        return [b""]

    return answer
