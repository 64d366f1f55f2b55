"""Where tau runs."""

from __future__ import annotations

import sys

try:
    import fcntl  # noqa: F401 - the locks of files, which only these systems have
except ImportError:
    raise ImportError(
        f"tau runs on Linux and macOS, and this Python is made for {sys.platform}: on Windows, install tau inside WSL, "
        "the Windows Subsystem for Linux (`wsl --install`), and use it there"
    ) from None
