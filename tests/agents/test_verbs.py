"""The verbs of an agent, with scripted answers and against servers: tools, the loop, pictures, embeddings, streams."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest
from model_servers import Front

import tau
from tau import agents
from tau.agents import Agent, Call, ToolCall
from tau.agents.errors import AgentAnswerError, AgentAuthenticationError, AgentError, AgentLimitError
from tau.errors import ConfigError

PNG = b"\x89PNG\r\n\x1a\nnot really"


def add(x: int, y: int = 2) -> int:
    """Adds two numbers."""
    return x + y


ADD = ToolCall("add", {"x": 1})


@dataclass
class AsDataclass:
    people: int


class AsDict(TypedDict):
    people: int


class AsStruct(msgspec.Struct):
    people: int


class AsModel(pydantic.BaseModel):
    people: int


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (AsDataclass, AsDataclass(7)),
        (AsDict, {"people": 7}),
        (AsStruct, AsStruct(7)),
        (AsModel, AsModel(people=7)),
        ({"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}, {"people": 7}),
    ],
)
def test_an_answer_is_an_instance_of_the_type_that_was_asked_for(schema: Any, value: Any) -> None:
    seen: list[Call] = []
    agent = agents.function(lambda call: seen.append(call) or '```json\n{"people": 7}\n```')
    assert agent.chat("how many?", schema=schema).value == value
    assert seen[0].schema is not None
    assert seen[0].schema["type"] == "object"


def test_a_schema_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="schema"):
        agents.scripted(["x"]).chat("hi", schema=object())


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


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_pictures_are_sent_as_the_protocol_wants_them(front: Front, protocol: str, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    path.write_bytes(PNG)
    url = front.url if protocol == "ollama" else f"{front.url}/v1"
    agent = Agent(protocol, f"ok/vision-{protocol}", base_url=url)
    assert agent.vision("what is it?", [path, PNG]).text == "answer 1"
    (message,) = front.requests(f"ok/vision-{protocol}")[0]["messages"]
    encoded = base64.b64encode(PNG).decode()
    if protocol == "ollama":
        assert message["images"] == [encoded, encoded]
    else:
        assert message["content"][1] == {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}
    with pytest.raises(ConfigError, match="images"):
        agent.vision("what is it?", [])
    with pytest.raises(FileNotFoundError):
        agent.vision("what is it?", ["no-such-file.png"])


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
async def test_embeddings_are_in_the_order_of_the_texts(front: Front, protocol: str) -> None:
    url = front.url if protocol == "ollama" else f"{front.url}/v1"
    agent = Agent(protocol, f"ok/embed-{protocol}", base_url=url)
    response = agent.embed(["a", "bb", "ccc"])
    assert [one[0] for one in response.embeddings] == [1.0, 2.0, 3.0]
    assert response.usage is not None
    assert (await agent.aembed("four")).embeddings[0][0] == 4.0


def test_azure_is_asked_by_key_or_by_token(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"deployment": "ok", "api_version": "2025-01-01"}
    monkeypatch.setenv("MY_AZURE_KEY", "canary-key")
    by_key = Agent("azure", "ok/azure", base_url=f"{front.url}/openai",
                   provider_options={**options, "api_key_env": "MY_AZURE_KEY"})  # fmt: skip
    tokens = iter(["canary-token"])
    by_token = Agent("azure", "ok/azure", base_url=front.url,
                     provider_options={**options, "auth_type": "bearer", "token": lambda: next(tokens)})  # fmt: skip
    assert (by_key.chat("hi").text, by_token.chat("hi").text) == ("answer 1", "answer 2")
    first, second = (one["headers"] for one in front.requests("ok/azure"))
    assert first["api-key"] == "canary-key"
    assert second["authorization"] == "Bearer canary-token"
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with pytest.raises(AgentAuthenticationError, match="set AZURE_OPENAI_API_KEY"):
        Agent("azure", "gpt", base_url=front.url).chat("hi")
    with pytest.raises(ConfigError, match="Azure needs the address"):
        Agent("azure", "gpt")


def test_a_stream_is_recorded_when_it_is_complete_and_comes_in_one_piece_after_that(tmp_path: Path) -> None:
    seen: list[list[str]] = []
    agent = agents.scripted(["one two three"])
    graph = tau.StateGraph("streams", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        stream = agent.chat_stream("hi")
        seen.append([])
        for piece in stream:
            seen[-1].append(piece)
            if seen[-1] == ["one", " two", " three"]:
                raise ValueError("with its last piece the stream is recorded")
        return {"text": stream.response.text, "replayed": stream.response.replayed}

    graph.sequence(work)
    with pytest.raises(tau.ExecutionError):
        graph.execute({}, run_id="r")
    found = graph.resume("r")
    assert (found["text"], found["replayed"]) == ("one two three", True)
    assert seen == [["one", " two", " three"], ["one two three"]]


def test_a_stream_that_is_left_early_is_not_recorded(tmp_path: Path) -> None:
    agent = agents.scripted(["one two three", "four"])
    graph = tau.StateGraph("streams", store=f"sqlite:///{tmp_path}/runs.db")

    @graph.node
    def work(_: tau.State) -> dict[str, Any]:
        with agent.chat_stream("hi") as stream:
            first = next(stream)
        return {"texts": [first, *agent.chat_stream("hi")]}

    graph.sequence(work)
    assert graph.execute({}, run_id="r")["texts"] == ["one", "four"]


def test_an_agent_may_be_used_in_one_event_loop_after_another(front: Front) -> None:
    agent = Agent("ollama", "ok/loops", base_url=front.url)
    assert [asyncio.run(agent.achat("hi")).text for _ in range(3)] == ["answer 1", "answer 2", "answer 3"]
    agent.close()
    assert agent.chat("hi").text == "answer 4"


def test_a_call_that_must_be_recorded_is_an_error_where_it_would_not_be() -> None:
    agent = agents.scripted(["x"], journal="required")
    with pytest.raises(AgentError, match=r'journal="required".*no run is running here'):
        agent.chat("hi")
    graph = tau.StateGraph("kept", store="memory")
    graph.add_node("ask", agent.node("hi"))
    graph.sequence("ask")
    assert graph.execute({})["answer"] == "x"


def test_an_agent_is_a_node_in_one_line_of_which_what_decides_the_answer_counts_in_the_fingerprint(
    front: Front, tmp_path: Path
) -> None:
    def graph_of(system: str, url: str, key: str) -> tau.StateGraph:
        agent = Agent("ollama", "ok/node", base_url=url, system_prompt=system, provider_options={"api_key": key})
        graph = tau.StateGraph("nodes", store=f"sqlite:///{tmp_path}/runs.db")
        graph.add_node("ask", agent.node("Sum up: {text}", into="summary", max_tokens=5))
        graph.add_node("end", _fails_once)
        graph.sequence("ask", "end")
        return graph

    with pytest.raises(tau.ExecutionError, match="it fails"):
        graph_of("Be short.", front.url, "one key").execute({"text": "a"}, run_id="r")
    same = graph_of("Be short.", "http://127.0.0.1:3", "another").plan("r")
    assert (same.pending, same.refusal) == ("end", None)
    (changed,) = graph_of("Be long.", front.url, "one key").plan("r").blocking
    assert changed.startswith("finished node 'ask' changed")
    assert len(front.requests("ok/node")) == 1


def _fails_once(_: tau.State) -> None:
    raise ValueError("it fails")


def test_a_prompt_of_a_node_takes_names_of_the_state_and_says_which_is_missing() -> None:
    seen: list[str] = []
    agent = agents.function(lambda call: seen.append(call.messages[-1]["content"]) or '{"people": 7}')
    graph = tau.StateGraph("nodes")
    graph.add_node("ask", agent.node("How many in {town}?", schema=AsDataclass))
    graph.sequence("ask")
    assert graph.execute({"town": "Oslo"})["answer"] == {"people": 7}
    assert seen == ["How many in Oslo?"]
    with pytest.raises(tau.ExecutionError, match="the state lacks 'town'"):
        graph.execute({"city": "Oslo"})


def test_an_agent_is_the_handler_of_a_hub_in_one_line() -> None:
    with tau.Hub("station") as hub:
        hub.register("greeter", agents.scripted({"hi": "hello"}).handler())
        assert hub.request("visitor", "greeter", "hi there").data == "hello"


def test_a_script_that_has_no_answer_says_so() -> None:
    with pytest.raises(AgentError, match="has 1 answer and was asked for another one"):
        [agents.scripted(["x"]).chat("hi"), (agent := agents.scripted(["x"])).chat("hi"), agent.chat("hi")]
    with pytest.raises(AgentError, match="has no answer for 'hi'; its keys are 'ho'"):
        agents.scripted({"ho": "x"}).chat("hi")
    with pytest.raises(ValueError, match="as scripted"):
        agents.scripted([ValueError("as scripted")]).chat("hi")


def test_importing_agents_loads_no_client_and_a_missing_one_is_named() -> None:
    program = """
import sys
from tau import agents
from tau.agents import Agent
heavy = ("ollama", "openai", "httpx", "httpx2", "pydantic", "asyncio", "tau.agents.providers.ollama")
assert not [one for one in heavy if one in sys.modules], sys.modules.keys()
sys.modules["ollama"] = None
import importlib.util
importlib.util.find_spec = lambda name: None
try:
    Agent("ollama", "m")
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'pip install "tau-orchestrate[ollama]"' in done.stdout
