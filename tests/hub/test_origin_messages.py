"""The origin's messages, line by line (M1 to M15), and what is right where the origin was wrong."""

from __future__ import annotations

import copy
import json
import uuid
from datetime import UTC, datetime

import pytest

from tau import ConfigError, Message
from tau.hub import Priority


def sample() -> Message:
    return Message.notification("a", "b", {"x": 1}, topic="t", priority=Priority.HIGH, headers={"k": "v"})


def test_m1_builders_set_everything() -> None:
    request = Message.request("a", "b", 1)
    notification = Message.notification("a", "b", 1)
    response = request.reply(2)
    assert (request.type, notification.type, response.type) == ("request", "notification", "response")
    for message, data in ((request, 1), (notification, 1), (response, 2)):
        assert message.id
        assert message.timestamp
        assert (message.priority, message.data) == (Priority.NORMAL, data)
    assert (request.sender, request.to) == ("a", "b")


def test_m2_a_response_says_what_it_answers() -> None:
    request = Message.request("a", "b")
    response = request.reply("yes")
    assert (response.reply_to, response.type) == (request.id, "response")
    assert (response.sender, response.to) == ("b", "a")


def test_m3_priority_topic_and_headers_are_options() -> None:
    message = sample()
    assert (message.priority, message.topic, dict(message.headers or {})) == (Priority.HIGH, "t", {"k": "v"})
    assert message.reply().priority is Priority.HIGH


def test_m4_m15_each_type_is_told_by_one_property() -> None:
    request = Message.request("a", "b")
    broadcast = Message.from_dict({**request.to_dict(), "type": "broadcast"})
    for message in (request, request.reply(), sample(), broadcast):
        told = [message.is_request, message.is_response, message.is_notification, message.is_broadcast]
        assert told == [message.type == kind for kind in ("request", "response", "notification", "broadcast")]


def test_m5_a_copy_has_it_all_and_headers_of_its_own() -> None:
    message = sample()
    other = message.replace()
    assert other.to_dict() == message.to_dict()
    assert other.given_headers is not message.given_headers


def test_m6_no_headers_stay_none() -> None:
    message = Message.notification("a", "b")
    assert message.headers is None
    assert message.replace().headers is None


def test_m7_the_text_names_it_and_never_shows_the_data() -> None:
    message = Message.notification("a", "b\x1b[31m", "SECRET", topic="t")
    for text in (str(message), repr(message), f"{[message]}"):
        assert all(part in text for part in (message.id, "'a'", "'notification'", "'t'"))
        assert "SECRET" not in text
        assert "\x1b" not in text


def test_m8_ids_differ_and_are_uuids_of_version_7() -> None:
    ids = {Message.notification("a", "b").id for _ in range(100)}
    assert len(ids) == 100
    assert {uuid.UUID(one).version for one in ids} == {7}
    assert {uuid.UUID(one).variant for one in ids} == {uuid.RFC_4122}


def test_m8_the_id_begins_with_the_time_and_stays_the_same() -> None:
    message = Message.notification("a", "b")
    assert uuid.UUID(message.id).int >> 80 == int(message.sent_at * 4096_000) >> 12
    assert message.id == message.id == copy.copy(message).id


def test_m9_the_time_is_that_of_the_making() -> None:
    before = datetime.now(UTC)
    message = Message.notification("a", "b")
    assert before <= message.timestamp <= datetime.now(UTC)


def test_m10_priorities_are_0_to_3() -> None:
    assert [(one.name, one.value) for one in Priority] == [("LOW", 0), ("NORMAL", 1), ("HIGH", 2), ("CRITICAL", 3)]


def test_m11_types_have_the_names_of_the_origin() -> None:
    request = Message.request("a", "b")
    assert {request.type, request.reply().type, sample().type} == {"request", "response", "notification"}
    assert Message.from_dict({**request.to_dict(), "type": "broadcast"}).is_broadcast


@pytest.mark.parametrize("priority", Priority)
def test_m12_json_has_the_names_of_the_origin_and_always_the_priority(priority: Priority) -> None:
    message = Message.request("a", "b", [1], priority=priority, headers={"k": "v"})
    found = json.loads(json.dumps(message.to_dict()))
    assert set(found) == {"id", "from", "to", "type", "data", "timestamp", "priority", "headers"}
    back = Message.from_dict(found)
    assert back.to_dict() == message.to_dict()
    assert back.priority is priority


def test_m12_what_is_empty_is_left_out() -> None:
    found = Message.notification("a", "b").to_dict()
    assert set(found) == {"id", "from", "to", "type", "timestamp", "priority"}
    answer = Message.request("a", "b").reply(1)
    assert set(answer.to_dict()) == {"id", "from", "to", "type", "data", "reply_to", "timestamp", "priority"}


def test_m13_a_message_cannot_be_changed() -> None:
    message = sample()
    with pytest.raises(AttributeError):
        message.to = "c"  # type: ignore[misc]
    with pytest.raises(TypeError):
        message.headers["k"] = "w"  # type: ignore[index]
    given = {"k": "v"}
    other = Message.notification("a", "b", headers=given)
    given["k"] = "w"
    assert other.headers == {"k": "v"}


def test_m14_replace_keeps_the_id_and_the_data_as_its_docstring_says() -> None:
    message = sample()
    other = message.replace(to="c", priority=Priority.LOW)
    assert (other.id, other.to, other.priority) == (message.id, "c", Priority.LOW)
    assert other.data is message.data
    assert "has the id" in (Message.replace.__doc__ or "")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "shout"}, "type"),
        ({"priority": 9}, "priority"),
        ({"priority": True}, "priority"),
        ({"timestamp": "soon"}, "timestamp"),
        ({"headers": {"a": 1}}, "headers"),
        ({"to": ""}, "receiver"),
        ({"from": 3}, "sender"),
        ({"id": ""}, "id"),
        ({"colour": "red"}, "colour"),
        ({"reply_to": None}, "reply_to"),
    ],
)
def test_a_message_that_cannot_be_read_is_refused_by_the_key(change: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        Message.from_dict({**sample().to_dict(), **change})


def test_a_missing_key_is_named() -> None:
    found = sample().to_dict()
    del found["from"]
    with pytest.raises(ConfigError, match="from"):
        Message.from_dict(found)
