"""What holds for every test: in CI nothing is skipped, and no test leaves a process behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tau.stores import registry

if TYPE_CHECKING:
    import s3_server
    from postgres_server import Server
    from redis_server import Server as RedisServer

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell starts in the background is deaf to Ctrl-C, and so would be all that the tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A change is judged by its own faults: what is drawn at random is the same in every run, but for the deep proofs.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")

pytest.register_assert_rewrite("tau.testing")  # readable failures in the public suite

IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")


MEMORY = Path("/dev/shm")


def pytest_configure(config: pytest.Config) -> None:
    """The directories of the tests are in memory where there is room for them: most of the time would be spent waiting
    for a disk, and a killed process does not show what a disk would lose. The deep proofs, and all that runs with them,
    have the disk.
    """
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2 << 30
    if config.getoption("markexpr") == "not deep" and roomy:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory of the test's own, on the disk if it is marked so."""
    if request.node.get_closest_marker("disk") is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="tau-disk-", ignore_cleanup_errors=True) as place:
        yield Path(place)


def can_mount() -> bool:
    """Whether file systems may be mounted here: by root, and not in every container."""
    try:
        mount = ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
        return subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


GROUNDS = {"linux": lambda: sys.platform == "linux", "mounts": can_mount}
"""What a test may need that a machine may not have: ``@pytest.mark.needs("mounts")``."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What has no ground on this machine is not chosen: a skip would be a failure in CI."""
    needed = {mark.args[0] for item in items for mark in item.iter_markers("needs")}
    absent = {ground for ground in needed if not GROUNDS[ground]()}
    left = [item for item in items if any(mark.args[0] in absent for mark in item.iter_markers("needs"))]
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in left]


def refuse_skip(report: Any) -> None:
    """Turn a skip into a failure: what CI did not run, it did not prove."""
    if IN_CI and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skipped, and in CI that is a failure: {reason}"


def spell_out(report: Any) -> None:
    """Escape lone surrogates in a failure: a worker of pytest-xdist could not hand it on, and would die of it."""
    said = str(report.longrepr)
    if report.failed and said.encode("utf-8", "backslashreplace") != said.encode("utf-8", "surrogatepass"):
        report.longrepr = said.encode("utf-8", "backslashreplace").decode()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    refuse_skip(report)
    spell_out(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    report = yield
    refuse_skip(report)
    return report


def running_children() -> dict[int, str]:
    """The live child processes of this one and their command lines; empty where there is no /proc to ask."""
    found = {}
    for listing in Path("/proc/self/task").glob("*/children"):
        try:
            pids = [int(pid) for pid in listing.read_text().split()]
        except OSError:  # that thread has just ended
            continue
        for pid in pids:
            command = command_line(pid)
            # multiprocessing keeps these for the life of the process, on purpose; a server may be restarted by a test,
            # is closed by its fixture, and is ended by the kernel with this process
            known = ("multiprocessing", "/tau-pg-", "valkey", "s3_server.py")
            if command and not any(part in command for part in known):
                found[pid] = command
    return found


def command_line(pid: int) -> str:
    """Empty for a process that is gone, or that has ended and only waits to be collected."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    before = running_children()
    yield
    left = {pid: command for pid, command in running_children().items() if pid not in before}
    assert not left, f"the test left processes running: {left}"


@pytest.fixture(autouse=True)
def no_store_stays_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of this process's own."""
    from postgres_server import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def postgres_url(postgres: Server) -> str:
    """A store without runs, which no object of an earlier test knows."""
    return postgres.empty()


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Server]:
    """A server for those that restart it, or set it up otherwise."""
    from postgres_server import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def own_postgres_url(own_postgres: Server) -> str:
    """A store without runs there."""
    return own_postgres.empty()


@pytest.fixture(scope="session")
def redis() -> Iterator[RedisServer]:
    """A server of this process's own."""
    from redis_server import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def redis_url(redis: RedisServer) -> str:
    """A store without runs, which no object of an earlier test knows."""
    return redis.empty()


@pytest.fixture(scope="module")
def own_redis() -> Iterator[RedisServer]:
    """A server for those that restart it, or set it up otherwise."""
    from redis_server import Server

    server = Server()
    yield server
    server.close()


@pytest.fixture
def own_redis_url(own_redis: RedisServer) -> str:
    """A store without runs there."""
    return own_redis.empty()


@pytest.fixture(scope="session")
def s3() -> Iterator[s3_server.Server]:
    """An S3 of this process's own, and the credentials for it in the environment."""
    import s3_server

    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.ENVIRONMENT.items():
            patch.setenv(name, value)
        server = s3_server.Server()
        yield server
        server.close()


@pytest.fixture
def s3_url(s3: s3_server.Server) -> str:
    """A store without runs, in a bucket of its own."""
    return s3.empty()
