"""What the engine's surroundings give it: time, sleep, randomness, identity. Tests and simulations bring their own."""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tau.stores.contract import Owner

_JOB_VARIABLES = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


class Work:
    """Stands for the work of one owner. It ends with the last reference, so that an interrupt anywhere ends it, too."""


_at_work: weakref.WeakValueDictionary[str, Work] = weakref.WeakValueDictionary()


class Host:
    """The machine and process that runs this code."""

    now: Callable[[], float] = staticmethod(time.time)
    """Unix seconds; shown to people, never used to judge anybody."""

    monotonic: Callable[[], float] = staticmethod(time.monotonic)
    """Seconds of a clock that nobody steps; stands still while the machine sleeps."""

    def sleep(self, seconds: float, wake: threading.Event | None = None) -> None:
        """Wait for so long, or until ``wake`` is set."""
        (wake or threading.Event()).wait(seconds)

    def random(self) -> float:
        """A number in [0, 1) for jitter."""
        return random.random()

    def token(self) -> bytes:
        """Eight bytes that nobody else has."""
        return os.urandom(8)

    def owner(self, lease: float) -> Owner:
        """This process as the owner of a run, with a fresh nonce."""
        return Owner(
            nonce=os.urandom(12).hex(),
            host=os.uname().nodename,
            boot=boot_id(),
            pid=os.getpid(),
            started=_own_start(os.getpid()),
            lease=lease,
            since=self.now(),
            job=_job(),
        )

    def hold(self, owner: Owner) -> Work:
        """``owner`` is at work in this process for as long as what is returned is referred to."""
        work = _at_work[owner.nonce] = Work()
        return work

    def is_dead(self, owner: Owner) -> bool:
        """Whether that owner is certainly gone: of this very boot, and its process, or its work in this one, ended."""
        if owner.boot != boot_id() or owner.host != os.uname().nodename:
            return False
        if owner.pid == os.getpid() and owner.nonce not in _at_work:
            return True
        started = _start_time(owner.pid)
        return started is None or owner.started not in (0, started)


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


@cache
def boot_id() -> str:
    """One boot of one machine, and the pid namespace within it; empty where the system does not tell."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        return ""
    return f"{boot}:{namespace}"


@cache
def _own_start(pid: int) -> int:
    return _start_time(pid) or 0


def _start_time(pid: int) -> int | None:
    """When a process started, in ticks since boot; ``None`` when it is gone or a zombie, 0 where it cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except FileNotFoundError:
        return None if Path("/proc/self/stat").exists() else _alive(pid)
    except OSError:
        return _alive(pid)
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else int(fields[19])


def _alive(pid: int) -> int | None:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:
        return 0
    return 0


os.register_at_fork(after_in_child=_at_work.clear)
