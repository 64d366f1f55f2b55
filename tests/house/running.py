"""Run what stands on a page."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from house_source import ROOT
from pages import commands, python_program, saved_files

import tau

# What the installed command does.
TAU = "import sys; from tau.cli import main; sys.argv[0] = 'tau'; sys.exit(main())"


def run(folder: Path, *command: str, beside: Path | None = None) -> None:
    """Run a command in ``folder`` with the tau of this test run, and the modules ``beside`` the page."""
    path = os.pathsep.join(str(place) for place in (Path(tau.__path__[0]).parent, beside) if place)
    env = {**os.environ, "NO_COLOR": "1", "PYTHONPATH": path, "TMPDIR": str(folder)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}\n{done.stderr}"


def run_page(page: Path, folder: Path) -> None:
    """First all Python of the page, as one file, so that its blocks share their names; then its `tau` commands, also
    where they are given as `python -m tau`.

    In ``folder``, which is empty but for ``examples``, as the reader of a checkout sees it.
    """
    (folder / "examples").symlink_to(ROOT / "examples")
    for name, text in saved_files(page):
        (folder / name).write_text(text, "utf-8")
    program = python_program(page)
    if program:
        (folder / "page.py").write_text(program, "utf-8")
        run(folder, sys.executable, "page.py", beside=page.parent)
    for command in commands(page):
        words = shlex.split(command, comments=True)
        if words[:3] == ["python", "-m", "tau"]:
            run(folder, sys.executable, *words[1:], beside=page.parent)
        elif words[0] == "tau":
            run(folder, sys.executable, "-c", TAU, *words[1:], beside=page.parent)
