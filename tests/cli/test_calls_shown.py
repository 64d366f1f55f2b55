"""Journaled calls as `tau show` and `tau history` show them: made, replayed, tokens, cost; hostile texts as text."""

from __future__ import annotations

import pytest
from cli_shell import Here, Shell

import tau.agents  # noqa: F401 - here, a command forgets the modules that it was the first to import

GRAPH = "talks.py:graph"
TALKS = r"""
from tau import StateGraph, agents
from tau.agents import Response, Usage

def reply(call):
    return Response("\x1b[31m<b>[red]SAID[/red]</b>", usage=Usage(1_000_000, 500_000))

one = agents.function(reply, name="one\x1b[31m[red]", prices={"function": (2.0, 4.0)}, journal_prompts=True)
two = agents.function(reply, name="two")
graph = StateGraph("talks", store="sqlite:///runs.db")

@graph.node
def ask(state, ctx):
    one.chat("first")
    one.chat("second")
    ctx.map("m", lambda n: two.chat(str(n)).text, [1])

@graph.node
def more(state, ctx):
    ctx.journal("plain", str, 1)

graph.sequence(ask, more)
"""


@pytest.fixture
def talks(shell: Shell, here: Here) -> Here:
    shell.write("talks.py", TALKS)
    here("run", GRAPH, "--run-id", "r")
    return here


def test_show_counts_the_calls_of_each_node(talks: Here) -> None:
    found = talks.json("show", "r", "--store", "sqlite:///runs.db")["calls"]
    names = ("node", "name", "model", "calls", "replayed", "input_tokens", "output_tokens")
    numbers = [tuple(one[name] for name in names) for one in found]
    assert numbers == [
        ("ask", "one\x1b[31m[red]", "function", 2, 0, 2_000_000, 1_000_000),
        ("ask", "two", "function", 1, 0, 1_000_000, 500_000),
        ("more", "plain", "", 1, 0, 0, 0),
    ]
    assert [one["cost"] for one in found] == [8.0, None, None]
    assert all(one["duration_seconds"] >= 0 for one in found)


def test_what_others_named_is_shown_as_text(talks: Here) -> None:
    shown = talks("show", "r", "--store", "sqlite:///runs.db").out
    assert "\x1b" not in shown
    assert r"one\x1b[31m[red]" in shown
    assert "2,000,000" in shown
    assert "3,000,000" in shown  # of all together
    assert "cost" in shown
    told = talks("history", "r", "--store", "sqlite:///runs.db").out
    assert "\x1b" not in told
    assert "call plain" in told
    assert "SAID" not in shown + told


def test_prompts_that_an_agent_keeps_are_shown_with_the_values(talks: Here) -> None:
    where = ("--store", "sqlite:///runs.db")
    assert talks.json("show", "r", *where)["prompts"] == []
    asked = talks.json("show", "r", "--values", *where)["prompts"]
    assert [(one["node"], one["name"], one["role"], one["content"]) for one in asked] == [
        ("ask", "one\x1b[31m[red]", "user", "first"),
        ("ask", "one\x1b[31m[red]", "user", "second"),
    ]
    shown = talks("show", "r", "--values", *where).out
    assert "second" in shown
    assert "\x1b" not in shown


def test_calls_of_a_replay_cost_nothing(talks: Here) -> None:
    talks("replay", "r", GRAPH, "--as", "b")
    found = talks.json("show", "b", "--store", "sqlite:///runs.db")["calls"]
    assert [(one["calls"], one["replayed"], one["input_tokens"], one["cost"]) for one in found] == [
        (2, 2, 0, None),
        (1, 1, 0, None),
    ]
