"""A working directory to start the command in, and the stores to keep runs in."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_shell import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(params=["sqlite:///runs.db", "file:runs"], ids=["sqlite", "file"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)
