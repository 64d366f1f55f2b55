"""What mypy makes of programs that use typed and plain graphs."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tau
from tau import agents, hub, observers, testing

PROGRAM = Path(__file__).with_name("checked_program.py")
EVERY_NAME = Path(__file__).parents[1] / "house" / "every_name.py"
WRONG = """
from dataclasses import dataclass
from tau import StateGraph

@dataclass
class Data:
    count: int

graph = StateGraph("typed", schema=Data)
final = graph.execute({"count": 1})
text: str = final.typed.count
print(final.typed.wrong)
graph.execute(5)
StateGraph("typed", schema=5)
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy found out about tau and the standard library: most of its time, and the same for each program."""
    return tmp_path_factory.mktemp("mypy")


def mypy(program: Path, cache: Path) -> list[str]:
    """The errors, each with the number of its line first."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        f"--cache-dir={cache}",
        "--no-error-summary",
    ]
    done = subprocess.run([*command, str(program)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return [line.removeprefix(f"{program}:") for line in done.stdout.splitlines()]


def test_typed_and_plain_graphs_are_what_the_types_say(cache: Path) -> None:
    assert mypy(PROGRAM, cache) == []


def test_what_does_not_fit_the_schema_is_an_error_of_the_type_checker(tmp_path: Path, cache: Path) -> None:
    program = tmp_path / "wrong.py"
    program.write_text(WRONG, "utf-8")
    lines = WRONG.splitlines()
    wrong = [lines[int(error.partition(":")[0]) - 1] for error in mypy(program, cache) if "error:" in error]
    assert wrong == lines[-4:]


def test_a_program_that_uses_every_public_name_passes_strictly(cache: Path) -> None:
    used = {one.id for one in ast.walk(ast.parse(EVERY_NAME.read_text("utf-8"))) if isinstance(one, ast.Name)}
    assert not set(tau.__all__) - used
    assert mypy(EVERY_NAME, cache) == []


def test_every_public_name_has_a_type(tmp_path: Path, cache: Path) -> None:
    """A name that is loaded when it is first used is `Any` to an editor unless its home is told to type checkers."""
    names = [
        (home.__name__, name) for home in (tau, testing, agents, hub, observers) for name in sorted(set(home.__all__))
    ]
    program = tmp_path / "each.py"
    program.write_text(
        "import tau.agents, tau.hub, tau.observers, tau.testing\n"
        + "".join(f"reveal_type({home}.{name})\n" for home, name in names),
        "utf-8",
    )
    told = [line for line in mypy(program, cache) if "note: Revealed type" in line]
    assert len(told) == len(names)
    untyped = [name for name, line in zip(names, told, strict=True) if line.endswith('is "Any"')]
    assert not untyped
