"""A live owner is never taken for dead: what cannot be told of it does not count against it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec
import pytest
from engine_steps import config

from tau import RunOwnedError, State, StateGraph, host
from tau.host import Host
from tau.log.loading import Watch
from tau.stores.contract import Batch, Owner, Store, Summary
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one, owner

OWNER = """
import sys, msgspec
from tau.host import Host
host = Host()
owner = host.owner(60.0)
work = host.hold(owner)
print(msgspec.json.encode(owner).decode(), flush=True)
sys.stdin.read()
"""

JUDGE = """
import os, resource, sys, msgspec
from tau.host import Host
from tau.stores.contract import Owner
owner = msgspec.json.decode(sys.argv[1], type=Owner)
held = []
if "no descriptors" in sys.argv:
    resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
print(Host().is_dead(owner))
for one in held:
    os.close(one)
print(Host().is_dead(owner))
"""

RUN = """
import sys
from tau import CheckpointConfig, GraphConfig, StateGraph
url, mode, lease, wait = sys.argv[1:]
def node(state):
    if mode == "execute":
        print("inside", flush=True)
        sys.stdin.readline()
    return {"x": 1}
graph = StateGraph(GraphConfig("g", observer="noop", checkpoint=CheckpointConfig(
    store=url, interval=1, preserve=True, lease=float(lease))))
graph.add_node("node", node, version="1")
graph.sequence("node")
try:
    print(dict(graph.execute({}, run_id="r", if_exists="resume", wait=float(wait))), flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def mounted(mount: str, user: int = 0) -> tuple[str, ...]:
    """A command that runs another one where that is mounted, as that user."""
    become = f"setpriv --reuid={user} --regid=10009 --clear-groups " if user else ""
    return ("unshare", "-m", "-u", "--propagation", "private", "sh", "-c", f'{mount} && exec {become}"$@"', "sh")


def proc(options: str, user: int = 0) -> tuple[str, ...]:
    return mounted(f"mount -t proc -o {options} proc /proc", user)


HERE: tuple[str, ...] = ()
PID = ("unshare", "-p", "-f", "--kill-child", "--mount-proc")
PID_OTHER_PROC = ("unshare", "-p", "-f", "--kill-child")
TIME = ("unshare", "-T", "--monotonic", "100000", "--boottime", "100000", "-f", "--kill-child")
TIME_AND_PID = (*TIME, "-p", "--mount-proc")
NO_BOOT_ID = proc("subset=pid")
OWN_ID = "mount -t tmpfs none /mnt && echo 6e4a1b0c > /mnt/id && mount --bind /mnt/id /proc/sys/kernel/random/boot_id"
OWN_BOOT_ID = mounted(OWN_ID)
OTHER_HOST = mounted(f"{OWN_ID} && hostname elsewhere")


def _can_unshare() -> bool:
    """Whether namespaces and mounts are ours to make, and another user can run this Python."""
    if os.geteuid() != 0:
        return False
    try:
        command = (*proc("hidepid=2", 10001), sys.executable, "-c", "import tau")
        return all(
            subprocess.run(one, capture_output=True, check=False).returncode == 0 for one in (command, (*TIME, "true"))
        )
    except OSError:
        return False


NAMESPACES = _can_unshare()


class Process:
    """A real process; its first line has been read."""

    def __init__(self, prefix: tuple[str, ...], script: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-c", script, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline().strip()

    def go_on(self) -> str:
        return self.process.communicate("\n", timeout=60)[0].strip()

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def ask(prefix: tuple[str, ...], script: str, *arguments: str) -> list[str]:
    command = [*prefix, sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.db"


def test_without_descriptors_an_owner_is_not_dead_and_a_dead_one_is_found_dead_afterwards() -> None:
    process = Process(HERE, OWNER)
    assert ask(HERE, JUDGE, process.line, "no descriptors") == ["False", "False"]
    process.kill()
    assert ask(HERE, JUDGE, process.line, "no descriptors") == ["False", "True"]


def test_an_owner_whose_start_or_ours_cannot_be_told_is_not_dead() -> None:
    me = Host().owner(60.0)
    with Process(HERE, OWNER).process as process:
        other = msgspec.structs.replace(me, pid=process.pid, started=0)
        assert not Host().is_dead(other)
        assert Host().is_dead(msgspec.structs.replace(other, started=1)), "the pid is another process's now"
        process.communicate()


def test_a_process_whose_first_thread_has_ended_is_not_dead() -> None:
    script = OWNER.replace("sys.stdin.read()", "import ctypes, threading\n"
        "threading.Thread(target=sys.stdin.read).start()\nctypes.CDLL(None).pthread_exit(None)")  # fmt: skip
    process = Process(HERE, script)
    stat = Path(f"/proc/{process.process.pid}/stat")
    while stat.read_text().rpartition(")")[2].split()[0] != "Z":
        pass
    assert not Host().is_dead(msgspec.json.decode(process.line, type=Owner))
    process.kill()


def test_the_identities_are_the_ones_that_older_versions_store() -> None:
    """So that owners of both, beside each other, judge each other."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert host.pid_space() == f"{boot}:{os.stat('/proc/self/ns/pid').st_ino}"
    assert host.clock_space() == boot
    before, shown, after = time.monotonic(), host.boot_clock(), time.monotonic()
    assert before <= shown <= after


if NAMESPACES:

    @pytest.mark.parametrize("hidden", ["hidepid=1", "hidepid=2"])
    def test_another_users_process_that_proc_hides_is_not_dead(hidden: str) -> None:
        process = Process(proc(hidden, 10001), OWNER)
        assert ask(proc(hidden, 10002), JUDGE, process.line) == ["False", "False"]
        process.kill()
        assert ask(proc(hidden, 10002), JUDGE, process.line) == ["True", "True"]

    @pytest.mark.parametrize("there", [PID, PID_OTHER_PROC, TIME, TIME_AND_PID, NO_BOOT_ID])
    def test_who_is_elsewhere_judges_no_pid_by_what_means_another_one_there(there: tuple[str, ...]) -> None:
        here = Process(HERE, OWNER)
        assert ask(there, JUDGE, here.line) == ["False", "False"]
        elsewhere = Process(there, OWNER)
        assert ask(HERE, JUDGE, elsewhere.line) == ["False", "False"]
        for process in (here, elsewhere):
            process.kill()

    def test_where_boots_cannot_be_told_nobody_is_dead() -> None:
        process = Process(NO_BOOT_ID, OWNER)
        process.kill()
        assert msgspec.json.decode(process.line, type=Owner).boot == ""
        assert ask(NO_BOOT_ID, JUDGE, process.line) == ["False", "False"]

    @pytest.mark.parametrize("there", [PID, TIME, TIME_AND_PID, NO_BOOT_ID])
    @pytest.mark.parametrize("from_there", [True, False])
    def test_a_run_is_not_taken_from_an_owner_with_another_clock_or_other_pids(
        url: str, there: tuple[str, ...], from_there: bool
    ) -> None:
        mine, theirs = (there, HERE) if from_there else (HERE, there)
        process = Process(mine, RUN, url, "execute", "2", "0")
        assert process.line == "inside"
        (said,) = ask(theirs, RUN, url, "resume", "2", "0.2")
        assert said.startswith("RunOwnedError")
        assert process.go_on() == "{'x': 1}"

    @pytest.mark.parametrize("there", [HERE, TIME, TIME_AND_PID, OWN_BOOT_ID])
    def test_one_clock_is_shown_in_all_time_namespaces(there: tuple[str, ...]) -> None:
        script = "from tau import host; print(host.clock_space(), host.boot_clock())"
        before = host.boot_clock()
        space, _, shown = ask(there, script)[0].partition(" ")
        assert (space == host.clock_space()) is (there != OWN_BOOT_ID)
        assert before <= float(shown) <= host.boot_clock()

    @pytest.mark.parametrize("there", [HERE, OWN_BOOT_ID])
    def test_where_others_of_the_system_have_other_boot_ids_no_boot_is_over(there: tuple[str, ...]) -> None:
        script = "import os; from tau import host; print(host.has_ended('yesterday', os.uname().nodename))"
        assert ask(there, script) == [str(there == HERE)]

    @pytest.mark.parametrize("there", [OTHER_HOST, NO_BOOT_ID])
    def test_it_is_taken_once_its_lease_was_watched_to_the_end(url: str, there: tuple[str, ...]) -> None:
        process = Process(there, RUN, url, "execute", "1", "0")
        process.kill()
        (said,) = ask(HERE, RUN, url, "resume", "1", "0")
        assert said.startswith("RunOwnedError")
        assert "wait at least 1 s" in said
        assert ask(HERE, RUN, url, "resume", "1", "60") == ["{'x': 1}"]


class Announced(SQLiteStore):
    """Tells when it is about to write."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes = threading.Event()

    def commit(self, batches: list[Batch]) -> list[int | Exception]:  # type: ignore[override]
        self.writes.set()
        return super().commit(batches)

    def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
        self.writes.set()
        return super().renew(run_id, nonce, seconds)


@pytest.fixture
def locked(tmp_path: Path, url: str) -> Iterator[apsw.Connection]:
    """The database of a live owner, locked by somebody for longer than the lease."""
    process = Process(HERE, RUN, url, "execute", "2", "0")
    connection = apsw.Connection(str(tmp_path / "runs.db"))
    connection.execute("begin immediate")
    store = SQLiteStore(tmp_path / "runs.db")
    while (lease := store.lease("r")) is not None and (lease.expires_in or 0.0) > 0.0:
        pass
    yield connection
    connection.close()
    assert process.go_on() == "{'x': 1}", "the owner lost its run"
    store.close()


@pytest.mark.parametrize("way", ["resume", "save"])
def test_an_owner_that_was_kept_from_renewing_by_a_locked_store_keeps_its_run(
    locked: apsw.Connection, tmp_path: Path, way: str
) -> None:
    store = Announced(tmp_path / "runs.db")
    graph = StateGraph(config(store))
    graph.add_node("node", lambda state: pytest.fail("ran"), version="1")
    graph.sequence("node")
    said: list[BaseException] = []

    def take() -> None:
        try:
            if way == "resume":
                graph.resume("r")
            else:
                store.save(State({"by": "hand"}, run_id="r"))
        except BaseException as error:
            said.append(error)

    taker = threading.Thread(target=take)
    taker.start()
    assert store.writes.wait(60)
    locked.execute("rollback")
    taker.join(60)
    assert [type(error) for error in said] == [RunOwnedError]
    store.close()


class Clock(Host):
    """A clock that stands where it is put."""

    time = 0.0

    def monotonic(self) -> float:  # type: ignore[override]
        return self.time


class Watched(MemoryStore):
    """A store without a clock, whose summaries may take long."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        super().__init__()
        self.clock_there, self.seconds = clock, seconds

    def summary(self, run_id: str) -> Summary | None:
        self.clock_there.time += self.seconds
        return super().summary(run_id)

    def lease(self, run_id: str) -> object:  # type: ignore[override]
        lease = super().lease(run_id)
        return None if lease is None else msgspec.structs.replace(lease, expires_in=None)


def test_the_time_in_which_a_store_did_not_answer_is_no_silence_of_the_owner() -> None:
    clock = Clock()
    store: Store = Watched(clock, 1000.0)
    one(store, batch("r", 0, owner=owner("somebody", lease=60.0)))
    watch = Watch(store, "r", clock, wait=1e6)
    assert [watch.look() for _ in range(8)] == [None] * 8


def test_who_only_looks_writes_nothing_to_the_store(tmp_path: Path) -> None:
    now = [1000.0]
    store = SQLiteStore(tmp_path / "runs.db", clock=lambda: now[0])
    one(store, batch("r", 0, owner=msgspec.structs.replace(owner("a"), lease=1.0)))
    now[0] += 2.0
    other = apsw.Connection(str(tmp_path / "runs.db"))
    other.execute("begin immediate")
    assert Watch(store, "r", Host(), take=False).look() == 1
    other.close()
    store.close()
