"""Runs that waited for people when the first version with pauses wrote them are answered and go on."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from archives import unpack
from golden_pauses import DEADLINE, asking

from tau import RunWaitingError, open_store
from tau.log.encoding import unseal
from tau.log.records import Answer, Pause
from tau.stores.contract import Store

ARCHIVE = Path(__file__).with_name("pauses.tar.xz")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with tarfile.open(ARCHIVE) as archive:
        unpack(archive, tmp_path)
    with open_store(f"file://{tmp_path}") as opened:
        yield opened


def test_what_waits_is_asked_as_it_was(store: Store) -> None:
    found = {one.run_id: one for one in asking(store).pauses()}
    assert found.keys() == {"waiting", "inside"}
    waiting, inside = found["waiting"], found["inside"]
    assert (waiting.name, waiting.node, waiting.prompt, waiting.deadline) == ("review", "review", "Fine?", DEADLINE)
    assert (waiting.has_default, waiting.editable, inside.editable) == (True, True, False)
    assert (waiting.form, inside.form) == ({"type": "boolean"}, {"type": "integer"})


def test_an_answer_goes_on_from_where_the_run_was(store: Store) -> None:
    graph = asking(store)
    with pytest.raises(RunWaitingError):
        graph.resume("waiting", answers={"review": False})
    assert graph.resume("waiting", answers={"degree": 0})["out"] == ["hello", False, 1]
    assert graph.resume("inside", answers={"degree": 1})["out"] == ["hello", True, 2]
    with pytest.raises(RunWaitingError):
        graph.resume("edited")
    assert graph.resume("edited", answers={"degree": 2})["out"] == ["HELLO" * 200, True, 3]
    assert graph.resume("finished")["out"] == ["hello", True, 3]


def test_who_answered_is_kept_and_such_records_have_the_third_format(store: Store) -> None:
    rows = store.read("finished")
    records = [unseal("finished", position, data) for position, data in rows]
    assert [one.by for one in records if isinstance(one, Answer)][-1] == "grace"
    for record, (_, data) in zip(records, rows, strict=True):
        assert (data[3] == 3) is isinstance(record, Pause | Answer)
