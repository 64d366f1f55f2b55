"""Loops, threads, processes and signals: where a hub is used from, and what becomes of it when these end."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
from hearing import SOON, Door, Ear

import tau
from tau import Hub, HubError, Message, StateGraph
from tau.hub import AgentGoneError, RequestFailedError


async def echo(message: Message) -> Any:
    return message.data, threading.current_thread()


def test_async_handlers_of_a_program_without_a_loop() -> None:
    with Hub("h") as hub:
        hub.register("b", echo)
        data, thread = hub.request("a", "b", 1).data
    assert data == 1
    assert thread is not threading.current_thread()


async def test_an_async_handler_runs_in_the_loop_in_which_it_was_registered() -> None:
    async with Hub("h") as hub:
        hub.register("b", echo)
        here = threading.current_thread()
        assert (await hub.arequest("a", "b", 1)).data == (1, here)
        answer = await asyncio.to_thread(hub.request, "a", "b", 2)
        assert answer.data == (2, here)


def test_two_loops_and_a_thread_share_a_hub() -> None:
    hub, ready, ended = Hub("h"), threading.Barrier(3), threading.Event()
    found: dict[str, Any] = {}

    async def serve(me: str, other: str) -> None:
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        hub.register(me, echo)
        await asyncio.to_thread(ready.wait, SOON)
        found[me] = [(await hub.arequest(me, other, number)).data for number in range(100)]
        threading.Thread(target=lambda: (ended.wait(SOON), loop.call_soon_threadsafe(done.set))).start()
        await done.wait()

    loops = [threading.Thread(target=lambda p=pair: asyncio.run(serve(*p))) for pair in (("a", "b"), ("b", "a"))]
    for one in loops:
        one.start()
    ready.wait(SOON)
    mine = [hub.request("x", "a", number).data for number in range(100)]
    while len(found) < 2:
        time.sleep(0)
    ended.set()
    for one in loops:
        one.join(SOON)
    assert [data for data, _ in mine] == list(range(100))
    assert {thread for _, thread in found["a"]} == {loops[1]}
    assert {thread for _, thread in found["b"]} == {loops[0]}


def test_when_asyncio_run_ends_its_agents_are_gone_and_may_come_again() -> None:
    hub, reached = Hub("h"), threading.Event()

    async def hang(message: Message) -> None:
        reached.set()
        await asyncio.Event().wait()

    errors: list[BaseException] = []

    def ask(number: int) -> None:
        try:
            hub.request("x", "b", number, timeout=3600)
        except AgentGoneError as error:
            errors.append(error)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(3)]

    async def first() -> None:
        hub.register("b", hang)
        for asker in askers:
            asker.start()
        await asyncio.to_thread(reached.wait, SOON)
        while hub.agents()["b"].queued < 2:
            await asyncio.sleep(0)

    asyncio.run(first())
    for asker in askers:
        asker.join(SOON)
    assert len(errors) == 3  # the one at work and those that were queued, at once
    with pytest.raises(AgentGoneError, match="register it again"):
        hub.send("x", "b")
    assert "b" not in hub.agents()
    assert hub.broadcast("x").delivered == ()

    async def second() -> Any:
        hub.register("b", echo)
        return (await hub.arequest("x", "b", 1)).data[0]

    assert asyncio.run(second()) == 1
    hub.shutdown()
    assert hub.metrics().dropped == 2


def test_a_loop_that_was_closed_without_work_is_noticed() -> None:
    hub = Hub("h")

    async def register() -> None:
        hub.register("b", echo)

    asyncio.run(register())
    with pytest.raises(AgentGoneError, match="loop in which its handler ran was closed"):
        hub.request("a", "b")


def test_messages_for_a_loop_that_stands_still_wait_for_it() -> None:
    hub, loop, heard = Hub("h"), asyncio.new_event_loop(), list[Any]()

    async def handler(message: Message) -> None:
        heard.append(message.data)

    async def register() -> None:
        hub.register("b", handler)

    loop.run_until_complete(register())
    for number in range(3):
        hub.send("a", "b", number)
    loop.run_until_complete(hub.ashutdown())
    loop.close()
    assert heard == [0, 1, 2]


def test_handlers_belong_to_no_run_and_to_no_context_of_the_sender() -> None:
    mark = contextvars.ContextVar[str]("mark", default="none")

    def inside() -> str:
        try:
            return tau.current().node
        except tau.TauError:
            return f"no run, {mark.get()}"

    async def later(message: Message) -> str:
        return inside()

    with Hub("h") as hub:
        hub.register("now", lambda message: inside())
        hub.register("later", later)

        def node(state: tau.State) -> dict[str, Any]:
            mark.set("sender")
            hub.register("made here", later)
            return {name: hub.request("n", name).data for name in ("now", "later", "made here")}

        async def async_node(state: tau.State) -> dict[str, Any]:
            mark.set("sender")
            hub.register("made there", later)
            return {"async": [(await hub.arequest("n", name)).data for name in ("now", "later", "made there")]}

        graph = StateGraph("g")
        graph.add_node("node", node)
        graph.add_node("async", async_node)
        graph.sequence("node", "async")
        final = graph.execute({})
        assert [final["now"], final["later"], final["made here"], *final["async"]] == ["no run, none"] * 6


def test_a_context_that_a_handler_sets_is_not_that_of_the_next_message() -> None:
    mark = contextvars.ContextVar[str]("mark", default="none")

    def handler(message: Message) -> str:
        before = mark.get()
        mark.set("set")
        return before

    with Hub("h") as hub:
        hub.register("b", handler)
        assert [hub.request("a", "b").data for _ in range(2)] == ["none", "none"]


def test_ctrl_c_ends_the_wait_of_a_request() -> None:
    door = Door()
    with Hub("h") as hub:
        hub.register("b", door)
        main = threading.get_ident()

        def interrupt() -> None:
            door.reached()
            signal.pthread_kill(main, signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            hub.request("a", "b", 1, timeout=3600)
        interrupter.join(SOON)
        door.open()
    assert hub.metrics().late == 1


def test_ctrl_c_while_a_sender_waits_for_room_takes_the_message_back() -> None:
    door = Door()
    with Hub("h", queue_size=1) as hub:
        hub.register("b", door)
        hub.send("a", "b", 1)
        door.reached()
        hub.send("a", "b", 2)
        main = threading.get_ident()

        def interrupt() -> None:
            while hub._core.boxes["b"].left < 3:
                time.sleep(0)
            signal.pthread_kill(main, signal.SIGINT)

        interrupter = threading.Thread(target=interrupt)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            hub.send("a", "b", 3, timeout=3600)
        interrupter.join(SOON)
        door.open()
    assert door.heard == [1, 2]


def test_a_signal_handler_may_send() -> None:
    ear = Ear()
    before = signal.getsignal(signal.SIGUSR1)
    with Hub("h") as hub:
        hub.register("b", ear)
        signal.signal(signal.SIGUSR1, lambda *_: hub.send("signal", "b", "s"))
        try:
            for number in range(200):
                os.kill(os.getpid(), signal.SIGUSR1)
                hub.send("main", "b", number)
        finally:
            signal.signal(signal.SIGUSR1, before)
    heard = [ear.hear() for _ in range(hub.metrics().messages_received)]
    assert [one.data for one in heard if one.sender == "main"] == list(range(200))
    assert sum(one.sender == "signal" for one in heard) >= 1


def test_a_request_that_waits_no_longer_is_not_begun() -> None:
    door = Door()
    with Hub("h") as hub:
        hub.register("b", door)
        hub.send("a", "b", "first")
        door.reached()
        with pytest.raises(tau.hub.RequestTimeoutError):
            hub.request("a", "b", "second", timeout=0.001)
        door.open()
    assert door.heard == ["first"]
    assert hub.metrics().dropped == 1


def test_a_forked_child_cannot_use_the_hub_but_one_of_its_own(tmp_path: Path) -> None:
    with Hub("parent") as hub:
        hub.register("b", echo)
        hub.register("c", Ear(1))
        hub.request("a", "b")
        hub.request("a", "c")
        child = os.fork()
        if child == 0:
            told = ""
            try:
                try:
                    hub.send("a", "b")
                except HubError as error:
                    told = str(error)
                hub.shutdown()
                with Hub("child") as own:
                    own.register("b", echo)
                    own.register("c", Ear(2))
                    answers = own.request("a", "b", 3).data[0], own.request("a", "c").data
                (tmp_path / "told").write_text(f"{answers} {told}", "utf-8")
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        told = (tmp_path / "told").read_text("utf-8")
        assert told.startswith("(3, 2) hub 'parent' belongs to the process that made it")
        assert hub.request("a", "b", 4).data[0] == 4


def test_a_hub_that_is_forgotten_leaves_nothing_behind() -> None:
    hub = Hub("forgotten")
    hub.register("b", echo)
    hub.register("c", Ear(1))
    hub.request("a", "b")
    hub.request("a", "c")
    hub.send("a", "b")
    hub.shutdown()
    gone, left = weakref.ref(hub), weakref.ref(hub._core)
    del hub
    ends = time.monotonic() + SOON
    while (gone() is not None or left() is not None) and time.monotonic() < ends:
        gc.collect()
    assert gone() is None
    assert left() is None


async def test_a_handler_that_only_computes_lets_others_of_its_loop_go_on() -> None:
    """A queue that is filled as fast as it is emptied does not keep the loop."""
    hub = Hub("h", queue_size=1000)
    count, ended = 0, asyncio.Event()

    async def handler(message: Message) -> None:
        nonlocal count
        count += 1
        if not ended.is_set():
            await hub.asend("b", "b")

    hub.register("b", handler)
    await hub.asend("a", "b")
    for _ in range(3):
        before = count
        while count == before:
            await asyncio.sleep(0)
    ended.set()
    await hub.ashutdown()


async def test_a_cancelled_sender_takes_its_message_back() -> None:
    door = Door()
    async with Hub("h", queue_size=1) as hub:
        hub.register("b", door)
        await hub.asend("a", "b", 1)
        await asyncio.to_thread(door.reached)
        await hub.asend("a", "b", 2)
        waiting = asyncio.create_task(hub.asend("a", "b", 3))
        await asyncio.sleep(0)
        assert hub._core.boxes["b"].left == 3
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        door.open()
    assert door.heard == [1, 2]


def test_counts_are_exact_whoever_counts() -> None:
    with Hub("h", queue_size=10) as hub:

        def handler(message: Message) -> None:
            if message.data % 7 == 0:
                raise ValueError

        async def later(message: Message) -> None:
            handler(message)

        hub.register("b", handler, concurrency=3)
        hub.register("c", later, concurrency=3)

        def send(name: str) -> None:
            for number in range(300):
                hub.send("a", name, number)

        def look() -> None:
            while not stop.is_set():
                found = hub.metrics()
                totals.append(found.messages_sent == found.messages_received + found.dropped + found.queued)

        stop, totals = threading.Event(), list[bool]()
        looker = threading.Thread(target=look)
        looker.start()
        senders = [threading.Thread(target=send, args=(name,)) for name in "bcbc"]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join(SOON)
    stop.set()
    looker.join(SOON)
    found = hub.metrics()
    assert (found.messages_sent, found.messages_received, found.failed) == (1200, 1200, 4 * 43)
    assert all(totals)


def test_a_handler_that_is_cancelled_inside_fails_and_the_next_one_runs() -> None:
    async def handler(message: Message) -> str:
        if message.data == "bad":
            inner = asyncio.get_running_loop().create_future()
            inner.cancel()
            await inner
        return "good"

    with Hub("h") as hub:
        hub.register("b", handler)
        with pytest.raises(RequestFailedError) as caught:
            hub.request("a", "b", "bad")
        assert caught.value.type_name == "CancelledError"
        assert hub.request("a", "b", "good").data == "good"
