"""The file store: merging, deleting, crashes in both, and writers that stall at the worst moment."""

from __future__ import annotations

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from filling import contents, directory, fill

from tau.stores import names
from tau.stores.contract import PositionConflict
from tau.stores.file import FileStore
from tau.stores.file.run_directory import RunDirectory
from tau.stores.packs import build
from tau.testing.store_contract.batches import batch, one, owner

# Merging


def test_files_do_not_pile_up_and_nothing_is_lost(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    batches = fill(store, 400)
    assert contents(store) == [each.records[0] for each in batches]
    files = os.listdir(directory(store))
    assert len(files) < 150, sorted(files)
    covers = [name for name in files if len(name) == 34]
    assert len(covers) <= 12, covers
    again = FileStore(tmp_path)
    assert [record for _, record in again.read("r", 390)] == [each.records[0] for each in batches[390:]]


def test_blobs_survive_merging(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    data = {bytes([n // 256, n % 256]) * 16: os.urandom(n % 50) for n in range(300)}
    for number, (digest, blob) in enumerate(data.items()):
        one(store, batch("r", number, blobs=[(digest, blob)], owner=owner()))
    assert store.blobs("r", data) == data
    assert FileStore(tmp_path).blobs("r", [*data, b"none"]) == data


class Crash(BaseException):
    """A power cut, as far as this process is concerned."""


def crash_in(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    """Crash at the given call of an ``os`` function that changes directories, before or after it is made."""
    real = getattr(os, call)
    count = itertools.count()

    def crashing(*arguments: Any, **options: Any) -> Any:
        turn = next(count)
        if turn == number // 2 and number % 2 == 0:
            raise Crash
        result = real(*arguments, **options)
        if turn == number // 2:
            raise Crash
        return result

    monkeypatch.setattr(os, call, crashing)


@pytest.mark.parametrize("call", ["link", "unlink", "fsync", "write"])
@pytest.mark.parametrize("work", ["merge", "delete"])
def test_a_crash_anywhere_in_merging_or_deleting_loses_nothing(tmp_path: Path, work: str, call: str) -> None:
    """Old or new or both are there, never half; and afterwards both can be done again."""
    original = tmp_path / "original"
    store = FileStore(original)
    batches = fill(store, 140)
    records = [each.records[0] for each in batches]
    for number in (*range(12), 60, 61):
        copy = FileStore(shutil.copytree(original, tmp_path / f"{call} {number}"))
        with pytest.MonkeyPatch.context() as patch, RunDirectory(str(directory(copy)), "r") as run:
            crash_in(patch, call, number)
            with suppress(Crash):
                run.merge() if work == "merge" else run.delete(keep_summary=False)
        after = FileStore(copy.root)
        summary = after.summary("r")
        assert summary is not None
        assert summary.position == (140 if summary.status == "running" else 141)
        assert contents(after) == (records if summary.status == "running" else [])
        assert isinstance(one(after, batch("r", 139)), PositionConflict)
        more = fill(after, 5, start=summary.position)
        kept = records if summary.status == "running" else []
        assert contents(after) == kept + [each.records[0] for each in more]
        with RunDirectory(str(directory(after)), "r") as run:
            run.merge()
            assert contents(after) == kept + [each.records[0] for each in more]
        after.delete("r")
        assert contents(after) == []
        assert one(after, batch("r", summary.position + 6)) == summary.position + 7


def test_two_that_merge_at_once_lose_nothing(tmp_path: Path) -> None:
    """One of them was stopped after it had looked, and goes on when the other has done everything."""
    store = FileStore(tmp_path)
    records = [each.records[0] for each in fill(store, 40)]
    with RunDirectory(str(directory(store)), "r") as stale, RunDirectory(str(directory(store)), "r") as run:
        old = stale.view()
        run.merge()
        records += [each.records[0] for each in fill(store, 30, start=40)]
        run.merge()
        run.merge()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(stale, "view", lambda: old)
            with pytest.raises(Exception, match=names.slot(1)):
                stale.merge()  # its files are gone: it gives up
        assert contents(store) == records
        stale.merge()
        assert contents(store) == records


# Writers that stall


@pytest.mark.parametrize("others", [1, 2, 63, 64, 65, 140])
@pytest.mark.parametrize("kind", ["commits", "deleted", "made anew"])
def test_a_writer_that_stalled_before_its_link_is_refused(tmp_path: Path, others: int, kind: str) -> None:
    """Even when the name that it links was freed meanwhile, by merging or by deleting."""
    store = FileStore(tmp_path)
    fill(store, 3)
    stalled = FileStore(tmp_path)
    real = os.link

    def stall(*arguments: Any, **options: Any) -> None:
        os.link = real
        fill(store, others, start=3)
        with RunDirectory(str(directory(store)), "r") as run:
            run.merge()
            fill(store, 1, start=3 + others)
            run.merge()
        if kind != "commits":
            store.delete("r")
        if kind == "made anew":
            fill(store, 2, start=5 + others)
        assert not (directory(store) / names.slot(4)).exists()
        real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", stall)
        refused = one(stalled, batch("r", 3, owner=owner("stale")))
    end = 4 + others + {"commits": 0, "deleted": 1, "made anew": 3}[kind]
    assert isinstance(refused, PositionConflict)
    assert refused.position == end
    assert not (directory(store) / names.slot(4)).exists()
    assert [position for position, _ in store.read("r")] == list(
        {"commits": range(1, end + 1), "deleted": [], "made anew": [end - 1, end]}[kind]
    )


def test_the_name_that_a_stalled_writer_left_is_never_read(tmp_path: Path) -> None:
    """It died right after its link: what it wrote is no part of the log, now or later."""
    store = FileStore(tmp_path)
    records = [each.records[0] for each in fill(store, 100)]
    with RunDirectory(str(directory(store)), "r") as run:
        run.merge()
        ghost = batch("r", 3)
        assert run.publish(names.slot(4), build("r", 4, ghost.token, ghost.summary, records=ghost.records))
    assert contents(store) == records
    summary = FileStore(tmp_path).summary("r")
    assert summary is not None
    assert summary.position == 100
    records += [each.records[0] for each in fill(store, 200, start=100)]
    assert contents(store) == records
    assert not (directory(store) / names.slot(4)).exists()


def test_a_link_whose_reply_was_lost_is_found_to_be_made(tmp_path: Path) -> None:
    """Over NFS: the second try meets the name that the first one made."""
    store = FileStore(tmp_path)
    fill(store, 1)
    real = os.link

    def twice(*arguments: Any, **options: Any) -> None:
        real(*arguments, **options)
        real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", twice)
        assert one(store, batch("r", 1)) == 2
    assert len(store.read("r")) == 2


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("call", ["fsync", "link"])
def test_a_writer_is_refused_by_a_deletion_just_before_its_link(tmp_path: Path, call: str, keep: bool) -> None:
    """And the large blob that it had written already does not come back."""
    store = FileStore(tmp_path)
    fill(store, 3)
    real = getattr(os, call)

    def deleting(*arguments: Any, **options: Any) -> None:
        setattr(os, call, real)
        store.delete("r", keep)
        real(*arguments, **options)

    large = os.urandom(200_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, call, deleting)
        refused = one(FileStore(tmp_path), batch("r", 3, blobs=[(b"large", large)], owner=owner()))
    assert isinstance(refused, PositionConflict)
    assert store.blobs("r", [b"large"]) == {}
    assert contents(store) == []
    assert one(store, batch("r", 4, blobs=[(b"large", large)])) == 5
    assert store.blobs("r", [b"large"]) == {b"large": large}


@pytest.mark.parametrize("deletions", [1, 2])
def test_a_commit_that_was_deleted_before_its_writer_looked_stood(tmp_path: Path, deletions: int) -> None:
    """Of two that finish a run and delete it, the one whose commit it was is not told that it lost the run."""
    store = FileStore(tmp_path)
    fill(store, 3)
    writer = FileStore(tmp_path)
    fill(writer, 1, start=3)
    real = os.link

    def deleted(*arguments: Any, **options: Any) -> None:
        os.link = real
        real(*arguments, **options)
        for _ in range(deletions):
            store.delete("r", keep_summary=True)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", deleted)
        assert one(writer, batch("r", 4, blobs=[(b"large", os.urandom(200_000))])) == 5
    assert store.read("r") == []
    assert not list(directory(store).glob("blobs-*"))
    assert isinstance(one(writer, batch("r", 5)), PositionConflict)
    assert one(writer, batch("r", 6)) == 7


@pytest.mark.parametrize("moment", ["link", "rename"])
def test_a_deletion_that_had_looked_before_a_commit_takes_it_with_it(tmp_path: Path, moment: str) -> None:
    """Between its look and its link a commit comes first, after that none does."""
    store, writer = FileStore(tmp_path), FileStore(tmp_path)
    fill(store, 3)
    real = getattr(os, moment)
    results: list[int | Exception] = []

    def committing(*arguments: Any, **options: Any) -> None:
        setattr(os, moment, real)
        results.append(one(writer, batch("r", 3, blobs=[(b"large", os.urandom(200_000))], owner=owner())))
        real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, moment, committing)
        store.delete("r")
    if moment == "link":
        assert results == [4]
    else:
        assert isinstance(results[0], PositionConflict)
    assert contents(store) == []
    assert store.blobs("r", [b"large"]) == {}
    end = 5 if moment == "link" else 4
    assert isinstance(one(writer, batch("r", end - 1, owner=owner())), PositionConflict)
    assert one(writer, batch("r", end)) == end + 1


def test_a_deletion_that_died_before_its_tombstone_is_completed(tmp_path: Path) -> None:
    """By whoever begins the run anew, or deletes it again; until then nothing of it is read."""
    original = FileStore(tmp_path / "original")
    fill(original, 70)
    with pytest.MonkeyPatch.context() as patch, RunDirectory(str(directory(original)), "r") as run:
        crash_in(patch, "rename", 0)
        with suppress(Crash):
            run.delete(keep_summary=False)
    for number, goes_on in enumerate(("anew", "deleted", "expected")):
        store = FileStore(shutil.copytree(original.root, tmp_path / str(number)))
        assert contents(store) == []
        summary = store.summary("r")
        assert summary is not None
        assert (summary.status, summary.position) == ("deleted", 71)
        assert isinstance(one(store, batch("r", 70, base=1)), PositionConflict)
        if goes_on == "anew":
            assert one(store, batch("r", 71)) == 72
            assert len(contents(store)) == 1
        else:
            store.delete("r", expected=70 if goes_on == "expected" else None)
            assert store.summary("r") == summary
        assert not (directory(store) / names.slot(1)).exists()


def test_foreign_files_in_a_runs_directory_are_left_alone(tmp_path: Path) -> None:
    """Whatever their names look like, through commits, merges, deletions and a new life."""
    store = FileStore(tmp_path)
    fill(store, 3)
    foreign = ["plot-of-the-climate-of-2024-v2.png", "p-notes-for-me.md", "p", "blobs-of-mine", "zzz", "p00", "-"]
    foreign += ["p000000000000000x", "p0000000000000001-000000000000000x", "blobs-1", "\N{ARABIC-INDIC DIGIT ONE}"]
    for name in foreign:
        (directory(store) / name).write_text("mine")
    (directory(store) / "blobs-mine").mkdir()
    (directory(store) / "blobs-mine" / "file").write_text("mine")
    batches = fill(store, 140, start=3)
    again = FileStore(tmp_path)
    assert again.summary("r") == batches[-1].summary
    assert len(contents(again)) == 143
    again.delete("r")
    fill(again, 70, start=144)
    assert len(contents(again)) == 70
    again.delete("r")
    assert contents(again) == []
    assert all((directory(store) / name).read_text() == "mine" for name in [*foreign, "blobs-mine/file"])
