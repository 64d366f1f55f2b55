"""An S3 of the tests' own: moto over HTTP in a process of its own, one request at a time, as several at once would lose
updates. It is not S3: what only S3 itself does is not shown by it."""

from __future__ import annotations

import ctypes
import itertools
import logging
import re
import selectors
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx

USER, SECRET = "tester", "s3same-open-all"
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": USER, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
_SIGNED = {
    "Authorization": f"AWS4-HMAC-SHA256 Credential={USER}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
    "Signature=0"
}

_numbers = itertools.count()


class Server:
    """``port`` is where it listens on this machine."""

    def __init__(self) -> None:
        command = [sys.executable, str(Path(__file__).resolve())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=_SIGNED, trust_env=False)

    def empty(self) -> str:
        """The URL of a place in a new bucket, which is the only one then."""
        self._client.post("/moto-api/reset").raise_for_status()
        return self.bucket(f"tau-{next(_numbers)}")

    def bucket(self, name: str) -> str:
        """Make a bucket; the URL of a place in it."""
        self._client.put(f"/{name}").raise_for_status()
        return self.url(name)

    def objects(self, url: str) -> dict[str, bytes]:
        """All that is in that place, by key, seen by another road than the store's."""
        start = "some/place/"
        listing = self._client.get(f"/{_bucket_of(url)}?list-type=2&prefix={start}").raise_for_status().text
        keys = re.findall(f"<Key>{start}([^<]*)</Key>", listing)
        return {key: self._client.get(f"/{_bucket_of(url)}/{start}{key}").content for key in keys}

    def put(self, url: str, key: str, data: bytes | None) -> None:
        """Put an object in that place, or none."""
        path = f"/{_bucket_of(url)}/some/place/{key}"
        done = self._client.delete(path) if data is None else self._client.put(path, content=data)
        done.raise_for_status()

    def url(self, bucket: str, port: int = 0) -> str:
        return f"s3://{bucket}/some/place?endpoint=http://127.0.0.1:{port or self.port}&region=us-east-1"

    def close(self) -> None:
        self._client.close()
        self._process.terminate()
        self._process.communicate()


def _bucket_of(url: str) -> str:
    return url.removeprefix("s3://").partition("/")[0]


def through(url: str, port: int) -> str:
    """The same place by way of a proxy on that port."""
    start, _, rest = url.partition("127.0.0.1:")
    return f"{start}127.0.0.1:{port}&{rest.partition('&')[2]}"


def _serve() -> None:
    from moto.server import create_backend_app
    from werkzeug import serving
    from werkzeug.serving import WSGIRequestHandler, make_server

    class HangsUp(selectors.DefaultSelector):
        """After each answer werkzeug waits 10 ms for more: a client that sees the end hangs up at once."""

        def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
            with suppress(OSError):  # it is gone
                fileobj.shutdown(socket.SHUT_WR)
            return super().register(fileobj, events, data)

    serving.selectors = SimpleNamespace(DefaultSelector=HangsUp, EVENT_READ=selectors.EVENT_READ)

    class Handler(WSGIRequestHandler):
        wbufsize = 1 << 16  # an answer is written at once, not line by line

    # moto's own dispatcher looks through its directory of services at each request
    s3, api = create_backend_app("s3"), create_backend_app("moto_api")

    def application(environ: dict[str, Any], start_response: Any) -> Any:
        return (api if environ["PATH_INFO"].startswith("/moto-api/") else s3)(environ, start_response)

    ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))  # it ends with its parent
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = make_server("127.0.0.1", 0, application, threaded=False, request_handler=Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    _serve()
