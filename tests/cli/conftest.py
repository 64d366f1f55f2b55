"""A working directory to start the command in, and the stores to keep runs in."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_shell import Here, Shell, environment
from started_once import Starter


@pytest.fixture(scope="session", autouse=True)  # before a test looks which processes there are
def starter() -> Iterator[Starter]:
    starter = Starter(environment())
    yield starter
    starter.close()


@pytest.fixture
def shell(tmp_path: Path, starter: Starter) -> Shell:
    return Shell(tmp_path, starter)


@pytest.fixture(params=["sqlite:///runs.db", "file:runs"], ids=["sqlite", "file"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def here(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Call the command in this process, which takes milliseconds: ``here("runs", code=0)``."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("TAU_STORE", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    return Here(capsys)


@pytest.fixture
def refused(here: Here) -> Callable[..., str]:
    """Call the command in this process, for input that it refuses with exit code 2; gives what it says on stderr."""

    def call(*words: str) -> str:
        done = here(*words, code=2)
        assert done.out == ""
        assert "Traceback" not in done.err
        return done.err

    return call
