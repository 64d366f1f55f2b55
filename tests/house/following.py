"""Follow a page as a reader would: save its files, give its commands in order, compare what they show.

- A block is saved under the name that the paragraph before it ends with, in backticks and with a colon.
- A `sh` block is given to bash. It must exit with 0, or with N where the paragraph before it says "exit code N". One
  that installs something is left to the reader, and a script of the checkout has tests of its own.
- Where the paragraph before says "kill it while", it gets SIGKILL once the lines before "Killed" are shown.
- `python` blocks without a name, up to the next command, share their names, as in one interpreter.
- A `text` block after one of these is what it shows, but for times, places and process ids; `...` stands for anything.

``~/tau`` is the checkout, as the pages call it; the home directory holds nothing else.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from itertools import groupby
from pathlib import Path

from house_source import ROOT
from pages import Block, blocks
from running import TAU

import tau

DIFFERS = [
    (r"^\S*bash: .*|^Killed.*", ""),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( UTC|\+00:00)?", "WHEN"),
    (r"\b\d[\d,.]* ?(ns|us|µs|ms|s|min|h)\b", "TIME"),
    (r"\bTIME ago\b", "WHEN"),
    (r"\bpid \d+ on [\w.-]+", "pid N on HOST"),
    (r"\b(sqlite|file):/*\S*/", r"\1:PLACE/"),
    (r"^(python|host|git|platform) .*", r"\1 IT"),
    (r"\s+", " "),
]
LEFT_OUT = re.compile(r"\b(pip|venv|uv|conda)\b|^scripts/", re.M)
FILE = re.compile(r"`([\w./-]+\.\w+)`[^`]*:$")
SEEN = "\x02 what was printed before\n"


class Reader:
    """Somebody with an empty directory, an environment with tau, and a checkout."""

    def __init__(self, folder: Path) -> None:
        home = folder / "home"
        self.place = home / "work"
        self.place.mkdir(parents=True)
        (home / "tau").symlink_to(ROOT)
        path = os.pathsep.join([str(programs(folder)), os.environ["PATH"]])
        source = str(Path(tau.__path__[0]).parent)
        self.env = {**os.environ, "HOME": str(home), "NO_COLOR": "1", "PATH": path, "PYTHONPATH": source}

    def gives(self, commands: str, code: int) -> str:
        """What a block of commands shows."""
        return self._runs(["bash", "-c", commands], commands, code)

    def kills(self, command: str, last: str) -> str:
        """What a command shows that is killed as soon as it has shown a line like ``last``."""
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        shown = ""
        with subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=self.place, env=self.env, text=True, **both
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                shown += line
                if normal(line) == normal(last):
                    process.kill()
                    break
            shown += process.stdout.read()
        assert process.returncode == -signal.SIGKILL, f"it ended by itself:\n{shown}"
        return f"{shown}Killed\n"

    def types(self, texts: list[str]) -> list[str]:
        """What blocks of Python print, one after the other in one interpreter."""
        whole = f"\nprint({SEEN!r}, end='', flush=True)\n".join(texts)
        return self._runs([sys.executable, "-c", whole], whole, 0).split(SEEN)

    def _runs(self, command: list[str], text: str, code: int) -> str:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=self.place, env=self.env, text=True, timeout=300, check=False, **both)
        found = done.returncode if done.returncode >= 0 else 128 - done.returncode  # as a shell counts
        assert found == code, f"exits with {found}:\n{text}\n{done.stdout}"
        return done.stdout


def programs(folder: Path) -> Path:
    """A directory with `tau` and `python`, as an environment has them."""
    place = folder / "bin"
    place.mkdir()
    for name, text in (("tau", f"#!{sys.executable}\n{TAU}\n"), ("python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')):
        (place / name).write_text(text, "utf-8")
        (place / name).chmod(0o755)
    return place


def follow(page: Path, folder: Path) -> None:
    """Everything on the page, from top to bottom."""
    reader = Reader(folder)
    steps = [(block, said_before(page, block)) for block in blocks(page)]
    typed: list[str] = []
    shown: str | None = None
    for number, (block, before) in enumerate(steps):
        if block.language == "text":
            if shown is not None:
                compare(block, shown)
            shown = None
        elif named := FILE.search(before):
            (reader.place / named[1]).write_text(block.text, "utf-8")
            shown = None
        elif block.language == "python":
            typed = typed or reader.types(together(steps[number:]))
            shown = typed.pop(0)
        elif block.language == "sh" and not LEFT_OUT.search(block.text):
            if "kill it while" in before:
                shown = reader.kills(block.text, steps[number + 1][0].text.partition("Killed")[0].splitlines()[-1])
                continue
            code = re.search(r"exit code (\d+)", before)
            shown = reader.gives(block.text, int(code[1]) if code else 0)


def said_before(page: Path, block: Block) -> str:
    """The paragraph before a block, as one line."""
    lines = page.read_text("utf-8").splitlines()[: block.line - 2]
    return " ".join("\n".join(lines).strip().rpartition("\n\n")[2].split())


def together(steps: list[tuple[Block, str]]) -> list[str]:
    """The Python blocks from here to the next command or file."""
    found: list[str] = []
    for block, before in steps:
        if block.language == "sh" or FILE.search(before):
            break
        found += [block.text] if block.language == "python" else []
    return found


def compare(block: Block, shown: str) -> None:
    expected = normal(block.text)
    pattern = r"[\s\S]*".join(re.escape(part) for part in expected.split("..."))
    shown = as_on_a_terminal(shown)
    assert re.fullmatch(pattern, normal(shown)), f"line {block.line} shows\n{block.text}\nand it is\n{shown}"


def as_on_a_terminal(shown: str) -> str:
    """Tables without the columns in which there is nothing, which a pipe gets too."""
    found = []
    for is_row, lines in groupby(shown.splitlines(), lambda line: "\t" in line):
        rows = [line.split("\t") for line in lines]
        if is_row and len(rows) > 1 and len({*map(len, rows)}) == 1:
            filled = [any(column[1:]) for column in zip(*rows, strict=True)]
            rows = [[cell for cell, there in zip(row, filled, strict=True) if there] for row in rows]
        found += ["\t".join(row) for row in rows]
    return "\n".join(found)


def normal(text: str) -> str:
    """The lines, with what differs from machine to machine replaced."""
    lines = []
    for line in text.splitlines():
        alike = line
        for pattern, replacement in DIFFERS:
            alike = re.sub(pattern, replacement, alike)
        lines.append(alike.strip())
    return "\n".join(line for line in lines if line)
