"""Work done in a forked child that may be killed at any instruction."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

PATIENCE_SECONDS = 60
"""After this a child says where it is, is ended, and counts as hung."""


class End(NamedTuple):
    """How a child ended: by a signal, or with the JSON value its work returned."""

    signal: int
    value: Any

    @property
    def killed(self) -> bool:
        return self.signal == signal.SIGKILL


def fork(work: Callable[[], Any]) -> tuple[int, int]:
    """Start ``work`` in a child: its pid, and the descriptor on which its value will come."""
    receive, send = os.pipe()
    gc.freeze()
    pid = os.fork()
    if pid:
        os.close(send)
        return pid, receive
    try:
        os.close(receive)
        faulthandler.dump_traceback_later(PATIENCE_SECONDS)
        signal.alarm(PATIENCE_SECONDS + 1)
        text = json.dumps(work())
    except BaseException:
        text = json.dumps({"crashed": traceback.format_exc()})
    data = text.encode()
    while data:
        data = data[os.write(send, data) :]
    os._exit(0)


def join(pid: int, receive: int) -> End:
    """Wait for a child of `fork`, so that nothing of it is left when this returns."""
    with open(receive, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return End(os.WTERMSIG(status), None)
    return End(0, json.loads(data))


def in_child(work: Callable[[], Any]) -> End:
    """Do ``work`` in a child and wait for it."""
    return join(*fork(work))


def descriptors() -> list[str]:
    """What this process has open, without the descriptor that the looking itself needs."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(f"{name} -> {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            continue
    return sorted(found)
