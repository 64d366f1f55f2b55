"""Forks: the one place in tau that is notified of them.

A child has one thread and copies of all objects, and must not use what these stand for in the parent. An object that
has something which must not be inherited (a connection, a lock that another thread may hold) is told before and after.
"""

from __future__ import annotations

import _thread
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import ClassVar, TypeVar

from tau.errors import TauError

Work = TypeVar("Work", bound=Callable[[], object])

process: object = object()
"""Identifies this process: a child has a different one. An object that keeps it can tell, without a system call, that
it was copied into a child."""


class Forked:
    """An object that is told of forks, in the thread that forks."""

    is_last: ClassVar[bool] = False
    """Whether it is told last before a fork, and first after it."""

    def is_inside(self) -> bool:
        """Whether this very thread is in the middle of something here, as when a signal handler forks. Then
        `before_fork` is not called, because it could only wait for its own thread."""
        return False

    def before_fork(self, patience: bool) -> None:
        """Keep other threads out until `after_fork`. Without ``patience`` it must not wait."""

    def after_fork(self, in_child: bool, kept_out: bool) -> None:
        """Let other threads in again; ``kept_out`` says whether `before_fork` was called."""


def refusal(run_id: str, what: str) -> TauError:
    """The error for a child that was forked in the middle of a run and tries to do ``what`` for that run."""
    return TauError(
        f"process {os.getpid()} cannot {what}: it is a child that was forked off while run {run_id!r} was at work, "
        "and only the process that runs a node saves for it; give the result back to that process, and call ctx.step "
        "around future.result() there"
    )


_members: set[weakref.ref[Forked]] = set()
_in_child: list[Callable[[], object]] = []


class _Fork:
    def __init__(self) -> None:
        self.told: list[Forked] = []
        self.interrupted = False


class _Here(threading.local):
    def __init__(self) -> None:
        self.forks: list[_Fork] = []  # a signal handler may fork in the middle of a fork


_here = _Here()


def watch(member: Forked) -> None:
    """Tell ``member`` of forks from now on, for as long as something else refers to it."""
    _members.add(weakref.ref(member, _members.discard))


def in_child(work: Work) -> Work:
    """Call ``work`` in every child, before any `Forked` is told. Also a decorator."""
    _in_child.append(work)
    return work


def _alive() -> list[Forked]:
    # The set is copied in one step, as other threads add to it; the order is the same for all threads that fork.
    alive = [member for ref in list(_members) if (member := ref()) is not None]
    return sorted(alive, key=lambda member: (member.is_last, id(member)))


def _before() -> None:
    fork = _Fork()
    _here.forks.append(fork)
    try:
        members = _alive()
        # A handler must not wait in the middle of a commit: the fork of another thread may be waiting for its end.
        patience = not any(member.is_inside() for member in members)
        for member in members:
            if not member.is_inside():
                fork.told.append(member)
                with suppress(Exception):  # an error of one must not affect the others
                    member.before_fork(patience)
    except KeyboardInterrupt:  # Python drops what is raised here
        fork.interrupted = True


def _after_in_parent() -> None:
    fork = _here.forks.pop()
    for member in reversed(fork.told):
        with suppress(Exception):
            member.after_fork(in_child=False, kept_out=True)
    if fork.interrupted:
        _thread.interrupt_main()


def _after_in_child() -> None:
    global process  # noqa: PLW0603
    process = object()
    fork = _here.forks.pop()
    for work in _in_child:
        work()
    for member in _alive():
        with suppress(Exception):
            member.after_fork(in_child=True, kept_out=any(member is told for told in fork.told))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
