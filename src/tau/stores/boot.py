"""Which boot of this machine this is: what belongs to another one is over."""

from __future__ import annotations


def boot_id() -> str:
    """One boot of this machine; empty where the system has no name for it."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""
