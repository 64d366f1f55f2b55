"""A worker process imports the script for what is defined in it, and does none of its work again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tau import open_store

LONG = 120

SCRIPT = """
import asyncio
from tau import StateGraph

first = StateGraph("first", store="sqlite:///runs.db")

@first.node
def costly(state):
    with open("calls.txt", "a") as calls:
        calls.write("costly\\n")

first.sequence(costly)
second = StateGraph("second", store="sqlite:///runs.db")

def square(item):
    return item * item

@second.node
def squares(state, ctx):
    return {"out": ctx.map("square", square, [1, 2, 3], executor="processes", workers=2)}

second.sequence(squares)

async def streamed():
    async for _ in first.astream({}, run_id="one", if_exists="resume"):
        pass
"""
END = "second.execute({}, run_id='two', if_exists='resume')"
EXECUTE = "first.execute({}, run_id='one', if_exists='resume')"
CALLS = {
    "execute": EXECUTE,
    "resume": "first.resume('one')",
    "aexecute": f"asyncio.run({EXECUTE.replace('execute', 'aexecute')})",
    "aresume": "asyncio.run(first.aresume('one'))",
    "astream": "asyncio.run(streamed())",
}
GUARD = "if __name__ == '__main__':"


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    (folder / "script.py").write_text(program)
    command = [sys.executable, "script.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LONG, check=False)


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_graph_runs_while_a_worker_imports_the_script(tmp_path: Path, call: str) -> None:
    """Not the graphs before the map either: their nodes ran once more in each worker."""
    before = f"{GUARD}\n    {EXECUTE}\n" if "resume(" in call else ""
    done = run(tmp_path, f"{SCRIPT}{before}{call}\n{END}\n")
    assert (tmp_path / "calls.txt").read_text() == "costly\n"
    last = done.stderr.split("tau.errors.ExecutionError: ")[-1]
    assert "a worker process that imports" in last
    assert "would run graph 'first'" in last
    assert last.count('if __name__ == "__main__":') == 1
    assert "RunOwnedError" not in done.stderr
    assert [one.status for one in open_store(f"sqlite:///{tmp_path}/runs.db").runs()].count("finished") == 1


def test_a_node_in_a_process_of_its_own_names_the_graph_of_the_script(tmp_path: Path) -> None:
    script = SCRIPT.replace("@first.node", "@first.node(executor='processes')")
    done = run(tmp_path, f"{script}{EXECUTE}\n")
    assert "would run graph 'first'" in done.stderr
    assert not (tmp_path / "calls.txt").exists()


def test_a_guarded_script_runs_graphs_and_so_do_its_functions_in_a_worker(tmp_path: Path) -> None:
    inside = SCRIPT.replace("    return item * item", "    first.execute({})\n    return item * item")
    done = run(tmp_path, f"{inside}{GUARD}\n    {EXECUTE}\n    print({END}['out'])\n")
    assert done.stdout == "[1, 4, 9]\n", done.stderr
    assert (tmp_path / "calls.txt").read_text() == 4 * "costly\n"


def test_pools_of_the_script_itself_import_it_as_ever(tmp_path: Path) -> None:
    pool = f"""{SCRIPT}
from multiprocessing import get_context
{EXECUTE}
{GUARD}
    with get_context("spawn").Pool(1) as pool:
        print(pool.map(square, [2]))
"""
    done = run(tmp_path, pool)
    assert done.stdout == "[4]\n", done.stderr


DASK = SCRIPT.replace('executor="processes"', 'executor="dask"')


def test_no_graph_runs_while_a_dask_worker_imports_the_script(tmp_path: Path) -> None:
    done = run(tmp_path, f"{DASK}{EXECUTE}\n{END}\n")
    assert (tmp_path / "calls.txt").read_text() == "costly\n"
    assert "a dask worker that imports this script would run graph 'first'" in done.stderr
    last = done.stderr.split("tau.errors.ExecutionError: ")[-1]
    assert 'what starts work in a script stands under if __name__ == "__main__":' in last


def test_a_guarded_script_has_its_map_on_dask(tmp_path: Path) -> None:
    done = run(tmp_path, f"{DASK}{GUARD}\n    {EXECUTE}\n    print({END}['out'])\n")
    assert done.stdout == "[1, 4, 9]\n", done.stderr
