"""What the engine's surroundings give it: time, sleep, randomness, identity. Tests and simulations bring their own.

Two identities tell what may be compared with what another process stored: `pid_space` for pids, `clock_space` for
readings of `boot_clock`. Each is empty where it cannot be told, and what cannot be told is never equal.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tau import forks
from tau.forks import in_child
from tau.late_imports import load_module
from tau.signals import pass_on
from tau.waiting import Flag

if TYPE_CHECKING:
    from tau.stores.summaries import Owner

_SAME = 1.0  # seconds for which what is known of this process as an owner is not found out again

_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


class Work:
    """Stands for the work of one owner. It ends with the last reference, so that an interrupt anywhere ends it, too."""


_at_work: dict[str, weakref.ref[Work]] = {}


class Host:
    """The machine and process that runs this code."""

    _owner: tuple[object, Owner] | None = None  # the last one that was found out, and the process that it was

    now: Callable[[], float] = staticmethod(time.time)
    """Unix seconds; shown to people, never used to judge anybody."""

    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds of a clock that is never set; stands still while the machine sleeps."""

    def sleep(self, seconds: float, wake: Flag | None = None) -> None:
        """Wait for so long, or until ``wake`` is set."""
        (wake or Flag()).wait(seconds)

    def random(self) -> float:
        """A number in [0, 1) for jitter."""
        load_module("random")
        import random  # only loaded where something is tried again

        return random.random()

    def token(self) -> bytes:
        """Eight random bytes."""
        return os.urandom(8)

    def seed(self) -> int:
        """A random seed for a run: a number of 63 bits."""
        return int.from_bytes(os.urandom(8), "big") >> 1

    def owner(self, lease: float) -> Owner:
        """This process as the owner of a run, with a fresh nonce."""
        nonce, now = os.urandom(12).hex(), self.now()
        process, before = self._owner or (None, None)
        # A child may have its parent's pid, in a namespace of its own.
        is_known = before is not None and before.boot and before.started and process is forks.process
        if before is not None and is_known and before.lease == lease and 0.0 <= now - before.since < _SAME:
            return replace(before, nonce=nonce, since=now)
        found = self._found_out(nonce, now, lease)
        self._owner = (forks.process, found)
        return found

    def _found_out(self, nonce: str, now: float, lease: float) -> Owner:
        load_module("tau.stores.summaries")
        from tau.stores.summaries import Owner

        return Owner(
            nonce=nonce,
            host=os.uname().nodename,
            boot=pid_space(),
            pid=os.getpid(),
            started=_own_start(),
            lease=lease,
            since=now,
            job=_job(),
        )

    def user(self) -> str:
        """Who uses this process, and where."""
        try:
            load_module("pwd")
            import pwd

            name = pwd.getpwuid(os.getuid()).pw_name
        except (ImportError, KeyError):  # a number without a name, as containers have them
            name = str(os.getuid())
        return f"{name}@{os.uname().nodename}"

    def hold(self, owner: Owner) -> Work:
        """``owner`` is at work in this process for as long as what is returned is referred to."""
        work = Work()
        # Called by the interpreter itself: what Ctrl-C raises in code that a last reference calls is lost.
        _at_work[owner.nonce] = weakref.ref(work, partial(_at_work.pop, owner.nonce))
        return work

    def is_mine(self, owner: Owner) -> bool:
        """Whether that owner is this very process."""
        return bool(owner.boot) and (owner.boot, owner.pid) == (pid_space(), os.getpid())

    def is_dead(self, owner: Owner) -> bool:
        """Whether that owner is certainly gone: its pid is one of this system, and its process, or its work in this
        one, ended."""
        if not owner.boot or owner.boot != pid_space() or owner.host != os.uname().nodename:
            return False
        if owner.pid == os.getpid() and owner.nonce not in _at_work:
            return True
        started = _start_time(owner.pid)
        return started is None or (started and owner.started and started != owner.started) != 0


def _job() -> str:
    """The job of the batch system that this process belongs to, as its users call it; empty outside of one."""
    tell = os.environ.get
    job = next(filter(None, map(tell, _JOB_VARIABLES)), "")
    task, restarts = tell("SLURM_ARRAY_TASK_ID"), tell("SLURM_RESTART_COUNT", "0")
    if not tell("SLURM_JOB_ID"):
        return job
    if task:
        job = f"{tell('SLURM_ARRAY_JOB_ID', job)}_{task}"
    return job if restarts == "0" else f"{job} (restart {restarts})"


_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_INITIAL_TIME = "4026531834"
"""The number that Linux gives the time namespace it starts with."""

_facts: dict[str, str] = {}
"""What was found out about this process, which a child of fork finds out anew."""


def pid_space() -> str:
    """Where a pid means one process: one boot of one system and a pid namespace in it; empty if it cannot be told."""
    boot, namespace = _fact("boot"), _fact("pid")
    return f"{boot}:{namespace}" if boot and namespace else ""


def clock_space() -> str:
    """Where `boot_clock` is one clock: one boot of one system; empty if that, or our time namespace, cannot be told."""
    return _fact("boot") if _fact("ahead") else ""


def has_ended(boot: str, machine: str) -> bool:
    """Whether that boot was one of this very machine, and is over; ``False`` where it cannot be told."""
    here = _fact("boot")
    return bool(boot and here and boot != here and machine == os.uname().nodename and _fact("own boot") == "no")


def boot_clock() -> float:
    """The monotonic clock of the system, as its first time namespace shows it; comparable within one `clock_space`."""
    return time.monotonic() - float(_fact("ahead") or 0.0)


def is_alive(pid: int) -> bool:
    """Whether there may be a process of that pid here; ``False`` only where the system says that there is none."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError) as error:
        pass_on(error)
        return True
    return True


def _fact(name: str) -> str:
    """Empty where the system does not tell; then it is asked again the next time, as the reason may pass."""
    known = _facts.get(name, "")
    if not known:
        try:
            known = _TOLD[name]()
        except OSError as error:
            pass_on(error)
            return ""
        _facts[name] = known
    return known


def _boot() -> str:
    if sys.platform != "darwin":
        return _text(_BOOT_ID).strip()
    load_module("subprocess")
    import subprocess

    asked = subprocess.run(["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, check=False)
    return asked.stdout.decode("ascii", "replace").strip()


def _text(path: str) -> str:
    """The content of a file. If memory runs out, a `Path` raises `TypeError` and a buffered file `RuntimeError`."""
    with open(path, "rb", buffering=0) as file:
        return file.read().decode("utf-8", "replace")


def _namespace(kind: str) -> str:
    try:
        return str(os.stat(f"/proc/self/ns/{kind}").st_ino)
    except FileNotFoundError:
        if sys.platform == "darwin" or os.path.isdir("/proc/self/ns"):  # a system without such namespaces
            return _INITIAL_TIME if kind == "time" else "0"
        raise


def _own_boot() -> str:
    """Whether this is a container with a boot id of its own, beside which there are others on the same system."""
    return "yes" if f" {_BOOT_ID} " in _text("/proc/self/mountinfo") else "no"


def _ahead() -> str:
    """How many seconds our time namespace shows the monotonic clock ahead of the first one."""
    if _fact("time") == _INITIAL_TIME:
        return "0.0"
    if os.stat("/proc/self/ns/time").st_ino != os.stat("/proc/self/ns/time_for_children").st_ino:
        return ""  # the offsets are those of the children
    for line in _text("/proc/self/timens_offsets").splitlines():
        name, seconds, nanoseconds = line.split()
        if name == "monotonic":
            return str(int(seconds) + int(nanoseconds) / 1e9)
    return ""


_TOLD: dict[str, Callable[[], str]] = {
    "boot": _boot, "own boot": _own_boot, "ahead": _ahead,
    "pid": lambda: _namespace("pid"), "time": lambda: _namespace("time"),
}  # fmt: skip


def _own_start() -> int:
    known = _facts.get("start")
    if known is None:
        known = str(_start_time(os.getpid()) or 0)
        if known != "0":
            _facts["start"] = known
    return int(known)


def _start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot; ``None`` when it is gone or a zombie, 0 where it cannot be told.

    /proc may be mounted so that it hides processes of others, or shows those of another pid namespace, and it tells
    the times of another time namespace with an offset.
    """
    try:
        known = os.readlink("/proc/self") == str(os.getpid()) and _fact("time") == _INITIAL_TIME
        fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split() if known else []
    except OSError as error:
        pass_on(error)
        fields = []
    if len(fields) < 20:
        return 0 if is_alive(pid) else None
    ended = fields[0] in "ZX" and int(fields[17]) <= 1  # where only the first thread has ended, the others are at work
    return None if ended else int(fields[19])


@in_child
def _find_out_anew() -> None:
    _at_work.clear()
    for name in ("own boot", "pid", "time", "ahead", "start"):
        _facts.pop(name, None)
