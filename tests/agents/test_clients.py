"""The clients of an agent: one for each process and each event loop, closed with these."""

from __future__ import annotations

import asyncio
import gc
import os
import threading

import pytest
from model_servers import Front

from tau.agents import Agent
from tau.agents.providers.clients import Clients

PATIENCE = 60


@pytest.mark.parametrize("protocol", ["ollama", "openai"])
def test_a_loop_that_ends_leaves_no_connection(front: Front, protocol: str) -> None:
    agent = Agent(protocol, f"ok/loops-{protocol}", base_url=front.url + ("" if protocol == "ollama" else "/v1"))
    asyncio.run(agent.achat("hi"))
    gc.collect()  # what other tests left
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        asyncio.run(agent.achat("hi"))
    assert len(os.listdir("/proc/self/fd")) == before


def test_of_loops_that_were_closed_nothing_is_kept() -> None:
    class Client:
        async def close(self) -> None:
            pass

    clients = Clients(Client, Client)

    async def find() -> object:
        return clients.async_client()[0]

    for _ in range(5):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(find())
        loop.close()
    assert len(clients._of_loops) == 1


def test_a_child_that_was_forked_while_another_thread_made_a_client_makes_its_own() -> None:
    making, goes_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def make() -> str:
        if os.getpid() == parent:
            making.set()
            goes_on.wait(PATIENCE)
        return f"of {os.getpid()}"

    clients = Clients(make, make)
    thread = threading.Thread(target=clients.client)
    thread.start()
    assert making.wait(PATIENCE)
    child = os.fork()
    if child == 0:
        threading.Timer(PATIENCE / 2, os._exit, (3,)).start()
        os._exit(0 if clients.client() == f"of {os.getpid()}" else 4)
    goes_on.set()
    thread.join(PATIENCE)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert clients.client() == f"of {parent}"
