"""What cannot be a handler, a name, data or an answer is refused by name, and hostile text is shown as text."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator
from typing import Any

import pytest
from hearing import Ear

from tau import ConfigError, Hub, HubError, Message
from tau.hub import HubConfig, RequestFailedError, UnknownAgentError


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub("bad") as made:
        yield made


def nothing() -> None: ...
def too_many(message: Message, context: Any, more: Any) -> None: ...
def by_keyword(message: Message, *, model: str) -> None: ...
def generator(message: Message) -> Iterator[int]:
    yield 1


async def async_generator(message: Message) -> Any:
    yield 1


@pytest.mark.parametrize("handler", [3, nothing, too_many, by_keyword, generator, async_generator])
def test_what_cannot_be_called_with_a_message_is_refused(hub: Hub, handler: Any) -> None:
    with pytest.raises(ConfigError, match="handler of agent 'b'"):
        hub.register("b", handler)
    assert hub.metrics().local_agents == 0


class Callable_:
    def __call__(self, message: Message) -> Any:
        return "called"

    async def later(self, message: Message, context: Any) -> Any:
        return context.agent

    def with_default(self, message: Message, more: int = 3) -> Any:
        return more


def two(first: Any, message: Message) -> Any:
    return first


@pytest.mark.parametrize(
    ("handler", "answer"),
    [
        (Callable_(), "called"),
        (Callable_().later, "b"),
        (Callable_().with_default, 3),
        (functools.partial(two, "bound"), "bound"),
        (lambda *args: len(args), 1),
        (str, None),
    ],
)
def test_any_callable_of_a_message_is_a_handler(hub: Hub, handler: Any, answer: Any) -> None:
    hub.register("b", handler)
    found = hub.request("a", "b").data
    assert found == answer or (answer is None and found.startswith("Message("))


@pytest.mark.parametrize("name", ["", 3, None, "x" * 300, "a\0b"])
def test_what_cannot_be_a_name_is_refused(hub: Hub, name: Any) -> None:
    hub.register("b", Ear())
    for verb in (
        lambda: hub.register(name, Ear()),
        lambda: hub.send(name, "b"),
        lambda: hub.request(name, "b"),
        lambda: hub.broadcast(name),
        lambda: hub.subscribe("b", name),
        lambda: hub.publish("a", name),
        lambda: hub.send("a", name),
    ):
        with pytest.raises(ConfigError):
            verb()


@pytest.mark.parametrize("name", [[], {}, set()])
def test_what_cannot_even_be_looked_up_is_refused(hub: Hub, name: Any) -> None:
    hub.register("b", Ear())
    for verb in (lambda: hub.send(name, "b"), lambda: hub.send("a", name), lambda: hub.unregister(name)):
        with pytest.raises(ConfigError):
            verb()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"priority": 7}, "priority"),
        ({"priority": "high"}, "priority"),
        ({"headers": {"a": 1}}, "headers"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
    ],
)
def test_an_option_that_cannot_be_used_is_named_and_nothing_is_sent(hub: Hub, options: Any, named: str) -> None:
    hub.register("b", Ear())
    for verb in (hub.send, hub.request):
        with pytest.raises(ConfigError, match=named):
            verb("a", "b", 1, **options)
    with pytest.raises(ConfigError, match=named):
        hub.broadcast("a", 1, **options)
    assert hub.metrics().messages_sent == 0


def test_an_option_that_is_not_known_is_refused_with_what_was_meant(hub: Hub) -> None:
    with pytest.raises(TypeError, match="did you mean 'timeout'"):
        hub.request("a", "b", timeot=3)  # type: ignore[call-arg]


def test_a_hub_takes_a_config_or_values() -> None:
    assert Hub(HubConfig(name="x", queue_size=3)).config.queue_size == 3
    with pytest.raises(ConfigError, match="not both"):
        Hub(HubConfig(), queue_size=3)


@pytest.mark.parametrize("bad", ["\x1b[31mred\x1b[0m", "\u202egnp.exe", "<script>", "x" * 50_000])
def test_hostile_text_is_shown_as_text(hub: Hub, bad: str, caplog: pytest.LogCaptureFixture) -> None:
    def handler(message: Message) -> None:
        raise ValueError(bad)

    hub.register("b", handler)
    with pytest.raises(RequestFailedError) as caught:
        hub.request("a", "b")
    assert all(char.isprintable() for char in str(caught.value))
    assert len(str(caught.value)) < 11_000
    with pytest.raises((UnknownAgentError, ConfigError)) as unknown:
        hub.send("a", bad)
    assert all(char.isprintable() for char in str(unknown.value))
    assert len(str(unknown.value)) < 1_000


def test_an_error_without_a_text_is_one(hub: Hub) -> None:
    class Rude(Exception):
        def __str__(self) -> str:
            raise ValueError("no text for you")

    def handler(message: Message) -> None:
        raise Rude

    hub.register("b", handler)
    with pytest.raises(RequestFailedError, match="Rude: <it has no text>"):
        hub.request("a", "b")


def test_data_never_stands_in_a_log_or_an_error(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    def handler(message: Message) -> None:
        raise ValueError("plain")

    hub.register("b", handler)
    with pytest.raises(RequestFailedError) as caught:
        hub.request("a", "b", {"key": "sk-SECRET"})
    assert "SECRET" not in caplog.text + str(caught.value) + repr(hub)


def test_a_sync_handler_that_returns_a_coroutine_is_told_what_to_register(hub: Hub) -> None:
    async def answer() -> int:
        return 1

    hub.register("b", lambda message: answer())
    with pytest.raises(RequestFailedError, match="register an async function"):
        hub.request("a", "b")


@pytest.mark.parametrize("way", ["sync", "async"])
def test_an_answer_that_is_not_the_response_is_a_failure(hub: Hub, way: str) -> None:
    def now(message: Message) -> Message:
        return Message.notification("b", "a", 1)

    async def later(message: Message) -> Message:
        return Message.request("x", "b").reply(1)

    hub.register("b", later if way == "async" else now)
    with pytest.raises(RequestFailedError, match=r"use message\.reply"):
        hub.request("a", "b")


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_message_that_is_sent_on_to_nobody_is_a_failure_of_the_handler(
    hub: Hub, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def later(message: Message) -> Message:
        return message.reply(1)

    hub.register("b", later if way == "async" else (lambda message: message.reply(1)))
    hub.send("nobody", "b")
    hub.shutdown()
    assert hub.metrics().failed == 1
    assert "agent not found: 'nobody'" in caplog.text


def test_a_handler_that_sends_a_request_on_is_told_to_ask(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    hub.register("b", lambda message: Message.request("b", "b"))
    hub.send("a", "b")
    hub.shutdown()
    assert "call hub.request(...)" in caplog.text


def test_data_that_is_nested_too_deeply_is_refused(hub: Hub) -> None:
    data: list[Any] = []
    for _ in range(100_000):
        data = [data]
    hub.register("b", Ear())
    with pytest.raises(ConfigError, match="nested too deeply"):
        hub.send("a", "b", data)
    while data:
        data = data.pop()


def test_data_that_holds_itself_arrives_so(hub: Hub) -> None:
    ear = Ear()
    hub.register("b", ear)
    data: list[Any] = [1]
    data.append((data, {"x": data}))
    hub.send("a", "b", data)
    heard = ear.hear().data
    assert heard is not data
    assert heard[1][0] is heard
    assert heard[1][1]["x"] is heard


def test_other_objects_are_passed_as_they_are(hub: Hub) -> None:
    ear, thing = Ear(), object()
    hub.register("b", ear)
    hub.send("a", "b", [thing])
    assert ear.hear().data[0] is thing


async def test_the_async_verbs_refuse_the_same(hub: Hub) -> None:
    hub.register("b", Ear())
    for call in (hub.asend("a", "x"), hub.arequest("a", "x")):
        with pytest.raises(UnknownAgentError):
            await call
    for call in (hub.asend("a", "b", priority=9), hub.abroadcast("", 1), hub.apublish("a", "")):  # type: ignore[arg-type]
        with pytest.raises(ConfigError):
            await call
    with pytest.raises(HubError):
        await asyncio.wait_for(hub.arequest("a", "nobody"), 10)
