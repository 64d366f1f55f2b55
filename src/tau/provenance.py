"""Where a run comes from: code revision, versions, host. Recorded at admission, for people."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache


@cache
def provenance() -> dict[str, str]:
    """The host, user, Python, and the git revision of the working directory with a mark for uncommitted changes.

    Gathered once per process; what cannot be told is left out.
    """
    facts = {
        "host": os.uname().nodename,
        "pid": str(os.getpid()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "program": os.path.basename(sys.argv[0]) if sys.argv else "",
    }
    revision = _git("rev-parse", "HEAD")
    if revision:
        facts["git_revision"] = revision
        facts["git_dirty"] = "yes" if _git("status", "--porcelain", "--untracked-files=no") else "no"
    return facts


def _git(*arguments: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=2, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
