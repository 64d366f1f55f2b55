"""A call inside a run is paid for once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tau
from tau import agents
from tau.agents import Call, Response


class Model:
    """Answers with the number of the request."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def __call__(self, call: Call) -> str:
        self.requests.append(str(call.messages[-1]["content"]))
        return f"answer {len(self.requests)}"


def test_a_resumed_node_is_given_the_recorded_answers_and_asks_only_for_the_others(tmp_path: Path) -> None:
    model = Model()
    agent = agents.function(model)
    found: list[Response] = []
    graph = tau.StateGraph("calls", store=f"sqlite:///{tmp_path}/runs.db")

    def work(_: tau.State) -> dict[str, Any]:
        found[:] = [agent.chat(prompt) for prompt in ("one", "two")]
        if len(model.requests) == 2:
            raise ValueError("the node fails after two answers")
        found.append(agent.chat("three"))
        return {"texts": [one.text for one in found]}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError):
        graph.execute({}, run_id="r")
    assert [(one.journaled, one.replayed) for one in found] == [(True, False), (True, False)]
    model.requests.append("a request of another process")
    assert graph.resume("r")["texts"] == ["answer 1", "answer 2", "answer 4"]
    assert [one.replayed for one in found] == [True, True, False]
    assert model.requests == ["one", "two", "a request of another process", "three"]


def test_equal_calls_of_one_visit_each_have_an_answer_of_their_own(tmp_path: Path) -> None:
    model = Model()
    agent = agents.function(model)
    graph = tau.StateGraph("calls", store=f"sqlite:///{tmp_path}/runs.db")
    failures = ["one"]

    def work(_: tau.State) -> dict[str, Any]:
        texts = [agent.chat("the same").text for _ in range(3)]
        if failures.pop():
            failures.append("")
            raise ValueError("the node fails once")
        return {"texts": texts}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError):
        graph.execute({}, run_id="r")
    assert graph.resume("r")["texts"] == ["answer 1", "answer 2", "answer 3"]
    assert len(model.requests) == 3


async def test_async_calls_are_items_too(tmp_path: Path) -> None:
    model = Model()
    agent = agents.function(model)
    graph = tau.StateGraph("calls", store=f"sqlite:///{tmp_path}/runs.db")

    async def work(_: tau.State) -> dict[str, Any]:
        text = (await agent.achat("one")).text
        if model.requests == ["one"]:
            model.requests.append("failed")
            raise ValueError("the node fails once")
        return {"text": text}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError):
        await graph.aexecute({}, run_id="r")
    assert (await graph.aresume("r"))["text"] == "answer 1"
    assert model.requests == ["one", "failed"]


def test_outside_of_a_run_a_call_is_just_made() -> None:
    response = agents.scripted(["hello"]).chat("hi")
    assert (response.text, response.journaled, response.replayed) == ("hello", False, False)
    assert response.messages == ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"})


def test_the_digest_of_a_call_is_made_of_all_that_decides_the_answer_and_nothing_else() -> None:
    call = Call("a", "p", "m", "chat", {"max_tokens": 5}, ({"role": "user", "content": "hi"},))
    same = Call("a", "p", "m", "chat", {"max_tokens": 5}, [{"content": "hi", "role": "user"}], keep_prompt=True)
    assert call.digest == same.digest
    others = [
        Call("b", "p", "m", "chat", {"max_tokens": 5}, call.messages),
        Call("a", "q", "m", "chat", {"max_tokens": 5}, call.messages),
        Call("a", "p", "n", "chat", {"max_tokens": 5}, call.messages),
        Call("a", "p", "m", "tools", {"max_tokens": 5}, call.messages),
        Call("a", "p", "m", "chat", {"max_tokens": 6}, call.messages),
        Call("a", "p", "m", "chat", {"max_tokens": 5}, ({"role": "user", "content": "ho"},)),
        Call("a", "p", "m", "chat", {"max_tokens": 5}, call.messages, ({"name": "add"},)),
        Call("a", "p", "m", "chat", {"max_tokens": 5}, call.messages, (), {"type": "object"}),
    ]
    assert len({call.digest, *(one.digest for one in others)}) == 9


@pytest.mark.parametrize(
    "text", ['{"x": ' + "[" * 400 + "]" * 400 + "}", '{"x": ', '["x"]'], ids=["deep", "cut", "list"]
)
def test_arguments_that_no_tool_can_be_given_are_paid_for_once_and_wrong_again_after_a_resume(
    text: str, tmp_path: Path
) -> None:
    asked: list[int] = []
    failures = [ValueError("after the answer")]

    def model(call: Call) -> agents.Response:
        asked.append(len(call.messages))
        return agents.Response(tool_calls=(agents.ToolCall.of_text("add", text),))

    agent = agents.function(model)
    graph = tau.StateGraph("deep", store=f"sqlite:///{tmp_path}/runs.db")
    described = {"name": "add", "description": "", "parameters": {"type": "object"}}

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        (wanted,) = agent.tools("add", [described]).tool_calls
        if failures:
            raise failures.pop()
        return {"problems": list(wanted.problems), "text": wanted.text}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError, match="after the answer"):
        graph.execute({}, run_id="r")
    final = graph.resume("r")
    assert (len(final["problems"]), final["text"], asked) == (1, text, [1])
    assert agents.ToolCall.of_data("add", {"x": json.loads("[" * 400 + "]" * 400)}).problems


@pytest.mark.parametrize(
    "wanted", [10**400, -(1 << 63) - 1, "\ud800", {"\udc80": [1 << 64]}], ids=["huge", "low", "half", "inside"]
)
def test_what_no_record_can_hold_as_it_is_is_handed_on_and_paid_for_once(wanted: Any, tmp_path: Path) -> None:
    """Numbers and characters that a model made up, options of a caller, and what a server counts."""
    asked, used, failures = list[int](), list[Any](), [ValueError("after the answer")]

    def model(call: Call) -> agents.Response:
        asked.append(len(call.messages))
        usage = agents.Usage(1 << 70, 1)
        if call.messages[-1]["role"] == "tool":
            return agents.Response(text="done", usage=usage, finish_reason="\udc80")
        return agents.Response(tool_calls=(agents.ToolCall("take", {"x": wanted}),), usage=usage)

    def take(x: Any) -> str:
        used.append(x)
        return "taken"

    agent = agents.function(model)
    graph = tau.StateGraph("odd", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        text = agent.run("take", [take], seed=1 << 70).text
        if failures:
            raise failures.pop()
        return {"text": text}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError, match="after the answer"):
        graph.execute({}, run_id="r")
    assert graph.resume("r")["text"] == "done"
    assert (used, asked) == ([wanted], [1, 3])
