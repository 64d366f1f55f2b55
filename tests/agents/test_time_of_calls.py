"""``timeout`` bounds a request from its first byte to the last byte of its answer, and a wait ends with the run."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from dripping import Dripping, dripping
from front_agents import KEY, ONCE

import tau
from tau.agents import Agent
from tau.agents.errors import AgentTimeoutError
from tau.errors import RunInterruptedError
from tau.stores.memory import MemoryStore

PATIENCE = 60


@pytest.fixture(params=["headers", "body", "stream"])
def server(request: pytest.FixtureRequest) -> Iterator[Dripping]:
    with dripping(request.param) as found:
        yield found


def agent_of(server: Dripping, protocol: str, timeout: float = 3600.0) -> Agent:
    url = server.url if protocol == "ollama" else f"{server.url}/v1"
    return Agent(protocol, "m", base_url=url, retry=ONCE, timeout=timeout, provider_options={"api_key": KEY})


def asking(agent: Agent, kind: str) -> Callable[[], Any]:
    """What asks in the way in which that kind of server is met."""
    return lambda: list(agent.chat_stream("hi")) if kind == "stream" else agent.chat("hi")


def async_asking(agent: Agent, kind: str) -> Callable[[], Any]:
    async def read() -> list[str]:
        return [piece async for piece in agent.achat_stream("hi")]

    return read if kind == "stream" else lambda: agent.achat("hi")


def test_a_server_that_drips_is_given_up_after_the_timeout(server: Dripping, protocol: str) -> None:
    with pytest.raises(AgentTimeoutError, match=r"did not answer within 0\.5 s") as caught:
        asking(agent_of(server, protocol, 0.5), server.kind)()
    assert caught.value.seconds == 0.5
    assert server.left.acquire(timeout=PATIENCE)


async def test_an_event_loop_gives_it_up_too(server: Dripping, protocol: str) -> None:
    with pytest.raises(AgentTimeoutError, match=r"did not answer within 0\.5 s"):
        await async_asking(agent_of(server, protocol, 0.5), server.kind)()
    assert await asyncio.to_thread(server.left.acquire, timeout=PATIENCE)


def test_a_server_that_does_not_read_what_it_is_sent_is_given_up(protocol: str) -> None:
    with dripping("deaf") as server:
        agent = agent_of(server, protocol, 0.5)
        with pytest.raises(AgentTimeoutError):
            agent.chat("word " * 2_000_000)
        with pytest.raises(AgentTimeoutError):
            asyncio.run(agent.achat("word " * 2_000_000))


def test_the_time_in_which_nobody_reads_a_stream_is_not_counted(protocol: str) -> None:
    with dripping("stream") as server:
        pieces = agent_of(server, protocol, 2.0).chat_stream("hi")
        assert next(pieces) == "well "
        threading.Event().wait(2.1)  # the consumer is at work
        assert next(pieces) == "well "
        pieces.close()


def test_a_stream_whose_end_mark_came_is_whole_although_the_server_goes_on(protocol: str) -> None:
    with dripping("ended") as server:
        agent = agent_of(server, protocol, 0.5)
        stream = agent.chat_stream("hi")
        assert (list(stream), stream.response.finish_reason) == (["well"], "stop")

        async def read() -> list[str]:
            return [piece async for piece in agent.achat_stream("hi")]

        assert asyncio.run(read()) == ["well"]


def graph_of(node: Callable[..., Any]) -> tau.StateGraph:
    graph = tau.StateGraph("waits", store=MemoryStore())
    graph.add_node("ask", node)
    graph.sequence("ask")
    return graph


def test_a_stop_and_a_deadline_end_the_wait(server: Dripping, protocol: str) -> None:
    ask = asking(agent_of(server, protocol), server.kind)
    graph, stop = graph_of(lambda _: {"text": ask()}), tau.Stop()
    watcher = threading.Thread(target=lambda: (server.began.wait(PATIENCE), stop.set("enough")))
    watcher.start()
    with pytest.raises(RunInterruptedError, match="enough"):
        graph.execute({}, run_id="r", stop=stop)
    watcher.join()
    with pytest.raises(RunInterruptedError):
        graph.resume("r", max_runtime=0.5)


async def test_they_do_so_in_an_event_loop(server: Dripping, protocol: str) -> None:
    ask, stop = async_asking(agent_of(server, protocol), server.kind), tau.Stop()

    async def node(_: tau.State) -> dict[str, Any]:
        return {"text": await ask()}

    graph = graph_of(node)
    run = asyncio.create_task(graph.aexecute({}, run_id="r", stop=stop))
    assert await asyncio.to_thread(server.began.wait, PATIENCE)
    stop.set("enough")
    with pytest.raises(RunInterruptedError, match="enough"):
        await run
    with pytest.raises(RunInterruptedError):
        await graph.aresume("r", max_runtime=0.5)


class LateError(Exception):
    """What a signal handler of the user's raises."""


@pytest.mark.parametrize("kind", [KeyboardInterrupt, LateError, TimeoutError])
def test_what_a_signal_handler_raises_ends_the_wait_as_it_is_and_without_the_key(
    server: Dripping, protocol: str, kind: type[BaseException]
) -> None:
    def handle(*_: object) -> None:
        raise kind("of a handler")

    ask = asking(agent_of(server, protocol), server.kind)
    watcher = threading.Thread(target=lambda: (server.began.wait(PATIENCE), os.kill(os.getpid(), signal.SIGUSR1)))
    before = signal.signal(signal.SIGUSR1, handle)
    try:
        watcher.start()
        with pytest.raises(kind, match="of a handler") as caught:
            ask()
    finally:
        signal.signal(signal.SIGUSR1, before)
    watcher.join()
    told = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert KEY not in "".join(told.format())
    assert type(caught.value) is kind


def test_ctrl_c_ends_the_wait_of_a_run(server: Dripping, protocol: str) -> None:
    ask = asking(agent_of(server, protocol), server.kind)
    graph = graph_of(lambda _: {"text": ask()})
    watcher = threading.Thread(target=lambda: (server.began.wait(PATIENCE), os.kill(os.getpid(), signal.SIGINT)))
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        graph.execute({})
    watcher.join()
