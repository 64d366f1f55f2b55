"""The pytest plugin: two lines say that a graph survives every kill, and who does not use it pays nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "src"

GRAPHS = """
from tau import StateGraph

def graph_of(**nodes):
    graph = StateGraph("g")
    for name, node in nodes.items():
        graph.add_node(name, node, version="1")
    graph.sequence(*nodes)
    return graph

def good(state):
    return {"a": 1}

def bad(state, ctx):
    return {"late": ctx.attempt > 1}
"""


def pytest_in(folder: Path, text: str, name: str = "test_it.py") -> str:
    """What pytest says of that file, with the plugin as an installed one is loaded."""
    (folder / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tau_pytest", "-p", "no:cacheprovider", "-c", os.devnull]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTEST_ADDOPTS", None)
    command += ["--rootdir", str(folder), str(folder / name)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_two_lines_say_that_a_graph_survives(tmp_path: Path) -> None:
    """A test fails with what was found, and the call that shows it again."""
    (tmp_path / "graphs.py").write_text(GRAPHS)
    said = pytest_in(
        tmp_path,
        "from graphs import bad, good, graph_of\n"
        "def test_good(crash_test):\n"
        "    crash_test(graph_of(good=good), {'x': 1}, points=1)\n"
        "def test_bad(crash_test):\n"
        "    crash_test(graph_of(good=good, bad=bad), at=['before:3'])\n",
    )
    assert "1 failed, 1 passed" in said, said
    assert "CrashTestError: 1 broken promises" in said
    assert "killed before commit 3: the final state differs: late is another" in said
    assert "again: crash_test(..., at=['before:3'])" in said


def test_stores_that_misbehave_are_at_hand(tmp_path: Path) -> None:
    (tmp_path / "graphs.py").write_text(GRAPHS)
    said = pytest_in(
        tmp_path,
        "from graphs import good, graph_of\n"
        "def run(store):\n"
        "    graph = graph_of(**{f'n{number}': good for number in range(8)})\n"
        "    graph.use_store(store)\n"
        "    assert graph.execute({})['a'] == 1\n"
        "def test_slow(slow_store):\n"
        "    slow_store.seconds = 0.001\n"
        "    run(slow_store)\n"
        "def test_flaky(flaky_store):\n"
        "    flaky_store.probability = 0.3\n"
        "    run(flaky_store)\n"
        "    assert flaky_store.failures > 0\n"
        "def test_counting(counting_store):\n"
        "    run(counting_store)\n"
        "    assert counting_store.committed['batches'] == counting_store.calls['commit'] == 9\n",
    )
    assert "3 passed" in said, said


def test_where_it_is_not_used_tau_is_not_loaded(tmp_path: Path) -> None:
    said = pytest_in(
        tmp_path,
        "import sys\n"
        "def test_nothing():\n"
        "    assert 'tau_pytest' in sys.modules\n"
        "    assert not [name for name in sys.modules if name.partition('.')[0] in ('tau', 'msgspec', 'apsw')]\n",
    )
    assert "1 passed" in said, said
