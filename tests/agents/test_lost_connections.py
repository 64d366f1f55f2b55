"""Whatever breaks a call off, its connection is free for the next one: the agents here have one each."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import pytest
from model_servers import PATIENCE, Front

from tau.agents import Agent, AgentConfig
from tau.agents.errors import AgentRequestError


def agent_of(front: Front, protocol: str, model: str = "ok/lost") -> Agent:
    url = front.url + ("" if protocol == "ollama" else "/v1")
    provider = {"name": protocol, "base_url": url, "model": {"name": model}, "options": {"api_key": "any"}}
    return Agent(AgentConfig.from_dict({"name": "one", "client": {"provider": provider, "connection_pool_size": 1}}))


class Cancelling:
    """Awaits something, and cancels its task where that gives way for the n-th time."""

    def __init__(self, work: Coroutine[Any, Any, Any], number: int) -> None:
        self.work, self.left = work.__await__(), number

    def __await__(self) -> Generator[Any, Any, Any]:
        step: Callable[[Any], Any] = self.work.send
        given: Any = None
        while True:
            try:
                waited = step(given)
            except StopIteration as end:
                return end.value
            self.left -= 1
            task = asyncio.current_task()
            if self.left == 0 and task is not None:
                task.cancel()
            try:
                step, given = self.work.send, (yield waited)
            except BaseException as error:
                step, given = self.work.throw, error


async def read(agent: Agent) -> None:
    async with agent.achat_stream("hi") as stream:
        await anext(stream)


async def broken_off(agent: Agent) -> None:
    async for _ in agent.achat_stream("hi"):
        break


@pytest.mark.parametrize("is_warm", [False, True], ids=["first", "second"])
@pytest.mark.parametrize("work", [lambda agent: agent.achat("hi"), read, broken_off], ids=["chat", "read", "left"])
async def test_a_call_that_is_cancelled_at_any_await(front: Front, protocol: str, work: Any, is_warm: bool) -> None:
    number, is_over = 0, False
    while not is_over:
        number += 1
        agent = agent_of(front, protocol)
        if is_warm:
            await agent.achat("before")
        cancelling = Cancelling(work(agent), number)

        async def run(cancelling: Cancelling = cancelling) -> None:
            await cancelling

        with suppress(asyncio.CancelledError):
            await asyncio.create_task(run())
        is_over = cancelling.left > 0
        async with asyncio.timeout(PATIENCE):
            await agent.achat("after")
    assert number > 3


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def in_time(work: Callable[[], object]) -> None:
    done = threading.Event()
    thread = threading.Thread(target=lambda: (work(), done.set()), daemon=True)
    thread.start()
    assert done.wait(PATIENCE)


def test_a_stream_that_a_loop_was_left_from_is_closed_at_once(front: Front, protocol: str) -> None:
    agent = agent_of(front, protocol)
    with without_collector():
        for _ in agent.chat_stream("hi"):
            break
        in_time(lambda: agent.chat("after"))


async def test_a_stream_that_a_loop_was_left_from_is_closed_in_an_event_loop_too(front: Front, protocol: str) -> None:
    agent = agent_of(front, protocol)
    with without_collector():
        await broken_off(agent)
        async with asyncio.timeout(PATIENCE):
            await agent.achat("after")


@pytest.mark.parametrize("event", ["connect_tcp.complete", "receive_response_body.complete", "response_closed.started"])
def test_an_interrupt_in_the_code_of_a_client(front: Front, protocol: str, event: str) -> None:
    """As by Ctrl-C: where the client tells of what it does."""
    agent, struck = agent_of(front, protocol), list[str]()

    def strike(frame: FrameType, what: str, argument: Any) -> None:
        name = frame.f_locals.get("name")
        if what == "call" and frame.f_code.co_name == "_traced" and str(name).endswith(event):
            sys.setprofile(None)
            struck.append(event)
            raise KeyboardInterrupt

    sys.setprofile(strike)
    try:
        with pytest.raises(KeyboardInterrupt):
            agent.chat("hi")
    finally:
        sys.setprofile(None)
    assert struck == [event]
    in_time(lambda: agent.chat("after"))


def test_the_client_of_a_call_that_failed_in_order_is_kept(front: Front, protocol: str) -> None:
    """Its connection is used again."""
    agent = agent_of(front, protocol, "400/kept")
    clients = agent._asking.provider.clients  # type: ignore[attr-defined]
    client = clients.client()
    with pytest.raises(AgentRequestError):
        agent.chat("hi")
    assert clients.client() is client

    agent = agent_of(front, protocol)
    clients = agent._asking.provider.clients  # type: ignore[attr-defined]
    client = clients.client()
    with agent.chat_stream("hi") as stream:
        next(stream)
    agent.chat("hi")
    assert clients.client() is client
