"""A request that a node of a run makes is answered once; what it sends has the same ids whenever it is repeated."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from hearing import Ear

import tau
from tau import Context, Hub, Message, State, StateGraph
from tau.hub import RequestFailedError

PROGRAM = """
import os, pathlib, signal, sys
from tau import Hub, StateGraph

told, killed = pathlib.Path("told"), sys.argv[1] == "killed"

def answer(message):
    with told.open("a") as file:
        print(message.data, message.id, file=file)
    if killed and message.data == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return message.data * 10

with Hub("station") as hub:
    hub.register("engineer", answer)
    WAY
    graph = StateGraph("asks", store="sqlite:///runs.db")
    graph.add_node("node", node, version="1")
    graph.sequence("node")
    print(graph.execute({}, run_id="r", if_exists="resume")["answers"])
"""
WAYS = {
    "sync": """
    def node(state):
        return {"answers": [hub.request("node", "engineer", number).data for number in range(5)]}
""",
    "async": """
    async def node(state):
        return {"answers": [(await hub.arequest("node", "engineer", number)).data for number in range(5)]}
""",
}


@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_answered_once_and_one_in_flight_at_a_kill_is_sent_again_under_its_id(
    way: str, tmp_path: Path
) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace("    WAY\n", WAYS[way]), "utf-8")

    def run(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "program.py", how]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert run("killed").returncode == -signal.SIGKILL
    done = run("resumed")
    assert done.stdout == "[0, 10, 20, 30, 40]\n", done.stderr
    told = [line.split() for line in (tmp_path / "told").read_text("utf-8").splitlines()]
    assert [number for number, _ in told] == ["0", "1", "2", "2", "3", "4"]
    assert told[2] == told[3]
    assert len({name for _, name in told}) == 5
    assert {uuid.UUID(name).version for _, name in told} == {8}


def twice(graph: StateGraph) -> Any:
    """The first attempt of its node fails, the second one does not."""
    with pytest.raises(tau.ExecutionError) as caught:
        graph.execute({})
    return graph.resume(caught.value.run_id)


def test_what_a_node_sends_has_the_same_ids_when_it_is_repeated() -> None:
    ear = Ear()
    with Hub("h") as hub:
        hub.register("b", ear)
        hub.subscribe("b", "t")

        def node(state: State, ctx: Context) -> None:
            for number in (1, 1, 2):
                hub.send("node", "b", number)
            hub.publish("node", "t", 1)
            hub.broadcast("node", 1)
            if ctx.attempt == 1:
                raise ValueError

        graph = StateGraph("sends", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        twice(graph)
    ids = [ear.hear().id for _ in range(10)]
    assert ids[:5] == ids[5:]
    assert len(set(ids)) == 5


def test_what_a_finished_step_sent_is_no_number_of_what_follows() -> None:
    ear = Ear()
    with Hub("h") as hub:
        hub.register("b", ear)

        def send() -> None:
            hub.send("node", "b", "same")

        def node(state: State, ctx: Context) -> None:
            ctx.step("send", send)
            send()
            if ctx.attempt == 1:
                raise ValueError

        graph = StateGraph("sends", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        twice(graph)
    first, second, again = (ear.hear().id for _ in range(3))
    assert first != second == again


def test_items_of_a_map_send_under_ids_of_their_own() -> None:
    ear = Ear()
    with Hub("h") as hub:
        hub.register("b", ear)

        def task(item: int) -> int:
            hub.send("node", "b", "same")
            return int(hub.request("node", "b", "ask").data or item)

        def node(state: State, ctx: Context) -> dict[str, Any]:
            found = ctx.map("ask", task, range(4), workers=2)
            if ctx.attempt == 1:
                raise ValueError
            return {"found": found}

        graph = StateGraph("maps", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        assert twice(graph)["found"] == [0, 1, 2, 3]
    ids = [ear.hear().id for _ in range(8)]
    assert len(set(ids)) == 8
    assert not ear.has_heard()


def test_an_error_is_no_answer_that_is_recorded() -> None:
    with Hub("h") as hub:
        seen: list[str] = []

        def answer(message: Message) -> str:
            seen.append(message.id)
            if len(seen) == 1:
                raise ValueError("once")
            return "fine"

        hub.register("b", answer)

        def node(state: State) -> dict[str, Any]:
            return {"answer": hub.request("node", "b", 1).data}

        graph = StateGraph("errs", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        with pytest.raises(tau.ExecutionError) as caught:
            graph.execute({})
        assert isinstance(caught.value.__cause__, RequestFailedError)
        assert graph.resume(caught.value.run_id)["answer"] == "fine"
    assert len(seen) == 2
    assert seen[0] == seen[1]


def test_of_equal_requests_the_one_without_an_answer_is_sent_again_under_its_id() -> None:
    seen: list[str] = []

    def answer(message: Message) -> str:
        seen.append(message.id)
        if len(seen) == 1:
            raise ValueError("once")
        return "fine"

    with Hub("h") as hub:
        hub.register("b", answer)

        async def node(state: State, ctx: Context) -> dict[str, Any]:
            asked = (hub.arequest("node", "b", 1) for _ in range(2))
            found = await asyncio.gather(*asked, return_exceptions=ctx.attempt == 1)
            if ctx.attempt == 1:
                raise ValueError
            return {"answers": [one.data for one in found]}

        graph = StateGraph("equal", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        assert twice(graph)["answers"] == ["fine", "fine"]
    assert len(seen) == 3
    assert seen[0] == seen[2] != seen[1]


def test_the_whole_answer_is_recorded() -> None:
    with Hub("h") as hub:
        hub.register("b", lambda message: message.reply((1, 2), headers={"model": "m"}))
        found: list[Message] = []

        def node(state: State, ctx: Context) -> None:
            found.append(hub.request("node", "b", {"q": 1}))
            if ctx.attempt == 1:
                raise ValueError

        graph = StateGraph("whole", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        twice(graph)
    assert found[0].to_dict() == found[1].to_dict()
    assert (found[0].data, found[0].headers, found[0].is_response) == ((1, 2), {"model": "m"}, True)


def test_data_that_cannot_be_stored_is_sent_but_not_asked() -> None:
    ear = Ear(1)
    with Hub("h") as hub:
        hub.register("b", ear)

        def node(state: State) -> None:
            hub.send("node", "b", object())
            hub.request("node", "b", object())

        graph = StateGraph("refused", store="memory:")
        graph.add_node("node", node)
        graph.sequence("node")
        with pytest.raises(tau.ExecutionError) as caught:
            graph.execute({})
        assert isinstance(caught.value.__cause__, tau.UnserializableError)
    assert uuid.UUID(ear.hear().id).version == 7
    assert not ear.has_heard()
