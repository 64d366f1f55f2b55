"""A working directory to start the command in, and the stores to keep runs in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_shell import Shell

from tau.cli import main


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(params=["sqlite:///runs.db", "file:runs"], ids=["sqlite", "file"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def refused(shell: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Call the command in this process, for input that it refuses with exit code 2; gives what it says on stderr."""
    monkeypatch.chdir(shell.folder)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("TAU_STORE", raising=False)
    modules = set(sys.modules)

    def call(*words: str) -> str:
        try:
            assert main(words) == 2
        finally:
            for name in set(sys.modules) - modules:
                del sys.modules[name]
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        return said.err

    return call
