"""To look at a file is not to do its work: no graph is run while the command imports what names one."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cli_shell import PIPELINE, Here, Shell

import tau

STORED = PIPELINE.replace('StateGraph("climate")', 'StateGraph("climate", store="sqlite:///own.db")')
AT_MODULE_LEVEL = {
    "execute": "graph.execute({}, run_id='r', if_exists='resume')",
    "resume": "graph.resume('r')",
    "async": "import asyncio\nasyncio.run(graph.aexecute({}, run_id='r'))",
    "stream": "import asyncio\nasync def go():\n    async for _ in graph.astream({}): pass\nasyncio.run(go())",
    "a thread": "from concurrent.futures import ThreadPoolExecutor\n"
    "with ThreadPoolExecutor() as pool:\n    pool.submit(graph.execute, {}, run_id='r').result()",
}
COMMANDS = {
    "graph": ["graph"],
    "plan": ["resume", "r", "--plan"],
    "run": ["run"],
    "resume": ["resume", "r"],
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("call", AT_MODULE_LEVEL.values(), ids=AT_MODULE_LEVEL)
def test_a_file_that_runs_its_graph_when_it_is_imported_is_refused(
    shell: Shell, here: Here, call: str, command: list[str]
) -> None:
    shell.write("script.py", STORED + call + "\n")
    said = here(*command, "script.py:graph", code=2).err
    assert "importing script.py would run graph 'climate'" in said
    assert 'if __name__ == "__main__":' in said
    assert not (shell.folder / "calls.txt").exists()


def test_a_function_that_makes_the_graph_does_not_run_it_either(shell: Shell, here: Here) -> None:
    shell.write("script.py", STORED + "def made():\n    graph.execute({})\n    return graph\n")
    assert "calling script.py:made() would run graph 'climate'" in here("graph", "script.py:made", code=2).err
    assert not (shell.folder / "calls.txt").exists()


def test_a_file_that_keeps_its_run_for_the_script_is_used_by_both(shell: Shell, here: Here) -> None:
    shell.write("script.py", STORED + "if __name__ == '__main__':\n    graph.execute({}, run_id='r')\n")
    here("graph", "script.py:graph")
    assert not (shell.folder / "calls.txt").exists()
    subprocess.run([sys.executable, "script.py"], cwd=shell.folder, env=shell.env, check=True)
    assert "returns the stored result" in here("resume", "r", "script.py:graph", "--plan").out
    assert shell.calls == ["ingest", "analyze", "report"]


def test_what_a_node_imports_and_runs_is_no_concern_of_the_command(shell: Shell, here: Here) -> None:
    """A run inside a run, also one that stands at the top of a module that a node imports."""
    shell.write("inner_module.py", STORED.replace("own.db", "inner.db") + "final = graph.execute({})\n")
    shell.write(
        "outer.py",
        "from tau import StateGraph\n"
        "graph = StateGraph('outer')\n"
        "@graph.node\n"
        "def only(state):\n"
        "    import inner_module\n"
        "    return {'text': inner_module.final['text']}\n"
        "graph.sequence(only)\n",
    )
    assert '"mean 2"' in here("run", "outer.py:graph", "--values", "--json").out
    graph = tau.StateGraph("after")
    graph.add_node("only", lambda state: {"done": True})
    graph.sequence("only")
    assert graph.execute({})["done"]
