"""A wait that would never end is refused at once, and the error names the circle; other waits are not."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from hearing import SOON, Door

from tau import Hub, Message
from tau.hub import CircularRequestError, RequestFailedError

LONG = 3600.0
"""A timeout that no test waits for."""


def circle(error: BaseException | None) -> tuple[str, ...]:
    """That of the error at the end of the chain of requests that failed."""
    while isinstance(error, RequestFailedError):
        error = error.__cause__
    assert isinstance(error, CircularRequestError), error
    return error.circle


def asking(hub: Hub, name: str, to: str, way: str, into: Hub | None = None) -> None:
    """An agent that asks another one before it answers."""
    other = into or hub

    async def later(message: Message) -> Any:
        return (await other.arequest(name, to, message.data, timeout=LONG)).data

    def now(message: Message) -> Any:
        return other.request(name, to, message.data, timeout=LONG).data

    hub.register(name, later if way == "async" else now)


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_agent_that_asks_itself(way: str) -> None:
    with Hub("h", timeout=LONG) as hub:
        asking(hub, "a", "a", way)
        with pytest.raises(RequestFailedError) as caught:
            hub.request("x", "a")
    assert circle(caught.value) == ("'a' of hub 'h'", "'a' of hub 'h'")


@pytest.mark.parametrize("ways", [("sync", "sync"), ("sync", "async"), ("async", "sync"), ("async", "async")])
def test_two_agents_that_ask_each_other(ways: tuple[str, str]) -> None:
    with Hub("h", timeout=LONG) as hub:
        asking(hub, "a", "b", ways[0])
        asking(hub, "b", "a", ways[1])
        with pytest.raises(RequestFailedError, match="'b' of hub 'h' -> 'a' of hub 'h' -> 'b' of hub 'h'") as caught:
            hub.request("x", "a")
    assert circle(caught.value) == ("'b' of hub 'h'", "'a' of hub 'h'", "'b' of hub 'h'")


def test_a_circle_across_hubs() -> None:
    with Hub("one", timeout=LONG) as one, Hub("two", timeout=LONG) as two:
        asking(one, "a", "b", "sync", into=two)
        asking(two, "b", "c", "async")
        asking(two, "c", "a", "sync", into=one)
        with pytest.raises(RequestFailedError) as caught:
            one.request("x", "a")
    assert circle(caught.value) == ("'c' of hub 'two'", "'a' of hub 'one'", "'b' of hub 'two'", "'c' of hub 'two'")


def test_two_that_were_asked_by_others_and_ask_each_other() -> None:
    """No chain of requests leads from one to the other; the second of them to wait is refused."""
    met = threading.Barrier(2)
    failed: list[tuple[str, ...]] = []

    with Hub("h", timeout=LONG) as hub:

        def handler(to: str, me: str) -> Any:
            def ask(message: Message) -> Any:
                if message.data != "go":
                    return "fine"
                met.wait(SOON)
                try:
                    return hub.request(me, to, "x", timeout=LONG).data
                except CircularRequestError as error:
                    failed.append(error.circle)
                    return "refused"

            return ask

        hub.register("a", handler("b", "a"))
        hub.register("b", handler("a", "b"))
        answers: list[Any] = []

        def ask(name: str) -> None:
            answers.append(hub.request("x", name, "go").data)

        askers = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join(SOON)
    assert sorted(answers) == ["fine", "refused"]
    assert len(failed) == 1


def test_no_circle_where_the_agent_has_a_handler_free() -> None:
    with Hub("h", timeout=LONG) as hub:

        def handler(message: Message) -> Any:
            return 1 if message.data == 0 else hub.request("a", "a", message.data - 1, timeout=LONG).data + 1

        hub.register("a", handler, concurrency=3)
        assert hub.request("x", "a", 2).data == 3
        with pytest.raises(RequestFailedError) as caught:
            hub.request("x", "a", 3)
    assert circle(caught.value)[0] == "'a' of hub 'h'"


def test_an_agent_may_send_to_itself() -> None:
    heard: list[int] = []
    done = threading.Event()
    with Hub("h", timeout=LONG) as hub:

        def handler(message: Message) -> None:
            heard.append(message.data)
            if message.data < 5:
                hub.send("a", "a", message.data + 1)
            else:
                done.set()

        hub.register("a", handler)
        hub.send("x", "a", 0)
        assert done.wait(SOON)
    assert heard == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_handler_that_waits_for_room_in_its_own_full_queue_is_refused(way: str) -> None:
    with Hub("h", timeout=LONG, queue_size=1) as hub:

        def now(message: Message) -> None:
            if message.data == "fill":
                hub.send("a", "a", 1)
                hub.send("a", "a", 2)

        async def later(message: Message) -> None:
            if message.data == "fill":
                await hub.asend("a", "a", 1)
                await hub.asend("a", "a", 2)

        hub.register("a", later if way == "async" else now)
        with pytest.raises(RequestFailedError) as caught:
            hub.request("x", "a", "fill")
    assert circle(caught.value) == ("'a' of hub 'h'", "'a' of hub 'h'")


def test_two_full_queues_whose_handlers_send_to_each_other() -> None:
    """One of the two waits, the other one is refused; nothing hangs."""
    reached, full = threading.Barrier(3), threading.Event()
    refused: list[str] = []
    with Hub("h", timeout=LONG, queue_size=1) as hub:

        def handler(me: str, to: str) -> Any:
            def send(message: Message) -> None:
                if message.data != "go":
                    return
                reached.wait(SOON)
                assert full.wait(SOON)
                try:
                    hub.send(me, to, "more")
                except CircularRequestError:
                    refused.append(me)

            return send

        hub.register("a", handler("a", "b"))
        hub.register("b", handler("b", "a"))
        for name in "ab":
            hub.send("x", name, "go")
        reached.wait(SOON)
        for name in "ab":
            hub.send("x", name, "fill")
        full.set()
    assert len(refused) == 1
    assert hub.metrics().messages_received == 5


def test_a_broadcast_names_whom_it_would_wait_for_in_vain() -> None:
    door = Door()
    with Hub("h", timeout=LONG, queue_size=1) as hub:

        def handler(message: Message) -> list[str]:
            hub.send("x", "a", "fill")
            delivery = hub.broadcast("boss", 1)
            return [*delivery.failed]

        hub.register("a", handler)
        hub.register("c", door)
        door.open()
        assert hub.request("x", "a").data == ["a"]
        door.reached()
        hub.unregister("a")


async def test_a_sync_verb_that_would_block_the_loop_of_its_agent() -> None:
    async def handler(message: Message) -> str:
        return "never"

    async with Hub("h", timeout=LONG, queue_size=1) as hub:
        hub.register("b", handler)
        with pytest.raises(CircularRequestError, match=r"request\(\) would block the event loop.*await arequest"):
            hub.request("a", "b")
        hub.send("a", "b", 1)
        with pytest.raises(CircularRequestError, match=r"send\(\) would block the event loop.*await asend"):
            hub.send("a", "b", 2)
        assert (await hub.arequest("a", "b")).data == "never"


def test_a_sync_verb_in_an_async_handler_of_the_same_loop() -> None:
    with Hub("h", timeout=LONG) as hub:

        async def inner(message: Message) -> str:
            return "never"

        async def outer(message: Message) -> Any:
            return hub.request("outer", "inner").data

        hub.register("inner", inner)
        hub.register("outer", outer)
        with pytest.raises(RequestFailedError, match="would block the event loop"):
            hub.request("x", "outer")


async def test_a_sync_verb_in_a_loop_may_wait_for_a_thread() -> None:
    async with Hub("h", timeout=LONG) as hub:
        hub.register("b", lambda message: message.data)
        assert hub.request("a", "b", 1).data == 1


async def test_a_loop_that_is_blocked_is_part_of_a_circle() -> None:
    """A thread is asked that would have to wait for an agent of the blocked loop."""

    async def inner(message: Message) -> str:
        return "never"

    async with Hub("h", timeout=LONG) as hub:
        hub.register("inner", inner)
        asking(hub, "outer", "inner", "sync")
        with pytest.raises(RequestFailedError) as caught:
            hub.request("x", "outer")
    assert "'inner' of hub 'h'" in circle(caught.value)


def test_what_a_handler_left_behind_may_ask_its_agent() -> None:
    """A task that outlives the call of the handler holds nothing up."""
    found: list[Any] = []
    done = threading.Event()
    with Hub("h", timeout=LONG) as hub:
        tasks: set[Any] = set()

        async def ask() -> None:
            found.append((await hub.arequest("a", "a", "again", timeout=LONG)).data)
            done.set()

        async def handler(message: Message) -> str:
            if message.data == "first":
                tasks.add(asyncio.create_task(ask()))
            return "answered"

        hub.register("a", handler)
        assert hub.request("x", "a", "first").data == "answered"
        assert done.wait(SOON)
    assert found == ["answered"]


async def test_what_a_handler_left_behind_waits_for_keeps_its_agent_from_nothing() -> None:
    """Its agent is at work on the next message; who is waited for by the task may ask the agent."""
    asked, may_end = asyncio.Event(), asyncio.Event()
    async with Hub("h", timeout=LONG) as hub:
        left: list[asyncio.Task[Message]] = []

        async def handler(message: Message) -> str:
            if message.data == "first":
                left.append(asyncio.create_task(hub.arequest("a", "b", "well?")))
                await asyncio.wait_for(asked.wait(), SOON)  # until b has it, so that the task waits for b
            elif message.data == "long":
                at_work.set()
                await asyncio.wait_for(may_end.wait(), SOON)
            return f"a on {message.data}"

        async def other(message: Message) -> str:
            asked.set()
            await asyncio.wait_for(at_work.wait(), SOON)
            back = asyncio.create_task(hub.arequest("b", "a", "back"))
            await asyncio.sleep(0)
            may_end.set()
            return f"b with {(await back).data}"

        at_work = asyncio.Event()
        hub.register("a", handler)
        hub.register("b", other)
        first, long = (asyncio.create_task(hub.arequest("x", "a", data)) for data in ("first", "long"))
        assert (await first).data == "a on first"
        assert (await left[0]).data == "b with a on back"
        assert (await long).data == "a on long"
