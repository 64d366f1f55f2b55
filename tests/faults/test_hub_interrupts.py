"""What a signal handler raises, at each place of the hub's own code at which Python looks for signals: the counts stay
true, nobody waits for what never comes, and the agent goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from interrupts import Alarm, Strike

import tau.hub
from tau import Hub, Message
from tau.errors import HubError
from tau.hub import AgentGoneError, QueueFullError, RequestTimeoutError

pytestmark = pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
HERE = str(Path(tau.hub.__file__).parent)
PATIENCE = 60


class StrikeHub(Strike):
    def __init__(self, place: Any = None, last: int = 1) -> None:
        super().__init__(Alarm, place, by_line=False, last=last)
        self.files = lambda name: name.startswith(HERE)


def strikes(attempt: Callable[[StrikeHub], None]) -> int:
    """Make the attempt, struck at each place the first and the last time that it is met; how many there are."""
    plain = StrikeHub()
    attempt(plain)
    for place, times in sorted(plain.met.items()):
        for last in {1, times}:
            attempt(StrikeHub(place, last))
    return len(plain.met)


class Busy:
    """A hub whose agent is at work on its first message until the gate is opened."""

    def __init__(self, queue_size: int = 100) -> None:
        self.hub = Hub(queue_size=queue_size, timeout=PATIENCE)
        self.handled: list[Any] = []
        self.gate, began = threading.Event(), threading.Event()

        def handle(message: Message) -> str:
            self.handled.append(message.data)
            began.set()
            assert self.gate.wait(PATIENCE)
            return "done"

        self.hub.register("agent", handle)
        self.hub.send("x", "agent", "first")
        assert began.wait(PATIENCE)

    def check(self) -> None:
        """It goes on, and its counts are true."""
        self.gate.set()
        assert self.hub.request("x", "agent", "last").data == "done"
        self.hub.shutdown()
        metrics = self.hub.metrics()
        assert metrics.messages_received == len(self.handled)
        assert metrics.messages_sent == metrics.messages_received + metrics.dropped


@pytest.mark.parametrize("verb", ["request", "send", "broadcast"])
def test_an_interrupt_at_any_place_of_a_verb_leaves_true_counts_and_no_request_that_nobody_waits_for(verb: str) -> None:
    def attempt(strike: StrikeHub) -> None:
        busy = Busy(queue_size=1)
        if verb != "request":
            busy.hub.send("x", "agent", "second")
        with suppress(Alarm, RequestTimeoutError, QueueFullError), strike:
            getattr(busy.hub, verb)("y", *["agent"][: verb != "broadcast"], "mine", timeout=0.01)
        busy.check()
        assert verb != "request" or "mine" not in busy.handled

    assert strikes(attempt) >= 20


def test_an_interrupt_at_any_place_of_unregister_leaves_nobody_waiting() -> None:
    def attempt(strike: StrikeHub) -> None:
        busy, told = Busy(), list[HubError]()

        def ask() -> None:
            with pytest.raises(AgentGoneError) as raised:
                busy.hub.request("y", "agent", "mine")
            told.append(raised.value)

        askers = [threading.Thread(target=ask) for _ in range(2)]
        for asker in askers:
            asker.start()
        while busy.hub.metrics().queued < 2:
            threading.Event().wait(0.001)
        with suppress(Alarm), strike:
            busy.hub.unregister("agent")
        if "agent" in busy.hub.agents():
            busy.hub.unregister("agent")
        for asker in askers:
            asker.join(PATIENCE)
        assert len(told) == 2
        busy.gate.set()
        busy.hub.shutdown()
        assert busy.hub.metrics().messages_received == len(busy.handled) == 1

    assert strikes(attempt) >= 10


def in_loop(attempt: Callable[[StrikeHub], Any]) -> Callable[[StrikeHub], None]:
    """The attempt in a loop that goes on whatever is raised in its callbacks."""

    def run(strike: StrikeHub) -> None:
        async def quietly() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda loop, about: None)
            await attempt(strike)

        asyncio.run(quietly())

    return run


def test_an_interrupt_at_any_place_in_the_loop_of_an_agent_leaves_it_at_work() -> None:
    async def attempt(strike: StrikeHub) -> None:
        handled = list[Any]()

        async def handle(message: Message) -> str:
            handled.append(message.data)
            return "done"

        hub = Hub(timeout=PATIENCE)
        hub.register("agent", handle)
        with suppress(Alarm, HubError), strike:
            await hub.arequest("x", "agent", "first")
            await hub.asend("x", "agent", "second")
            await asyncio.sleep(0)
        assert (await hub.arequest("x", "agent", "last")).data == "done"
        await hub.ashutdown()
        metrics = hub.metrics()
        assert len(handled) <= metrics.messages_received <= len(handled) + metrics.failed
        assert metrics.messages_sent == metrics.messages_received + metrics.dropped

    assert strikes(in_loop(attempt)) > 40
