"""Where a run comes from: code revision, versions, host. Recorded at admission and where it changed, for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache

from tau.late_imports import load_module
from tau.version import __version__


@cache
def provenance() -> dict[str, str]:
    """The host, Python, loaded packages, and the git revision of the working directory with a mark for what is not
    committed.

    Gathered once per process; what cannot be told is left out.
    """
    system = os.uname()
    return {
        "host": system.nodename,
        "pid": str(os.getpid()),
        "python": sys.version.split()[0],
        "platform": f"{system.sysname}-{system.release}-{system.machine}",
        "program": os.path.basename(sys.argv[0]) if sys.argv else "",
        "tau": __version__,
        **_versions(),
        **_revision(),
    }


_OF_ONE_PROCESS = ("pid", "program")


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, list[str]]:
    """Facts present in both whose values differ, as ``{fact: [before, now]}``, but for those of a single process."""
    return {
        fact: [old, now[fact]]
        for fact, old in before.items()
        if now.get(fact, old) != old and fact not in _OF_ONE_PROCESS
    }


def _versions() -> dict[str, str]:
    """The versions of the packages that are loaded and say theirs, under ``package.<name>``."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        version = vars(module).get("__version__")  # not getattr, which may warn
        is_ours = version is __version__  # this package, or a module with ``from tau import *``
        if "." not in name and isinstance(version, str) and not is_ours and name not in sys.stdlib_module_names:
            found[f"package.{name}"] = version
    return found


def _revision() -> dict[str, str]:
    load_module("subprocess")
    import subprocess  # only who begins a run, or is told how it goes on, needs it

    command = ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = done.stdout.decode("utf-8", "replace").splitlines() if done.returncode == 0 else []
    found = [line.rpartition(" ")[2] for line in lines if line.startswith("# branch.oid ")]
    if not found or found == ["(initial)"]:
        return {}
    return {"git_revision": found[0], "git_dirty": "no" if all(line.startswith("#") for line in lines) else "yes"}
