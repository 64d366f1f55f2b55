"""Where a run comes from: code revision, versions, host. Recorded at admission and where it changed, for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache


@cache
def provenance() -> dict[str, str]:
    """The host, Python, loaded packages, and the git revision of the working directory with a mark for what is not
    committed.

    Gathered once per process; what cannot be told is left out.
    """
    import platform  # like subprocess below: only a run's admission needs it

    facts = {
        "host": os.uname().nodename,
        "pid": str(os.getpid()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "program": os.path.basename(sys.argv[0]) if sys.argv else "",
    }
    facts["tau"] = _tau_version()
    facts.update(_versions())
    revision = _git("rev-parse", "HEAD")
    if revision:
        facts["git_revision"] = revision
        facts["git_dirty"] = "yes" if _git("status", "--porcelain", "--untracked-files=no") else "no"
    return facts


_OF_ONE_PROCESS = ("pid", "program")


def differences(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, list[str]]:
    """What both tell and tell otherwise, as ``{fact: [before, now]}``; what belongs to one process is no difference."""
    return {
        fact: [old, now[fact]]
        for fact, old in before.items()
        if now.get(fact, old) != old and fact not in _OF_ONE_PROCESS
    }


def _tau_version() -> str:
    from importlib import metadata

    try:
        return metadata.version("tau-orchestrate")
    except metadata.PackageNotFoundError:
        return "not installed"


def _versions() -> dict[str, str]:
    """The versions of the packages that are loaded and say theirs, under ``package.<name>``."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        version = vars(module).get("__version__")  # not getattr, which may warn
        if "." not in name and isinstance(version, str) and name not in sys.stdlib_module_names:
            found[f"package.{name}"] = version
    return found


def _git(*arguments: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
