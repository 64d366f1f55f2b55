"""The verbs of an agent, with scripted answers and against servers: schemas, pictures, embeddings, streams, nodes."""

from __future__ import annotations

import asyncio
import base64
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
from tau.agents import Agent, Call
from tau.agents.errors import AgentError
from tau.errors import ConfigError

PNG = b"\x89PNG\r\n\x1a\nnot really"


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
