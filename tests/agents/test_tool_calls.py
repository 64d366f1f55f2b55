"""Tools of an agent: what the model asks for, checked, and the loop that calls them and counts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from model_servers import Front

import tau
from tau import agents
from tau.agents import Agent, Call, ToolCall
from tau.agents.errors import AgentAnswerError, AgentLimitError
from tau.errors import ConfigError


def add(x: int, y: int = 2) -> int:
    """Adds two numbers."""
    return x + y


ADD = ToolCall("add", {"x": 1})


def test_tools_are_asked_for_and_checked_and_not_called() -> None:
    calls = [ADD, ToolCall("ad", {}), ToolCall("add", {"x": "one"}), ToolCall.of_text("add", "{")]
    response = agents.scripted([calls]).tools("add", [add])
    assert response.tool_calls[0] == ADD
    assert [one.problems for one in response.tool_calls[1:]] == [
        ("there is no tool 'ad'; the tools are add; did you mean 'add'?",),
        ("x: expected integer, found string",),
        ("the arguments are not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",),
    ]


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_a_server_is_told_of_tools_and_its_calls_are_read(front: Front, protocol: str) -> None:
    url = front.url if protocol == "ollama" else f"{front.url}/v1"
    agent = Agent(protocol, f"tool/{protocol}", base_url=url)
    response = agent.tools("add", [add], tool_choice="auto")
    assert [(one.name, one.arguments, one.problems) for one in response.tool_calls] == [("add", {"x": 1, "y": 2}, ())]
    told = front.requests(f"tool/{protocol}")[0]["tools"][0]["function"]
    assert (told["name"], told["description"]) == ("add", "Adds two numbers.")
    assert told["parameters"]["required"] == ["x"]
    answer = {"role": "tool", "content": "3", "name": "add", "tool_call_id": response.tool_calls[0].id}
    agent.chat([*response.messages, answer])
    asked = front.requests(f"tool/{protocol}")[1]["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "tool"]
    arguments = asked[1]["tool_calls"][0]["function"]["arguments"]
    assert (arguments if protocol == "ollama" else json.loads(arguments)) == {"x": 1, "y": 2}


def test_the_loop_calls_tools_until_the_model_answers() -> None:
    agent = agents.scripted([ADD, ToolCall("ad", {}), ToolCall("add", {"x": "1"}), [ADD, ADD], "done"])
    response = agent.run("add", [add])
    assert response.text == "done"
    told = [one["content"] for one in response.messages if one["role"] == "tool"]
    assert told[0] == told[3] == told[4] == "3"
    assert told[1].startswith("error: there is no tool 'ad'")
    assert told[2].startswith("error: x: expected integer")


async def test_the_async_loop_calls_async_tools() -> None:
    async def slow(x: int) -> dict[str, int]:
        await asyncio.sleep(0)
        return {"x": x}

    response = await agents.scripted([ToolCall("slow", {"x": 4}), "done"]).arun("go", [slow])
    assert response.messages[-2]["content"] == '{"x": 4}'
    with pytest.raises(ConfigError, match="use arun instead of run"):
        agents.scripted([ToolCall("slow", {"x": 4})]).run("go", [slow])


def test_what_a_tool_raises_is_told_to_the_model_but_not_what_ends_the_run() -> None:
    def fail(how: str) -> None:
        raise tau.LeaseLostError("gone") if how == "lease" else ValueError("no such station")

    response = agents.scripted([ToolCall("fail", {"how": "value"}), "sorry"]).run("go", [fail])
    assert response.messages[-2]["content"] == "error: ValueError: no such station"
    with pytest.raises(tau.LeaseLostError):
        agents.scripted([ToolCall("fail", {"how": "lease"})]).run("go", [fail])


class Speechless(Exception):
    def __str__(self) -> str:
        raise OSError("no text")


def test_what_a_tool_says_or_raises_can_be_sent_whatever_it_is() -> None:
    def odd(how: str) -> str:
        if how == "raises":
            raise Speechless
        return "caf\udce9.nc"  # a file's name that is not UTF-8, as Python has it

    def told(how: str) -> str:
        return str(agents.scripted([ToolCall("odd", {"how": how}), "ok"]).run("go", [odd]).messages[-2]["content"])

    assert told("raises") == "error: Speechless: <Speechless that cannot be shown: OSError>"
    assert told("returns") == "caf\\udce9.nc"


def test_a_model_that_goes_on_asking_is_ended() -> None:
    with pytest.raises(AgentLimitError, match="after 3 rounds") as caught:
        agents.function(lambda _: ADD).run("add", [add], max_rounds=3)
    assert (caught.value.limit, caught.value.allowed) == ("max_rounds", 3)
    with pytest.raises(AgentAnswerError, match="asked 4 times for tools that cannot be called"):
        agents.function(lambda _: ToolCall("no", {})).run("add", [add])
    with pytest.raises(AgentLimitError, match=r"has used 2 requests of limits=\{'requests': 2\}"):
        agents.function(lambda _: ADD).run("add", [add], limits={"requests": 2})
    answer = agents.Response(tool_calls=(ADD,), usage=agents.Usage(30, 10))
    with pytest.raises(AgentLimitError, match="80 tokens"):
        agents.function(lambda _: answer).run("add", [add], limits={"tokens": 50})
    costly = agents.function(lambda _: answer, prices={"function": (1e6, 2e6)})
    with pytest.raises(AgentLimitError, match=r"has used 100 cost of limits=\{'cost': 60\}") as caught:
        costly.run("add", [add], limits={"cost": 60})
    assert (caught.value.limit, caught.value.used) == ("cost", 100.0)
    with pytest.raises(ConfigError, match=r"limits\.cost: what function costs is not known; .* prices="):
        agents.function(lambda _: answer).run("add", [add], limits={"cost": 60})
    with pytest.raises(ConfigError, match="limits"):
        agents.scripted(["x"]).run("add", [add], limits={"dollars": 1})


def test_calls_of_tools_are_items_and_limits_count_what_was_recorded(tmp_path: Path) -> None:
    called: list[int] = []
    asked: list[str] = []

    def measure(x: int) -> int:
        called.append(x)
        return x

    def model(call: Call) -> Any:
        asked.append(call.verb)
        rounds = sum(one["role"] == "tool" for one in call.messages)
        if rounds == 2 and len(asked) == 3:
            raise ValueError("the process fails in the third round")
        return ToolCall("measure", {"x": rounds}) if rounds < 3 else "done"

    agent = agents.function(model)
    graph = tau.StateGraph("tools", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        return {"text": agent.run("measure", [measure], limits={"requests": 4}).text}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError, match="third round"):
        graph.execute({}, run_id="r")
    assert graph.resume("r")["text"] == "done"
    assert called == [0, 1, 2]
    assert len(asked) == 5  # two answered, one failed, two after the resume


def test_a_person_is_asked_before_a_tool_is_called(tmp_path: Path) -> None:
    called: list[int] = []

    def delete(x: int) -> str:
        """Deletes."""
        called.append(x)
        return "deleted"

    def model(call: Call) -> Any:
        told = [one["content"] for one in call.messages if one["role"] == "tool"]
        return told[-1] if len(told) == 2 else ToolCall("delete", {"x": len(told)})

    agent = agents.function(model, name="cleaner")
    graph = tau.StateGraph("approvals", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        return {"text": agent.run("tidy up", [delete, add], approve=["delete"]).text}

    graph.sequence(work)
    for number, allowed in enumerate([True, False]):
        with pytest.raises(tau.RunWaitingError):
            graph.execute({}, run_id="r", if_exists="resume")
        (pause,) = [one for one in graph.pauses("r") if not one.name.startswith("answered")]
        assert pause.prompt == f'cleaner wants delete({{"x": {number}}})'
        graph.answer("r", pause.name, allowed)
    assert graph.resume("r")["text"] == "error: a person did not allow this call"
    assert called == [0]
    with pytest.raises(ConfigError, match="which only the node of a run can do"):
        agents.scripted([ADD]).run("add", [add], approve=True)


def test_each_of_two_equal_loops_asks_for_its_own_calls(tmp_path: Path) -> None:
    called: list[int] = []

    def pay(x: int) -> str:
        """Pays."""
        called.append(x)
        return "paid"

    def model(call: Call) -> Any:
        told = [one["content"] for one in call.messages if one["role"] == "tool"]
        return told[0] if told else ToolCall("pay", {"x": 5})

    agent = agents.function(model, name="payer")
    graph = tau.StateGraph("approvals", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        return {"texts": [agent.run("pay", [pay], approve=True).text for _ in range(2)]}

    graph.sequence(work)
    for allowed in (True, False):
        with pytest.raises(tau.RunWaitingError):
            graph.execute({}, run_id="r", if_exists="resume")
        (pause,) = [one for one in graph.pauses("r") if not one.name.startswith("answered")]
        graph.answer("r", pause.name, allowed)
    assert graph.resume("r")["texts"] == ["paid", "error: a person did not allow this call"]
    assert called == [5]


@pytest.mark.parametrize("wrong", ['{"path": "/tm', "[1]", "not JSON"])
def test_a_tool_call_that_is_not_json_is_told_to_the_model_in_a_run_as_outside(tmp_path: Path, wrong: str) -> None:
    called: list[str] = []

    def remove(path: str = "/") -> str:
        """Removes."""
        called.append(path)
        return "removed"

    def model(call: Call) -> Any:
        told = [one["content"] for one in call.messages if one["role"] == "tool"]
        return told[0] if told else ToolCall.of_text("remove", wrong, "c1")

    agent = agents.function(model, name="cleaner")
    graph = tau.StateGraph("tools", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State, ctx: tau.Context) -> dict[str, Any]:
        found = agent.run("tidy up", [remove]).text
        if ctx.attempt == 1:
            raise OSError
        return {"text": found}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError):
        graph.execute({}, run_id="r")
    assert graph.resume("r")["text"] == agent.run("tidy up", [remove]).text
    assert called == []


@pytest.mark.parametrize(
    ("tools", "said"),
    [
        ([], "at least one"),
        ([3], r"tools\[0\]: expected a function"),
        ([add, add], "there are two tools 'add'"),
        ([{"name": "x", "schema": {}}], r"tools\[0\].schema: unknown key"),
        ([lambda *args: 1], "must take named arguments only"),
    ],
)
def test_tools_that_cannot_be_used_are_refused(tools: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        agents.scripted(["x"]).tools("go", tools)
