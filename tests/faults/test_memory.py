"""If memory runs out while a process finds out who it is, that is what is raised."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import _testcapi
from tau import host

def ask():
    host._facts.clear()
    return host._own_start(), host.pid_space(), host.clock_space()

ask()
failed = at = 0
while failed == 0 or at < last + 200:
    at += 1
    _testcapi.set_nomemory(at, at + 1)
    try:
        ask()
    except MemoryError:
        failed, last = failed + 1, at
    finally:
        _testcapi.remove_mem_hooks()
print(failed)
"""


def test_memory_that_runs_out_while_an_owner_is_made_is_an_error_of_memory() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50
