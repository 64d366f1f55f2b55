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
from tau.stores.file.pack import build
from tau.stores.file.run_directory import RunDirectory
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
        assert summary.position == 140
        assert contents(after) == (records if summary.status == "running" else [])
        assert isinstance(one(after, batch("r", 139)), PositionConflict)
        more = fill(after, 5, start=140)
        kept = records if summary.status == "running" else []
        assert contents(after) == kept + [each.records[0] for each in more]
        with RunDirectory(str(directory(after)), "r") as run:
            run.merge()
            assert contents(after) == kept + [each.records[0] for each in more]
        after.delete("r")
        assert contents(after) == []
        assert one(after, batch("r", 145)) == 146


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
            fill(store, 2, start=4 + others)
        assert not (directory(store) / names.slot(4)).exists()
        real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", stall)
        refused = one(stalled, batch("r", 3, owner=owner("stale")))
    end = 4 + others + (2 if kind == "made anew" else 0)
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


def test_a_large_blob_survives_a_deletion_just_before_its_link(tmp_path: Path) -> None:
    """The deletion takes the old directory of blobs away, and the commit comes after it in the log."""
    large = os.urandom(200_000)
    store = FileStore(tmp_path)
    fill(store, 3)
    real = os.link

    def deleting(*arguments: Any, **options: Any) -> None:
        os.link = real
        store.delete("r")
        real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", deleting)
        assert one(FileStore(tmp_path), batch("r", 3, blobs=[(b"large", large)], owner=owner())) == 4
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
    assert isinstance(one(writer, batch("r", 4)), PositionConflict)
    assert one(writer, batch("r", 5)) == 6


def test_a_large_blob_survives_a_second_deletion_while_its_commit_waits_to_link(tmp_path: Path) -> None:
    """The directory of blobs of the new life is not the deletion's to remove."""
    large = os.urandom(200_000)
    store = FileStore(tmp_path)
    fill(store, 3)
    store.delete("r")
    real = os.link

    def deleting(*arguments: Any, **options: Any) -> None:
        os.link = real
        store.delete("r")
        real(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "link", deleting)
        assert one(FileStore(tmp_path), batch("r", 3, blobs=[(b"large", large)], owner=owner())) == 4
    assert store.blobs("r", [b"large"]) == {b"large": large}


def test_a_large_blob_survives_a_deletion_that_had_looked_before_its_commit(tmp_path: Path) -> None:
    """The commit comes after the deletion in the log, so it stands, with all that belongs to it."""
    large = os.urandom(200_000)
    store = FileStore(tmp_path)
    fill(store, 3)
    real = os.rename

    def committing(source: str, target: str, **options: Any) -> None:
        if target == names.tombstone(3):
            os.rename = real
            assert one(FileStore(tmp_path), batch("r", 3, blobs=[(b"large", large)], owner=owner())) == 4
        real(source, target, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "rename", committing)
        store.delete("r")
    assert [position for position, _ in store.read("r")] == [4]
    assert store.blobs("r", [b"large"]) == {b"large": large}
