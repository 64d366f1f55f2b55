"""Where tau cannot run, `import tau` says so in one sentence."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import os, sys
sys.platform = "win32"
sys.modules["fcntl"] = None  # as where there is none: the import fails
for name in ("fork", "register_at_fork", "O_CLOEXEC", "sched_getaffinity"):
    delattr(os, name)
"""


def test_on_windows_the_import_names_wsl() -> None:
    for statement in ("import tau", "from tau.cli import main", "import tau.testing"):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT + statement], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith(
            "ImportError: tau runs on Linux and macOS, and this Python is made for win32: on Windows"
        )
        assert "WSL" in last
