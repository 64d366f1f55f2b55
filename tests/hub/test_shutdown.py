"""How a hub ends: what was sent is handled, or whoever waits is told; nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
from typing import Any

import pytest
from hearing import SOON, Door, Ear

from tau import Hub, HubError, Message
from tau.hub import AgentGoneError, HubClosedError, ShutdownTimeoutError


def in_a_thread(function: Any, *args: Any, **kwargs: Any) -> tuple[threading.Thread, list[Any]]:
    """Run it there; what it returned or raised."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(function(*args, **kwargs))
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    return thread, found


def test_handlers_may_send_and_ask_while_the_rest_is_handled() -> None:
    door, ear = Door(), Ear("answer")
    hub = Hub("drains")

    def handler(message: Message) -> None:
        door(message)
        assert hub.request("b", "c", 1).data == "answer"
        hub.send("b", "c", 2)

    hub.register("b", handler)
    hub.register("c", ear)
    hub.send("a", "b", 1)
    hub.send("a", "b", 2)
    door.reached()
    ending, _ = in_a_thread(hub.shutdown)
    while True:  # until the shutdown has begun
        try:
            hub.send("x", "c", "early")
        except HubClosedError:
            break
    door.open()
    ending.join(SOON)
    heard = [ear.hear().data for _ in range(hub.metrics().messages_received - 2)]
    assert [data for data in heard if data != "early"] == [1, 2, 1, 2]
    assert (hub.metrics().dropped, hub.metrics().failed) == (0, 0)


def test_a_handler_that_shuts_its_own_hub_down_does_not_wait_for_itself() -> None:
    hub, heard = Hub("own"), list[int]()
    done = threading.Event()

    def handler(message: Message) -> None:
        heard.append(message.data)
        if message.data == 1:
            hub.shutdown(timeout=3600)
        if message.data == 3:
            done.set()

    hub.register("b", handler)
    for number in (1, 2, 3):
        try:
            hub.send("a", "b", number)
        except HubClosedError:
            heard.append(number)
            done.set()
    assert done.wait(SOON)
    hub.shutdown()
    assert set(heard) >= {1}
    with pytest.raises(HubClosedError):
        hub.send("a", "b")


async def test_an_async_handler_that_shuts_its_own_hub_down() -> None:
    hub, heard = Hub("own"), list[int]()

    async def handler(message: Message) -> None:
        heard.append(message.data)
        if message.data == 1:
            await hub.ashutdown(timeout=3600)

    hub.register("b", handler)
    for number in (1, 2, 3):
        await hub.asend("a", "b", number)
    await hub.ashutdown()
    assert heard == [1, 2, 3]


def test_a_deadline_tells_all_who_wait() -> None:
    hub, door = Hub("late", queue_size=1), Door()
    hub.register("b", door)
    at_work = in_a_thread(hub.request, "a", "b", 1)
    door.reached()
    queued = in_a_thread(hub.request, "a", "b", 2)
    while hub.agents()["b"].queued == 0:
        pass
    without_room = in_a_thread(hub.send, "a", "b", 3)
    while hub._core.boxes["b"].left < 3:
        pass
    with pytest.raises(ShutdownTimeoutError) as caught:
        hub.shutdown(timeout=0.001)
    assert caught.value.left == {"b": 3}
    for thread, found in (at_work, queued, without_room):
        thread.join(SOON)
        assert isinstance(found[0], HubClosedError), found
    door.open()


async def test_a_deadline_cancels_async_handlers() -> None:
    hub, ended = Hub("late"), asyncio.Event()

    async def handler(message: Message) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    hub.register("b", handler)
    waiting = asyncio.create_task(hub.arequest("a", "b"))
    await asyncio.sleep(0)
    with pytest.raises(ShutdownTimeoutError):
        await hub.ashutdown(timeout=0.001)
    with pytest.raises(HubClosedError):
        await waiting
    await asyncio.wait_for(ended.wait(), SOON)


def test_unregister_tells_all_who_wait_and_lets_the_handler_answer() -> None:
    hub, door = Hub("leaves", queue_size=1), Door()
    hub.register("b", door)
    at_work = in_a_thread(hub.request, "a", "b", 1)
    door.reached()
    queued = in_a_thread(hub.request, "a", "b", 2)
    while hub.agents()["b"].queued == 0:
        pass
    without_room = in_a_thread(hub.send, "a", "b", 3)
    while hub._core.boxes["b"].left < 3:
        pass
    hub.unregister("b")
    for thread, found in (queued, without_room):
        thread.join(SOON)
        assert isinstance(found[0], AgentGoneError), found
    door.open()
    at_work[0].join(SOON)
    assert at_work[1][0].data == 1
    assert hub.metrics().dropped == 1


async def test_a_sync_shutdown_in_the_loop_of_its_handlers_says_what_to_do() -> None:
    hub = Hub("loop")

    async def handler(message: Message) -> None:
        await asyncio.sleep(0)

    hub.register("b", handler)
    await hub.asend("a", "b")
    with pytest.raises(HubError, match=r"await hub\.ashutdown\(\)"):
        hub.shutdown()
    await hub.ashutdown()


def test_the_error_of_a_block_is_not_hidden_by_its_hub() -> None:
    door = Door()

    def use() -> None:
        with Hub("block", timeout=0.001) as hub:
            hub.register("b", door)
            hub.send("a", "b")
            door.reached()
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        use()
    assert "hub shutdown timeout" in caught.value.__notes__[0]
    door.open()


AT_THE_END = """
from tau import Hub, HubError

hub = Hub("late")
hub.register("b", lambda message: 1)

class Last:
    def __del__(self):
        try:
            hub.request("a", "b")
        except HubError as error:
            print(type(error).__name__, flush=True)

last = Last()
"""


def test_what_is_requested_as_the_interpreter_ends_is_refused_and_does_not_hang() -> None:
    command = [sys.executable, "-c", AT_THE_END]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SOON, check=False)
    assert (done.returncode, done.stdout) == (0, "AgentGoneError\n"), done.stderr


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_shutdown_waits_for_the_handler_of_an_agent_that_was_unregistered(way: str) -> None:
    """What it still sends is taken, too."""
    begun, may_end, heard = threading.Event(), threading.Event(), list[Any]()

    def now(_: Message) -> None:
        begun.set()
        assert may_end.wait(SOON)
        hub.send("leaving", "other", "the last word")

    async def later(_: Message) -> None:
        begun.set()
        await asyncio.to_thread(may_end.wait, SOON)
        await hub.asend("leaving", "other", "the last word")

    with Hub("h", timeout=SOON) as hub:
        hub.register("leaving", now if way == "sync" else later)
        hub.register("other", lambda message: heard.append(message.data))
        hub.send("x", "leaving")
        assert begun.wait(SOON)
        hub.unregister("leaving")
        closing, _ = in_a_thread(hub.shutdown)
        with contextlib.suppress(HubClosedError):
            while closing.is_alive():  # until it takes nothing more
                hub.subscribe("other", "anything")
        assert closing.is_alive()
        may_end.set()
        closing.join(SOON)
    assert heard == ["the last word"]
