"""Builds the crash-point library and drives it from inside a process that was started with it preloaded."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("crashpoints.c")
MODES = ("off", "count", "before", "after", "torn", "eio", "enospc", "eacces", "emfile", "lie", "short", "stop")
WRITE = 0
"""The kind of call that can be torn, as the library's trace numbers it."""


def build(directory: Path) -> Path:
    """Compile the library into ``directory``; ends the program with the compiler's name if there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        sys.exit("cc is missing: the crash points are written in C; install a C compiler (Debian: apt install gcc)")
    library = directory / "crashpoints.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True)
    return library


class CrashPoints:
    """The preloaded library. Only one directory is watched at a time, in this process and those it forks."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(os.environ["LD_PRELOAD"])
        self._library.tau_fault_arm.argtypes = [ctypes.c_char_p, ctypes.c_long] + [ctypes.c_int] * 3
        self._library.tau_fault_count.restype = ctypes.c_long

    def arm(self, directory: Path, mode: str, at: int = 0, trace: int = -1) -> None:
        """From now on the ``at``-th call below ``directory`` goes wrong; ``0`` only counts. ``eio-forever`` stays."""
        name, _, span = mode.partition("-")
        where = os.fsencode(directory.resolve())
        self._library.tau_fault_arm(where, at, MODES.index(name), span == "forever", trace)

    def disarm(self) -> None:
        self._library.tau_fault_disarm()

    def count(self) -> int:
        """How many calls were counted since `arm`."""
        return int(self._library.tau_fault_count())
