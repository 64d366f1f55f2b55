"""The origin's hub, line by line (H1 to H41), and what is right where the origin was wrong."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest
from hearing import SOON, Door, Ear

from tau import ConfigError, Hub, HubError, Message
from tau.hub import (
    AgentGoneError,
    HubClosedError,
    HubConfig,
    MessageContext,
    Metrics,
    Priority,
    QueueFullError,
    RequestFailedError,
    RequestTimeoutError,
    ShutdownTimeoutError,
    UnknownAgentError,
)


@pytest.fixture
def hub() -> Any:
    with Hub("origin") as made:
        yield made


def test_h1_a_registered_agent_counts(hub: Hub) -> None:
    hub.register("a", Ear())
    assert hub.metrics().local_agents == 1


def test_h2_a_name_is_for_one_agent(hub: Hub) -> None:
    hub.register("a", Ear())
    with pytest.raises(HubError, match="agent already registered: 'a'"):
        hub.register("a", Ear())


def test_h3_an_unregistered_agent_does_not_count(hub: Hub) -> None:
    hub.register("a", Ear())
    hub.unregister("a")
    assert hub.metrics().local_agents == 0


def test_h4_an_unknown_agent_cannot_be_unregistered(hub: Hub) -> None:
    with pytest.raises(UnknownAgentError, match="agent not found: 'x'"):
        hub.unregister("x")


def test_h5_a_message_that_is_sent_arrives_as_a_notification(hub: Hub) -> None:
    ear = Ear()
    hub.register("a", Ear())
    hub.register("b", ear)
    sent = hub.send("a", "b", "x")
    heard = ear.hear()
    assert (heard.data, heard.type, heard.sender, heard.to, heard.id) == ("x", "notification", "a", "b", sent.id)
    assert (hub.metrics().messages_sent, hub.metrics().messages_received) == (1, 1)


def test_h6_a_message_to_nobody_is_an_error_that_names_who_is_there(hub: Hub) -> None:
    hub.register("reporter", Ear())
    with pytest.raises(UnknownAgentError, match=r"agent not found: 'reporte'.*did you mean 'reporter'") as caught:
        hub.send("a", "reporte", 1)
    assert caught.value.agent == "reporte"
    assert hub.metrics().messages_sent == 0


def test_h7_the_handlers_answer_comes_back(hub: Hub) -> None:
    hub.register("b", lambda message: message.data + 1)
    answer = hub.request("a", "b", 1)
    assert (answer.data, answer.type, answer.sender, answer.to) == (2, "response", "b", "a")


def test_h7_a_handler_may_make_the_response_itself(hub: Hub) -> None:
    hub.register("b", lambda message: message.reply("yes", headers={"model": "m"}))
    answer = hub.request("a", "b")
    assert (answer.data, answer.headers) == ("yes", {"model": "m"})


def test_h8_without_an_answer_the_deadline_is_an_error(hub: Hub) -> None:
    door = Door()
    hub.register("b", door)
    with pytest.raises(RequestTimeoutError) as caught:
        hub.request("a", "b", timeout=0.01)
    assert (caught.value.agent, caught.value.seconds) == ("b", 0.01)
    door.open()


def test_h9_a_request_to_nobody_is_an_error(hub: Hub) -> None:
    with pytest.raises(UnknownAgentError):
        hub.request("a", "b")


def test_h10_the_timeout_is_that_of_the_call_or_else_of_the_hub() -> None:
    door = Door()
    with Hub("quick", timeout=0.01) as hub:
        hub.register("b", door)
        with pytest.raises(RequestTimeoutError, match=r"request timed out after 0\.01 s"):
            hub.request("a", "b")
        hub.unregister("b")
        door.open()


async def test_h10_a_cancelled_request_is_a_cancellation() -> None:
    door = Door()
    async with Hub("cancelled") as hub:
        hub.register("b", door)
        task = asyncio.create_task(hub.arequest("a", "b", 1))
        await asyncio.to_thread(door.reached)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        door.open()


def test_h11_a_broadcast_reaches_all_but_the_sender(hub: Hub) -> None:
    ears = {name: Ear() for name in ("a", "b", "c")}
    for name, ear in ears.items():
        hub.register(name, ear)
    delivery = hub.broadcast("a", "sunset")
    assert sorted(delivery.delivered) == ["b", "c"]
    assert [ears[name].hear().type for name in "bc"] == ["broadcast", "broadcast"]
    assert not ears["a"].has_heard()


def test_h12_what_is_published_reaches_the_subscribers_but_not_the_publisher(hub: Hub) -> None:
    ears = {name: Ear() for name in ("a", "b", "c")}
    for name, ear in ears.items():
        hub.register(name, ear)
    for name in ("a", "b"):
        hub.subscribe(name, "equipment")
    assert hub.publish("a", "equipment", "blanket").delivered == ("b",)
    heard = ears["b"].hear()
    assert (heard.type, heard.topic, heard.data) == ("notification", "equipment", "blanket")
    assert not ears["a"].has_heard()
    assert not ears["c"].has_heard()


def test_h13_an_unknown_agent_cannot_subscribe(hub: Hub) -> None:
    with pytest.raises(UnknownAgentError):
        hub.subscribe("x", "t")


def test_h14_to_publish_without_subscribers_is_no_error(hub: Hub) -> None:
    delivery = hub.publish("a", "t", 1)
    assert (delivery.messages, dict(delivery.failed)) == ((), {})


def test_h15_who_is_unregistered_hears_of_no_topic(hub: Hub) -> None:
    ear = Ear()
    hub.register("b", ear)
    hub.subscribe("b", "t")
    hub.unregister("b")
    assert hub.publish("a", "t").delivered == ()


def test_h16_a_handler_is_told_hub_and_agent(hub: Hub) -> None:
    def handler(message: Message, context: MessageContext) -> tuple[str, str, bool]:
        return context.hub_name, context.agent, context.hub is hub

    hub.register("b", handler)
    assert hub.request("a", "b").data == ("origin", "b", True)


def test_h17_a_handlers_error_is_logged_and_the_hub_goes_on(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    def handler(message: Message) -> None:
        if message.data == "bad":
            raise ValueError("no")

    hub.register("b", handler)
    hub.send("a", "b", "bad")
    hub.request("a", "b", "good")
    (record,) = [record for record in caplog.records if record.name == "tau.hub"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)
    assert hub.metrics().failed == 1


def test_h18_metrics_begin_at_zero_and_count(hub: Hub) -> None:
    assert hub.metrics() == Metrics()
    ear = Ear()
    hub.register("a", Ear())
    hub.register("b", ear)
    assert hub.metrics() == Metrics(local_agents=2)
    hub.send("a", "b")
    ear.hear()
    assert hub.metrics() == Metrics(local_agents=2, messages_sent=1, messages_received=1)


def test_h19_a_shutdown_in_time_returns() -> None:
    hub = Hub("ends")
    ear = Ear()
    hub.register("b", ear)
    for number in range(50):
        hub.send("a", "b", number)
    hub.shutdown(timeout=SOON)
    assert [ear.hear().data for _ in range(50)] == list(range(50))


def test_h20_a_shutdown_without_time_says_what_was_left() -> None:
    hub, door = Hub("ends"), Door()
    hub.register("b", door)
    hub.send("a", "b", 1)
    door.reached()
    hub.send("a", "b", 2)
    with pytest.raises(ShutdownTimeoutError, match="hub shutdown timeout after 1e-09 s") as caught:
        hub.shutdown(timeout=1e-9)
    assert caught.value.left == {"b": 2}
    assert hub.metrics().dropped == 1
    door.open()


def test_h21_agents_handle_at_the_same_time_each_one_message_at_a_time(hub: Hub) -> None:
    """The origin had a goroutine for each message."""
    met, at_work, most = threading.Barrier(2), [0], [0]

    def handler(message: Message) -> None:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        at_work[0] -= 1

    hub.register("b", lambda message: met.wait(SOON))
    hub.register("c", lambda message: met.wait(SOON))
    hub.register("d", handler)
    hub.broadcast("a")
    for number in range(100):
        hub.send("a", "d", number)
    hub.shutdown()
    assert not met.broken
    assert most == [1]


def test_h22_a_response_to_what_nobody_waits_for_goes_to_its_receiver(hub: Hub) -> None:
    ear = Ear()
    hub.register("a", ear)
    hub.register("b", lambda message: message.reply("roger"))
    sent = hub.send("a", "b", "wrench?")
    heard = ear.hear()
    assert (heard.type, heard.data, heard.reply_to, heard.sender) == ("response", "roger", sent.id, "b")


def test_h23_a_handler_that_is_none_is_refused(hub: Hub) -> None:
    """The origin dropped the messages of such an agent."""
    with pytest.raises(ConfigError, match="expected a callable"):
        hub.register("b", None)  # type: ignore[arg-type]


def test_h24_it_is_known_when_an_agent_last_sent_something(hub: Hub) -> None:
    hub.register("a", Ear())
    hub.register("b", Ear())
    assert hub.agents()["a"].last_seen is None
    seen = []
    for verb in (
        lambda: hub.send("a", "b"),
        lambda: hub.request("a", "b"),
        lambda: hub.broadcast("a"),
        lambda: (hub.subscribe("b", "t"), hub.publish("a", "t")),
    ):
        before = time.time()
        verb()
        seen.append((before, hub.agents()["a"].last_seen, time.time()))
    assert all(last is not None and before <= last <= after for before, last, after in seen)
    assert hub.agents()["b"].last_seen is None


def test_h25_a_sender_need_not_be_an_agent(hub: Hub) -> None:
    ear = Ear("yes")
    hub.register("b", ear)
    hub.send("nobody", "b", 1)
    assert ear.hear().sender == "nobody"
    assert hub.request("nobody", "b").data == "yes"


def test_h26_a_hub_without_work_has_neither_thread_nor_task_nor_timer() -> None:
    """The origin polled, half a processor for each hub."""

    async def handler(message: Message) -> str:
        return "done"

    async def use() -> tuple[int, int]:
        hub = Hub("idle")
        hub.register("b", handler)
        await hub.arequest("a", "b")
        loop: Any = asyncio.get_running_loop()
        await asyncio.sleep(0)
        timers = [timer for timer in loop._scheduled if not timer.cancelled()]
        return len(asyncio.all_tasks()), len(timers)

    assert asyncio.run(use()) == (1, 0)
    before = threading.active_count()
    hubs = [Hub(f"{number}") for number in range(10)]
    for hub in hubs:
        hub.register("b", Ear())
        hub.register("c", handler)
    assert threading.active_count() <= before + 1  # the loop of those that are registered outside of any


def test_h27_agents_come_and_go_while_others_send(hub: Hub) -> None:
    """The origin's channel was closed under its senders, which ended the process."""
    ended = threading.Event()
    wrong: list[BaseException] = []

    def send() -> None:
        while not ended.is_set():
            try:
                hub.send("a", "b", 1)
            except (UnknownAgentError, AgentGoneError):
                continue
            except BaseException as error:
                wrong.append(error)

    senders = [threading.Thread(target=send) for _ in range(4)]
    for sender in senders:
        sender.start()
    for _ in range(200):
        hub.register("b", lambda message: None)
        hub.unregister("b")
    ended.set()
    for sender in senders:
        sender.join(SOON)
    assert not wrong
    found = hub.metrics()
    assert found.messages_sent == found.messages_received + found.dropped + found.queued


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_h28_order_holds_for_sender_receiver_and_priority(hub: Hub, kind: str) -> None:
    heard: list[Any] = []

    async def later(message: Message) -> None:
        heard.append((message.sender, message.priority, message.data))
        await asyncio.sleep(0)

    def now(message: Message) -> None:
        heard.append((message.sender, message.priority, message.data))

    hub.register("b", later if kind == "async" else now)

    def send(sender: str) -> None:
        for number in range(500):
            hub.send(sender, "b", number, priority=Priority(number % 4))

    senders = [threading.Thread(target=send, args=(name,)) for name in ("x", "y")]
    for one in senders:
        one.start()
    for one in senders:
        one.join(SOON)
    hub.shutdown()
    assert len(heard) == 1000
    for lane in {one[:2] for one in heard}:
        numbers = [number for *of, number in heard if tuple(of) == lane]
        assert numbers == sorted(numbers)


def test_h29_a_full_queue_holds_the_sender_back() -> None:
    door = Door()
    with Hub("full", queue_size=2) as hub:
        hub.register("b", door)
        hub.send("a", "b", 0)
        door.reached()
        hub.send("a", "b", 1)
        hub.send("a", "b", 2)
        with pytest.raises(QueueFullError, match=r"no room for a message within 0\.01 s") as caught:
            hub.send("a", "b", 3, timeout=0.01)
        assert caught.value.agent == "b"
        waiting = threading.Thread(target=hub.send, args=("a", "b", 4))
        waiting.start()
        door.open()
        waiting.join(SOON)
    assert door.heard == [0, 1, 2, 4]
    assert hub.metrics().messages_sent == 4


def test_h30_a_failed_request_is_an_error_at_once(hub: Hub) -> None:
    """The origin let the requester wait for the whole timeout."""

    def handler(message: Message) -> None:
        raise ValueError("no such valve")

    hub.register("b", handler)
    with pytest.raises(RequestFailedError, match=r"'b' of hub 'origin' failed.*ValueError: no such valve") as caught:
        hub.request("a", "b", timeout=3600)
    assert (caught.value.agent, caught.value.type_name, caught.value.text) == ("b", "ValueError", "no such valve")
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, MemoryError])
@pytest.mark.parametrize("way", ["sync", "async"])
def test_h31_whatever_a_handler_raises_ends_its_message_only(hub: Hub, kind: type[BaseException], way: str) -> None:
    if way == "async" and kind is GeneratorExit:
        kind = RecursionError  # what closes a coroutine is not for it to raise

    def now(message: Message) -> str:
        if message.data == "bad":
            raise kind("x")
        return "good"

    async def later(message: Message) -> str:
        return now(message)

    hub.register("b", later if way == "async" else now)
    with pytest.raises(RequestFailedError) as caught:
        hub.request("a", "b", "bad")
    assert caught.value.type_name == kind.__name__
    assert hub.request("a", "b", "good").data == "good"


def test_h32_a_late_answer_is_dropped_and_counted(hub: Hub) -> None:
    door, ear = Door(), Ear()
    hub.register("a", ear)
    hub.register("b", door)
    with pytest.raises(RequestTimeoutError):
        hub.request("a", "b", 1, timeout=0.01)
    door.reached()
    door.open()
    hub.shutdown()
    assert hub.metrics().late == 1
    assert not ear.has_heard()


async def test_h33_the_requester_may_be_gone_when_the_answer_comes() -> None:
    door = Door()
    hub = Hub("gone")
    hub.register("a", Ear())
    hub.register("b", door)
    task = asyncio.create_task(hub.arequest("a", "b", 1))
    await asyncio.to_thread(door.reached)
    hub.unregister("a")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    door.open()
    await hub.ashutdown()
    assert hub.metrics().late == 1


def test_h34_a_shutdown_waits_for_handlers_and_nothing_is_taken_after_it() -> None:
    hub, door = Hub("ends"), Door()
    hub.register("b", door)
    hub.send("a", "b", 1)
    hub.send("a", "b", 2)
    door.reached()
    ending = threading.Thread(target=hub.shutdown)
    ending.start()
    door.open()
    ending.join(SOON)
    assert door.heard == [1, 2]
    for verb in (
        lambda: hub.send("a", "b"),
        lambda: hub.request("a", "b"),
        lambda: hub.broadcast("a"),
        lambda: hub.publish("a", "t"),
        lambda: hub.register("c", Ear()),
        lambda: hub.subscribe("b", "t"),
        lambda: hub.unregister("b"),
    ):
        for _ in range(50):
            with pytest.raises(HubClosedError, match="hub 'ends' was shut down"):
                verb()
    assert door.heard == [1, 2]


def test_h35_a_slow_agent_holds_no_other_up_and_is_reported() -> None:
    door, ear = Door(), Ear()
    with Hub("slow", queue_size=1) as hub:
        hub.register("slow", door)
        hub.register("quick", ear)
        hub.send("a", "slow", 0)
        door.reached()
        hub.send("a", "slow", 1)
        delivery = hub.broadcast("a", 2, timeout=0.01)
        assert delivery.delivered == ("quick",)
        assert isinstance(delivery.failed["slow"], QueueFullError)
        assert ear.hear().data == 2
        assert hub.metrics().messages_sent == 3
        door.open()
    assert door.heard == [0, 1]


async def test_h35_the_same_in_an_event_loop() -> None:
    door, ear = Door(), Ear()
    async with Hub("slow", queue_size=1) as hub:
        for name, handler in (("slow", door), ("quick", ear)):
            hub.register(name, handler)
            hub.subscribe(name, "t")
        await hub.asend("a", "slow", 0)
        await asyncio.to_thread(door.reached)
        await hub.asend("a", "slow", 1)
        for delivery in (await hub.abroadcast("a", 2, timeout=0.01), await hub.apublish("a", "t", 3, timeout=0.01)):
            assert delivery.delivered == ("quick",)
            assert isinstance(delivery.failed["slow"], QueueFullError)
        waiting = asyncio.create_task(hub.abroadcast("a", 4))
        await asyncio.sleep(0)
        door.open()
        assert sorted((await waiting).delivered) == ["quick", "slow"]
    assert door.heard == [0, 1, 4]


def test_h35_requests_and_broadcasts_count_as_sent(hub: Hub) -> None:
    for name in ("a", "b", "c"):
        hub.register(name, Ear(1))
    hub.request("a", "b")
    hub.broadcast("a")
    hub.shutdown()
    assert (hub.metrics().messages_sent, hub.metrics().messages_received) == (3, 3)


def test_h36_an_agent_that_is_registered_again_is_in_no_topic_of_the_former_one(hub: Hub) -> None:
    former, ear = Ear(), Ear()
    hub.register("b", former)
    hub.subscribe("b", "t")
    hub.unregister("b")
    hub.register("b", ear)
    assert hub.publish("a", "t").delivered == ()
    hub.subscribe("b", "t")
    assert hub.publish("a", "t", 1).delivered == ("b",)
    assert ear.hear().data == 1
    assert not former.has_heard()


def test_h37_the_most_urgent_comes_first() -> None:
    door = Door()
    with Hub("urgent") as hub:
        hub.register("b", door)
        hub.send("a", "b", "first")
        door.reached()
        for priority in (Priority.LOW, Priority.NORMAL, Priority.CRITICAL, Priority.HIGH):
            hub.send("a", "b", priority.name, priority=priority)
            hub.send("a", "b", priority.name + "2", priority=priority)
        door.open()
    names = ["CRITICAL", "HIGH", "NORMAL", "LOW"]
    assert door.heard == ["first", *(name + number for name in names for number in ("", "2"))]


def test_h37_what_is_urgent_does_not_wait_for_room_behind_what_is_not() -> None:
    door = Door()
    with Hub("urgent", queue_size=1) as hub:
        hub.register("b", door)
        hub.send("a", "b", "first")
        door.reached()
        hub.send("a", "b", "full")
        hub.send("a", "b", "urgent", priority=Priority.CRITICAL, timeout=0.01)
        door.open()
    assert door.heard == ["first", "urgent", "full"]


def test_h38_c4_a_hub_has_defaults() -> None:
    assert Hub().config == HubConfig(name="default", queue_size=100, timeout=30.0)
    assert HubConfig.from_json('{"name": "eva"}') == HubConfig(name="eva")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"queue_size": 0}, "queue_size"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"name": ""}, "name"),
        ({"logger": None}, "logger: unknown key"),
    ],
)
def test_h38_a_value_that_would_not_work_is_refused(values: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        HubConfig.from_dict(values)


def test_h39_an_agent_can_leave_a_topic(hub: Hub) -> None:
    hub.register("b", Ear())
    hub.subscribe("b", "t")
    assert hub.agents()["b"].topics == ("t",)
    assert hub.unsubscribe("b", "t")
    assert not hub.unsubscribe("b", "t")
    assert hub.publish("a", "t").delivered == ()
    with pytest.raises(UnknownAgentError):
        hub.unsubscribe("x", "t")


def test_h40_what_is_closed_says_so_what_is_queued_is_known_and_closing_twice_is_closing_once() -> None:
    door = Door()
    hub = Hub("queue", queue_size=3)
    hub.register("b", door)
    hub.send("a", "b", 1)
    door.reached()
    hub.send("a", "b", 2)
    assert (hub.config.queue_size, hub.agents()["b"].queued, hub.agents()["b"].busy) == (3, 1, 1)
    door.open()
    hub.shutdown()
    hub.shutdown()
    with pytest.raises(HubClosedError):
        hub.send("a", "b")


def test_h41_each_receiver_has_data_of_its_own(hub: Hub) -> None:
    ears = {name: Ear() for name in ("b", "c")}
    for name, ear in ears.items():
        hub.register(name, ear)
    data = {"list": [1, (2, [3])], "set": {4}}
    hub.broadcast("a", data)
    data["list"].append("changed")  # type: ignore[attr-defined]
    heard = [ear.hear().data for ear in ears.values()]
    heard[0]["list"][1][1].append("changed")
    assert heard[1] == {"list": [1, (2, [3])], "set": {4}}


def test_h41_what_a_handler_keeps_of_its_answer_is_its_own(hub: Hub) -> None:
    kept = [1]
    hub.register("b", lambda message: kept)
    hub.request("a", "b").data.append(2)
    assert kept == [1]
