"""Where the calls of an agent lie in a run, what is stored of them, and what is said where nothing is."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import agent_tasks
import pytest

import tau
from tau import agents
from tau.agents import Call
from tau.log.encoding import unseal
from tau.log.records import Item
from tau.observers import Recorder


def echo(call: Call) -> str:
    return f"on {call.messages[-1]['content']}"


def graph_of(path: Path, node: Any, **options: Any) -> tau.StateGraph:
    graph = tau.StateGraph("g", store=f"sqlite:///{path}/runs.db", **options)
    graph.add_node("n", node, version="1")
    graph.sequence("n")
    return graph


def items(graph: tau.StateGraph, run_id: str = "r") -> list[Item]:
    records = [unseal(run_id, position, data) for position, data in graph.store.read(run_id)]
    return [one for one in records if isinstance(one, Item)]


def test_a_call_belongs_to_the_step_or_item_around_it(tmp_path: Path) -> None:
    agent = agents.function(echo, name="me")

    def node(state: Any, ctx: tau.Context) -> None:
        agent.chat("p")
        ctx.step("s", lambda: agent.chat("p").text)
        ctx.map("m", lambda n: agent.chat("p").text, [1])

    graph = graph_of(tmp_path, node)
    graph.execute({}, run_id="r")
    calls = [one for one in items(graph) if one.key.startswith("call ")]
    assert [one.scope[:-1] for one in calls] == [(), (("n", 1, "s"),), (("n", 1, "m"),)]
    assert {one.scope[-1][2] for one in calls} == {"me"}
    assert len({one.key for one in calls}) == 1


def test_what_is_told_of_a_call_lies_beside_its_answer_and_the_prompt_only_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    messages = [
        {"role": "user", "content": "PROMPT", "tool_calls": [{"name": "login", "arguments": {"password": "pw1"}}]}
    ]
    for keeps in (False, True):
        agent = agents.function(echo, name="me", journal_prompts=keeps)
        graph = graph_of(tmp_path, lambda state, agent=agent: agent.chat(messages, max_tokens=5) and None)
        graph.execute({}, run_id=f"r{keeps}")
        (call,) = items(graph, f"r{keeps}")
        assert (call.body["model"], call.body["parameters"], call.body["verb"]) == (
            "function",
            {"max_tokens": 5},
            "chat",
        )
        assert call.body["prompt"] == [{"role": "user", "length": 6}]
        raw = b"".join(data for _, data in graph.store.read(f"r{keeps}"))
        blobs = b"".join(
            graph.store.blobs(f"r{keeps}", [part.digest for part in getattr(call.value, "parts", ())]).values()
        )
        assert (b"PROMPT" in (raw + blobs).replace(b"on PROMPT", b"")) is keeps
        assert b"pw1" not in raw + blobs
        graph.store.close()


def test_events_tell_of_a_call_in_numbers_and_never_what_was_said(tmp_path: Path) -> None:
    recorder = Recorder()
    agent = agents.function(lambda call: "\x1b[31mSAID", name="me")
    graph_of(tmp_path, lambda state: agent.chat("ASKED") and None, observer=recorder).execute({})
    told = next(event.data for event in recorder.events if event.type == "call.complete")
    assert (told["call"], told["model"], told["verb"], told["replayed"], told["requests"]) == (
        "me",
        "function",
        "chat",
        False,
        1,
    )
    assert not [event for event in recorder.events if "SAID" in event.to_json() or "ASKED" in event.to_json()]


def test_a_thread_that_sees_no_run_is_told_of_once_with_the_remedy(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    agent = agents.function(echo)

    def ask(prompt: str) -> bool:
        return agent.chat(prompt).journaled

    def node(state: Any) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            bare = [*pool.map(ask, "abc")]
            given = [pool.submit(copy_context().run, ask, prompt).result() for prompt in "de"]
        return {"bare": bare, "given": given}

    with caplog.at_level(logging.WARNING, "tau"):
        final = graph_of(tmp_path, node).execute({})
    assert (final["bare"], final["given"]) == ([False] * 3, [True] * 2)
    said = [one.getMessage() for one in caplog.records if "belongs to no node" in one.getMessage()]
    assert len(said) == 1
    assert "copy_context().run" in said[0]
    assert __file__ in said[0]


def test_outside_of_all_runs_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tau"):
        assert not agents.function(echo).chat("p").journaled
    assert not caplog.records


def test_in_a_worker_process_the_item_is_what_is_kept(tmp_path: Path) -> None:
    def node(state: Any, ctx: tau.Context) -> dict[str, Any]:
        return {"out": ctx.map("m", agent_tasks.ask, ["a", "b"], executor="processes", workers=1)}

    graph = graph_of(tmp_path, node)
    assert graph.execute({}, run_id="r")["out"] == [("A", False), ("B", False)]
    assert [one.key.partition(" ")[0] for one in items(graph)] == ["item", "item"]


@pytest.mark.parametrize("verb", ["execute", "aexecute"])
def test_a_task_that_a_failed_attempt_left_behind_asks_nothing_for_the_next_one(tmp_path: Path, verb: str) -> None:
    asked: list[str] = []
    left: list[asyncio.Task[Any]] = []
    agent = agents.function(lambda call: asked.append(call.digest) or "answer")

    async def node(state: Any, ctx: tau.Context) -> dict[str, Any]:
        again = asyncio.Event()

        async def later() -> None:
            await again.wait()
            await agent.achat("p")

        if ctx.attempt == 1:
            left.append(asyncio.create_task(later()))
            await agent.achat("p")
            doors.append(again)
            await asyncio.sleep(0)
            raise OSError
        doors[0].set()
        told = await asyncio.gather(*left, return_exceptions=True)
        return {"replayed": (await agent.achat("p")).replayed, "told": str(told[0])}

    doors: list[asyncio.Event] = []
    graph = tau.StateGraph("g", store=f"sqlite:///{tmp_path}/runs.db")
    graph.add_node("n", node, version="1", retry=tau.Retry(attempts=2, delay=0))
    graph.sequence("n")
    final = graph.execute({}) if verb == "execute" else asyncio.run(graph.aexecute({}))
    assert final["replayed"]
    assert "is not running any more" in final["told"]
    assert len(asked) == 1


def test_a_thread_that_a_failed_attempt_left_behind_asks_nothing_for_the_next_one(tmp_path: Path) -> None:
    asked: list[str] = []
    agent = agents.function(lambda call: asked.append(call.digest) or "answer")
    again, pool = threading.Event(), ThreadPoolExecutor(1)

    def later() -> None:
        again.wait()
        agent.chat("p")

    def node(state: Any, ctx: tau.Context) -> dict[str, Any]:
        if ctx.attempt == 1:
            left.append(pool.submit(copy_context().run, later))
            agent.chat("p")
            raise OSError
        again.set()
        told = left[0].exception()
        return {"replayed": agent.chat("p").replayed, "told": str(told)}

    left: list[Future[None]] = []
    graph = tau.StateGraph("g", store=f"sqlite:///{tmp_path}/runs.db")
    graph.add_node("n", node, version="1", retry=tau.Retry(attempts=2, delay=0))
    graph.sequence("n")
    with pool:
        final = graph.execute({})
    assert final["replayed"]
    assert "is not running any more" in final["told"]
    assert len(asked) == 1
