"""Completion offers run ids and named graphs, harmlessly, and makes nothing."""

from __future__ import annotations

import subprocess

import pytest
from cli_shell import Here, Shell, command
from click.shell_completion import ShellComplete

from tau.cli.app import tau as group

GRAPH = "pipeline.py:graph"


def offered(*words: str, incomplete: str = "") -> list[str]:
    complete = ShellComplete(group, {}, "tau", "_TAU_COMPLETE")
    return [item.value for item in complete.get_completions(list(words), incomplete) if item.type == "plain"]


def test_run_ids_are_offered_unless_a_shell_would_take_them_for_more(here: Here, store: str) -> None:
    for run_id in ("a-1", "a-2", "b", "-a", "a b", "a$(touch x)", "a;b", "a\nb", "a\x1b[31m"):
        here("run", GRAPH, f"--run-id={run_id}", "--store", store, "--quiet")
    assert offered("show", "--store", store) == ["b", "a-2", "a-1"]
    assert offered("resume", "--store", store, incomplete="a") == ["a-2", "a-1"]
    assert offered("graph", "--store", store, "--run", incomplete="b") == ["b"]


@pytest.mark.usefixtures("here")
def test_completion_creates_no_store_and_imports_no_graph(shell: Shell, store: str) -> None:
    shell.write("pyproject.toml", '[tool.tau.graphs]\nclimate = "bomb.py:graph"\n"x y" = "bomb.py:graph"\n')
    shell.write("bomb.py", "open('exploded', 'w')")
    before = sorted(shell.folder.iterdir())
    assert offered("show", "--store", store) == []
    assert offered("show", "--store", "nonsense://") == []
    assert offered("run") == ["climate"]
    assert offered("resume", "r", incomplete="cl") == ["climate"]
    assert offered("graph", incomplete="pipe") == []
    shell.write("pyproject.toml", "[[[")
    assert offered("run") == offered("show") == []
    assert sorted(shell.folder.iterdir()) == before


def test_the_lines_on_the_page_give_a_script_and_answers(shell: Shell) -> None:
    def ask(**variables: str) -> str:
        done = subprocess.run(
            command(), cwd=shell.folder, env={**shell.env, **variables}, capture_output=True, text=True, check=False
        )
        assert done.returncode in (0, 1), done.stderr
        return done.stdout

    for kind in ("zsh", "fish"):
        assert "_TAU_COMPLETE" in ask(_TAU_COMPLETE=f"{kind}_source")
    shell.run("run", GRAPH, "--run-id", "climate-2024")
    answer = ask(_TAU_COMPLETE="bash_complete", COMP_WORDS="tau show cli", COMP_CWORD="2")
    assert answer == "plain,climate-2024\n"
