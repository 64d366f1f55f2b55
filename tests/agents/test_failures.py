"""What goes wrong with a server: typed errors that say what to do, and retries of what is worth it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from front_agents import KEY, ONCE, QUICK, agent_of
from model_servers import Front, free_port

import tau
from tau import agents
from tau.agents import Agent, AgentConfig
from tau.agents.errors import (
    AgentAnswerError,
    AgentAuthenticationError,
    AgentConnectionError,
    AgentRateLimitError,
    AgentRequestError,
    AgentServerError,
    AgentStreamError,
    AgentTimeoutError,
    ModelNotFoundError,
    PromptTooLongError,
    RequestsForbiddenError,
)
from tau.errors import AgentError, RunInterruptedError


@pytest.mark.parametrize(
    ("behaviour", "kind", "said", "requests"),
    [
        ("missing", ModelNotFoundError, "does not have the model", 1),
        ("400", AgentRequestError, r"answered with status 400: it is wrong <b>here</b>", 1),
        ("401", AgentAuthenticationError, r"refused the key \(status 401\): set .*API_KEY", 1),
        ("403", AgentAuthenticationError, r"refused the key \(status 403\)", 1),
        ("500", AgentServerError, "answered with status 500", 3),
        ("503", AgentServerError, "answered with status 503", 3),
        ("429", AgentRateLimitError, "without saying when to ask again", 3),
        ("429:90", AgentRateLimitError, "wants to be asked again in 90 s", 1),
        ("quota", AgentRateLimitError, "the quota of .* is used up", 1),
        ("html", AgentServerError, "is not an answer", 1),
        ("nothing", AgentServerError, "is not an answer", 1),
        ("context", PromptTooLongError, "does not fit the context", 1),
    ],
)
def test_an_error_is_typed_says_what_to_do_and_is_retried_only_where_that_helps(
    front: Front, protocol: str, *, behaviour: str, kind: type[AgentError], said: str, requests: int
) -> None:
    model = f"{behaviour}/{protocol}"
    with pytest.raises(kind, match=said) as caught:
        agent_of(front, protocol, model).chat("hi")
    error = caught.value
    assert (error.provider, error.model) == (protocol, model)
    assert error.address.startswith(front.url)
    assert len(front.requests(model)) == requests
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert KEY not in str(error) + repr(error) + "".join(told.format())
    assert error.__cause__ is error.__context__ is None  # an error of the client's holds its request
    assert "\x1b" not in str(error)


def test_a_prompt_that_cannot_be_sent_is_not_the_fault_of_the_server(front: Front, protocol: str) -> None:
    model = f"ok/half-{protocol}"
    with pytest.raises(AgentRequestError, match=r"cannot be sent .* half of a surrogate pair") as caught:
        agent_of(front, protocol, model).chat("half: \ud800")
    assert caught.value.__cause__ is caught.value.__context__ is None
    assert front.requests(model) == []


async def test_an_async_request_fails_in_the_same_way(front: Front, protocol: str) -> None:
    model = f"503/async-{protocol}"
    with pytest.raises(AgentServerError, match="answered with status 503"):
        await agent_of(front, protocol, model).achat("hi")
    assert len(front.requests(model)) == 3


def test_a_server_that_is_busy_is_asked_again(front: Front, protocol: str) -> None:
    response = agent_of(front, protocol, f"once503/{protocol}").chat("hi")
    assert (response.text, response.requests) == ("answer 2", 2)


def test_a_rate_limit_is_waited_for_as_long_as_the_server_says(front: Front, protocol: str) -> None:
    began = time.monotonic()
    response = agent_of(front, protocol, f"once429:0.2/{protocol}", retry=ONCE).chat("hi")
    assert response.requests == 2
    assert time.monotonic() - began >= 0.2


def test_a_server_that_is_not_running_says_how_to_start_it() -> None:
    port = free_port()
    agent = Agent("ollama", "llama3.2:3b", base_url=f"http://127.0.0.1:{port}", retry=ONCE)
    with pytest.raises(AgentConnectionError) as caught:
        agent.chat("hi")
    expected = f"failed to connect to ollama at http://127.0.0.1:{port}: start it with `ollama serve`"
    assert str(caught.value) == expected


def test_a_server_that_takes_no_connection_in_time_cannot_be_reached(protocol: str) -> None:
    """The queue of a port that nobody accepts on is full after a few connections."""
    with socket.socket() as deaf, contextlib.ExitStack() as waiting:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(deaf.getsockname())
        config = AgentConfig.from_dict(
            {
                "name": "a",
                "client": {
                    "provider": {
                        "name": protocol,
                        "base_url": f"http://127.0.0.1:{deaf.getsockname()[1]}",
                        "model": {"name": "m"},
                    },
                    "connection_timeout": "300ms",
                },
            }
        )
        with pytest.raises(AgentConnectionError, match="failed to connect"):
            Agent(config, retry=ONCE).chat("hi")


def test_a_model_that_was_not_pulled_says_how_to_pull_it(front: Front) -> None:
    with pytest.raises(ModelNotFoundError, match=r": ollama pull missing/pull$"):
        agent_of(front, "ollama", "missing/pull").chat("hi")


@pytest.mark.parametrize("how", ["chat", "achat", "stream", "astream"])
def test_what_went_wrong_with_another_agent_before_is_not_what_went_wrong(
    front: Front, protocol: str, how: str
) -> None:
    """As where a second agent is asked when the first one fails."""
    path = "" if protocol == "ollama" else "/v1"
    second = Agent(protocol, "m", name="second", base_url=f"http://127.0.0.1:{free_port()}{path}", retry=QUICK)

    async def read() -> list[str]:
        return [piece async for piece in second.achat_stream("hi")]

    ways: dict[str, Callable[[], Any]] = {
        "chat": lambda: second.chat("hi"),
        "achat": lambda: asyncio.run(second.achat("hi")),
        "stream": lambda: list(second.chat_stream("hi")),
        "astream": lambda: asyncio.run(read()),
    }
    try:
        agent_of(front, protocol, f"401/{how}-{protocol}", name="first").chat("hi")
    except AgentAuthenticationError:
        with pytest.raises(AgentConnectionError) as caught:
            ways[how]()
    assert caught.value.agent == "second"


def test_a_server_that_hangs_is_given_up_after_the_timeout(front: Front, protocol: str) -> None:
    with pytest.raises(AgentTimeoutError, match=r"did not answer within 0\.3 s") as caught:
        agent_of(front, protocol, f"hang/{protocol}", timeout=0.3, retry=ONCE).chat("hi")
    assert caught.value.seconds == 0.3


def test_an_enormous_answer_is_not_read_to_its_end(front: Front, protocol: str) -> None:
    with pytest.raises(AgentAnswerError, match="more than 64 MB"):
        agent_of(front, protocol, f"enormous/{protocol}", retry=ONCE).chat("hi")


def test_an_empty_answer_is_an_answer(front: Front, protocol: str) -> None:
    assert agent_of(front, protocol, f"empty/{protocol}").chat("hi").text == ""


def test_a_stream_that_is_cut_is_an_error_with_the_text_so_far(front: Front, protocol: str) -> None:
    model = f"cut/{protocol}"
    stream = agent_of(front, protocol, model).chat_stream("hi")
    with pytest.raises(AgentStreamError, match="without its end mark") as caught:
        list(stream)
    assert caught.value.text == "answer"
    assert len(front.requests(model)) == 1
    with pytest.raises(AgentError, match="has not ended"):
        stream.response


async def test_an_async_stream_that_is_cut_is_the_same_error(front: Front, protocol: str) -> None:
    with pytest.raises(AgentStreamError) as caught:
        [piece async for piece in agent_of(front, protocol, f"cut/async-{protocol}").achat_stream("hi")]
    assert caught.value.text == "answer"


def test_a_stream_that_is_refused_before_its_first_piece_is_asked_for_again(front: Front, protocol: str) -> None:
    stream = agent_of(front, protocol, f"once503/stream-{protocol}").chat_stream("hi")
    assert "".join(stream) == "answer 2"
    assert stream.response.requests == 2
    assert stream.response.usage is not None


def test_a_consumer_that_stops_early_closes_the_request(front: Front, protocol: str) -> None:
    before = len(front.requests("closed/stall"))
    agent = agent_of(front, protocol, f"stall/{protocol}")
    pieces = agent._asking.provider.stream(agent._call("chat_stream", "hi", None, {}))
    assert next(pieces) == "answer"
    pieces.close()
    assert len(front.requests("closed/stall", before + 1)) == before + 1


def test_wrong_json_is_asked_for_again_and_then_given_up(front: Front, protocol: str) -> None:
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}, "required": ["people"]}
    later = agent_of(front, protocol, f"json-later/{protocol}").chat(
        "hi", schema={**schema, "additionalProperties": {}}
    )
    assert later.value == {"name": "Oslo", "people": 700000}
    asked = front.requests(f"json-later/{protocol}")[1]["messages"]
    assert [one["role"] for one in asked] == ["user", "assistant", "user"]
    assert "people is missing" in asked[-1]["content"]
    model = f"ok/wrong-json-{protocol}"
    with pytest.raises(AgentAnswerError, match="answered 3 times with what does not fit the schema") as caught:
        agent_of(front, protocol, model).chat("hi", schema=schema)
    assert caught.value.text == "answer 3"
    assert len(front.requests(model)) == 3


def test_an_answer_that_is_cut_off_is_not_asked_for_again_with_the_same_limit(front: Front, protocol: str) -> None:
    model = f"long/{protocol}"
    with pytest.raises(AgentAnswerError, match="max_tokens is 5: set a larger max_tokens") as caught:
        agent_of(front, protocol, model).chat("hi", schema={"type": "object"}, max_tokens=5)
    assert caught.value.finish_reason == "length"
    assert len(front.requests(model)) == 1


def test_a_prompt_of_which_ollama_dropped_the_front_is_an_error_that_names_num_ctx(front: Front) -> None:
    agent = agent_of(front, "ollama", "dropped/x")
    with pytest.raises(PromptTooLongError, match="num_ctx=4096") as caught:
        agent.chat("hi", num_ctx=4096)
    assert (caught.value.prompt_tokens, caught.value.limit) == (4096, 4096)
    assert front.requests("dropped/x")[0]["options"]["num_ctx"] == 4096
    with pytest.raises(PromptTooLongError, match="takes by default"):
        agent.chat("word " * 10_000)
    assert agent.chat("word " * 4090, num_ctx=8192).text


def test_a_request_that_is_forbidden_is_not_made(front: Front, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = f"ok/forbidden-{protocol}"
    agent = agent_of(front, protocol, model)
    with agents.no_requests(), pytest.raises(RequestsForbiddenError, match="give the code a scripted agent"):
        agent.chat("hi")
    monkeypatch.setenv("TAU_NO_REQUESTS", "1")
    with pytest.raises(RequestsForbiddenError):
        next(agent.chat_stream("hi"))
    assert agents.scripted(["hello"]).chat("hi").text == "hello"
    monkeypatch.setenv("TAU_NO_REQUESTS", "0")
    assert agent.chat("hi").text == "answer 1"
    assert len(front.requests(model)) == 1


def test_a_wait_ends_when_the_run_is_to_stop(front: Front) -> None:
    model = "429:30/stopped"
    agent = agent_of(front, "ollama", model)
    stop = tau.Stop()

    def told(event: tau.Event) -> None:
        if event.type == "call.retry":
            assert event.data["wait_seconds"] == 30
            assert KEY not in str(event)
            stop.set("enough")

    graph = tau.StateGraph("g", store="memory", observer=told)
    graph.add_node("ask", agent.node("hi"))
    graph.sequence("ask")
    began = time.monotonic()
    with pytest.raises(RunInterruptedError, match="enough"):
        graph.execute({}, stop=stop)
    assert time.monotonic() - began < 25  # of the 30 s that the server asked for


async def test_a_wait_in_an_event_loop_ends_when_the_run_is_to_stop(front: Front) -> None:
    agent = agent_of(front, "ollama", "429:30/stopped-async")
    stop = tau.Stop()
    graph = tau.StateGraph(
        "g", store="memory", observer=lambda event: stop.set("enough") if event.type == "call.retry" else None
    )

    @graph.node
    async def ask(_: tau.State) -> dict[str, Any]:
        return {"text": (await agent.achat("hi")).text}

    graph.sequence(ask)
    began = time.monotonic()
    with pytest.raises(RunInterruptedError, match="enough"):
        await graph.aexecute({}, stop=stop)
    assert time.monotonic() - began < 25


def test_a_wait_ends_at_the_deadline_of_the_run_and_at_an_interrupt(front: Front) -> None:
    agent = agent_of(front, "ollama", "429:30/deadline")
    graph = tau.StateGraph("g", store="memory")
    graph.add_node("ask", agent.node("hi"))
    graph.sequence("ask")
    began = time.monotonic()
    with pytest.raises(RunInterruptedError):
        graph.execute({}, run_id="deadline", max_runtime=0.5)

    def interrupt(event: tau.Event) -> None:
        if event.type == "call.retry":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        graph.resume("deadline", observer=interrupt)
    assert time.monotonic() - began < 25


def test_a_hostile_answer_is_kept_as_it_is(front: Front, protocol: str) -> None:
    text = "\x1b]0;title\x07<script>alert(1)</script>"
    assert agent_of(front, protocol, f"hostile/{protocol}").chat("hi").text == text
