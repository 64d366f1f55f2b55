"""What earlier versions wrote is read, exactly, and gone on with; what later ones write is refused and left alone."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from archives import unpack
from golden_runs import AFTER, BREAKS, LONG, ODD_RUN_IDS, RAW, WIDE, counting, keeping, line, pipeline
from golden_values import VALUES
from make import LARGE
from msgspec.structs import replace

from exactness import same
from tau import (
    CheckpointConfig,
    CheckpointNotFoundError,
    CorruptCheckpointError,
    GraphConfig,
    RunCancelledError,
    RunFinishedError,
    StateGraph,
    UnsupportedFormatError,
    open_store,
    verify,
)
from tau.log.encoding import FORMAT, unseal
from tau.log.records import Claimed, Failed
from tau.node.seeds import derive
from tau.observers import Recorder
from tau.stores.contract import Batch, Store
from tau.values.stored import Blobs

ARCHIVES = sorted(Path(__file__).parent.glob("v*/*.tar.xz"))
NAMES = [f"{path.parent.name}-{path.name.partition('.')[0]}" for path in ARCHIVES]


class Golden(NamedTuple):
    """A copy of a golden store."""

    version: str
    kind: str
    folder: Path
    store: Store

    def bytes(self) -> dict[str, str]:
        """What lies in its files, but for SQLite's own two beside the database."""
        self.store.close()
        return {
            str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }

    def records(self, run_id: str) -> list[Any]:
        return [unseal(run_id, position, data) for position, data in self.store.read(run_id)]


@pytest.fixture(params=ARCHIVES, ids=NAMES)
def golden(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Golden]:
    archive: Path = request.param
    kind = archive.name.partition(".")[0]
    with tarfile.open(archive) as tar:
        unpack(tar, tmp_path)
    url = f"sqlite:///{tmp_path}/runs.sqlite" if kind == "sqlite" else f"file://{tmp_path}"
    with open_store(url) as store:
        yield Golden(archive.parent.name, kind, tmp_path, store)


def test_there_are_golden_stores_of_both_kinds() -> None:
    assert set(NAMES) == {f"{version}-{kind}" for version in ("v1", "v2") for kind in ("file", "sqlite")}


def test_everything_in_it_is_sound(golden: Golden) -> None:
    found = verify(golden.store)
    assert found.damage == ()
    assert found.runs == len(golden.store.runs())


def test_every_run_is_listed_with_its_status(golden: Golden) -> None:
    rows = {row.run_id: row for row in golden.store.runs()}
    rows.pop("large", None)
    assert ("seeded" in rows) is (golden.version != "v1")
    rows.pop("seeded", None)
    # Whether an owner on another machine still lives can only be watched.
    assert {run_id: row.status for run_id, row in rows.items()} == {
        "finished": "finished", "gone": "finished", "failed": "failed", "cancelled": "cancelled",
        "interrupted": "interrupted", "dead": "running", "long": "failed", "values": "finished", "wide": "finished",
        "hand": "interrupted", **dict.fromkeys(ODD_RUN_IDS, "finished"),
    }  # fmt: skip
    assert set(golden.store.list()) - {"large", "seeded"} == rows.keys() - {"gone"}
    found = rows["finished"]
    assert (found.graph, found.node, found.iterations, found.tags) == ("pipeline", "report", 4, ("paper", "2024"))
    owner = rows["dead"].owner
    assert owner is not None
    assert (owner.host, owner.lease) == ("golden", 0.05)
    assert all(row.created_at <= row.updated_at for row in rows.values())


def test_a_run_keeps_its_seed_and_one_of_before_there_were_seeds_has_one(golden: Golden) -> None:
    """What they are derived to is fixed for ever: a resume by a later version goes on with the same numbers."""
    seen: list[int] = []
    graph = StateGraph(GraphConfig("pipeline", checkpoint=CheckpointConfig(interval=1)), store=golden.store)
    for name in ("ingest", "preprocess", "analyze", "report"):
        graph.add_node(name, lambda state, ctx: seen.append(ctx.seed("window", 3)), version="1")
    graph.sequence("ingest", "preprocess", "analyze", "report")
    graph.resume("failed", on_change="continue")
    if golden.version == "v1":
        assert seen == [derive(7610058683335186461, node, 1, ("window", 3)) for node in ("analyze", "report")]
        return
    assert len(set(seen)) == 2
    records = golden.records("seeded")
    assert records[0].manifest.progress.seed == 7


@pytest.mark.parametrize("key", VALUES)
def test_a_value_of_every_kind_comes_back_exactly(golden: Golden, key: str) -> None:
    assert same(golden.store.load("values")[key], VALUES[key])


def test_the_history_of_a_finished_run_tells_each_state(golden: Golden) -> None:
    history = pipeline(golden.store).history("finished")
    assert [(entry.position, entry.node, entry.visit, entry.next) for entry in history] == [
        (3, "ingest", 1, "preprocess"), (4, "preprocess", 1, "analyze"), (5, "analyze", 1, "report"),
        (6, "report", 1, None),
    ]  # fmt: skip
    assert all(same(dict(entry.state), AFTER[entry.node]) for entry in history)
    assert same(dict(pipeline(golden.store).resume("finished")), AFTER["report"])


@pytest.mark.parametrize(("run_id", "left"), [("failed", 2), ("interrupted", 2), ("dead", 1)])
def test_a_run_that_did_not_end_goes_on_to_its_result(golden: Golden, run_id: str, left: int) -> None:
    recorder = Recorder()
    final = pipeline(golden.store, recorder).resume(run_id, wait=5.0)
    assert same(dict(final), AFTER["report"])
    assert [event.data["node"] for event in recorder.events if event.type == "node.start"] == [*AFTER][4 - left :]
    assert "graph.changed" not in recorder.types()
    assert same(dict(golden.store.load(run_id)), AFTER["report"])


def test_going_on_elsewhere_is_an_event_and_stands_in_the_log(golden: Golden) -> None:
    recorder = Recorder()
    pipeline(golden.store, recorder).resume("failed")
    (told,) = (event.data["changes"] for event in recorder.events if event.type == "provenance.changed")
    assert told == {"host": ["golden", os.uname().nodename]}
    claims = [record for record in golden.records("failed") if isinstance(record, Claimed)]
    assert [one.provenance.get("host") for one in claims] == [None, os.uname().nodename]


def test_why_a_run_failed_is_kept(golden: Golden) -> None:
    failure = next(record.failure for record in golden.records("failed") if isinstance(record, Failed))
    assert failure is not None
    assert (failure.type, failure.text) == ("ValueError", "the disk of the model is full")
    assert failure.frames[-1][0] == "tests/golden/make.py"


def test_a_run_that_was_ended_stays_so(golden: Golden) -> None:
    with pytest.raises(RunCancelledError):
        pipeline(golden.store).resume("cancelled")
    with pytest.raises(RunFinishedError):
        pipeline(golden.store).resume("gone")
    with pytest.raises(CheckpointNotFoundError):
        golden.store.load("deleted")


def test_a_deleted_run_is_made_anew_at_positions_never_used(golden: Golden) -> None:
    pipeline(golden.store).execute({"dataset": "co2 "}, run_id="deleted")
    assert min(position for position, _ in golden.store.read("deleted")) > 7
    assert same(dict(golden.store.load("deleted")), AFTER["report"])


def test_a_long_run_with_a_grown_list_is_read_and_gone_on_with(golden: Golden) -> None:
    manifests = [record.position for record in golden.records("long") if getattr(record, "manifest", None) is not None]
    assert manifests[0] == 1
    assert (64 if golden.version == "v1" else 32) < manifests[1] < BREAKS
    history = counting(golden.store).history("long")
    assert [entry.state["n"] for entry in history] == list(range(1, BREAKS + 1))
    assert all(entry.state["all"] == [line(n) for n in range(entry.state["n"])] for entry in history)
    final = counting(golden.store).resume("long")
    assert final["all"] == [line(n) for n in range(LONG)]
    assert final["still"] == RAW


def test_every_stored_form_of_a_value_is_there(golden: Golden) -> None:
    """What is not in a golden store is not proved by it."""
    forms: set[tuple[str, bool]] = set()
    compressed: set[tuple[str, int]] = set()
    for run_id in ("finished", "long", "values", "wide"):
        stored = [one for record in golden.records(run_id) for one in _stored(record)]
        names = {part.digest for one in stored if isinstance(one, Blobs) for part in one.parts}
        forms |= {(type(one).__name__, bool(getattr(one, "head", b""))) for one in stored}
        compressed |= {("record", data[4]) for _, data in golden.store.read(run_id)}
        compressed |= {("blob", data[0]) for data in golden.store.blobs(run_id, names).values()}
    assert forms == {("Inline", False), ("Blobs", False), ("Blobs", True), ("Grown", True)}
    assert compressed == {("record", 0), ("record", 1), ("blob", 0), ("blob", 1)}
    assert any(isinstance(record, Claimed) and record.owner is not None for record in golden.records("finished"))


def _stored(record: Any) -> list[Any]:
    manifest = getattr(record, "manifest", None)
    return [*getattr(record, "changed", {}).values(), *(manifest.values.values() if manifest is not None else ())]


@pytest.mark.parametrize("run_id", ODD_RUN_IDS, ids=range(len(ODD_RUN_IDS)))
def test_any_run_id_is_found_again(golden: Golden, run_id: str) -> None:
    assert dict(keeping(golden.store).resume(run_id)) == {"id": run_id}


def test_a_state_saved_by_hand_is_read_and_run(golden: Golden) -> None:
    assert same(dict(golden.store.load("hand")), {"x": (1, {"y"}), "raw": RAW})
    assert golden.store.load("hand").checkpoint_node is None
    assert keeping(golden.store).resume("hand").checkpoint_node == "keep"


def test_many_small_values_are_read(golden: Golden) -> None:
    assert dict(golden.store.load("wide")) == WIDE


def test_a_large_blob_in_a_file_of_its_own_is_read(golden: Golden) -> None:
    if golden.kind == "file":
        assert golden.store.load("large")["large"] == LARGE


def test_reading_changes_nothing(golden: Golden) -> None:
    before = golden.bytes()
    for run_id in golden.store.list():
        dict(golden.store.load(run_id))
        counting(golden.store).history(run_id)
        counting(golden.store).plan(run_id)
    golden.store.runs()
    assert golden.bytes() == before


# Of later versions


def later(run_id: str, position: int, data: bytes) -> bytes:
    """A sound record of the next format."""
    head, body = b"tau" + bytes([FORMAT + 1]) + data[4:5], data[21:]
    seal = hashlib.sha256(run_id.encode() + b"\0%d\0" % position + head[3:] + body).digest()[:16]
    return head + seal + body


def test_a_record_of_a_later_format_is_refused_and_left_alone(golden: Golden) -> None:
    store = golden.store
    summary = store.summary("failed")
    assert summary is not None
    position, data = store.read("failed")[-1]
    record = later("failed", position + 1, data)
    batch = Batch("failed", position, b"t", (record,), (), replace(summary, position=position + 1))
    assert store.commit([batch]) == [position + 1]
    before = golden.bytes()
    graph = pipeline(store)
    for act in (graph.resume, graph.history, graph.plan, graph.cancel, store.load):
        with pytest.raises(
            UnsupportedFormatError, match=f"has format {FORMAT + 1}, this version of tau reads 1 to {FORMAT}"
        ) as caught:
            act("failed")
        assert (caught.value.found, caught.value.supported) == (FORMAT + 1, FORMAT)
    with pytest.raises(UnsupportedFormatError):
        graph.execute({"dataset": "co2 "}, run_id="failed", if_exists="resume")
    assert golden.bytes() == before
    assert dict(store.load("finished"))["report"] == AFTER["report"]["report"]


def test_a_damaged_record_of_a_file_store_is_named_and_the_rest_left_alone(golden: Golden) -> None:
    """Its packs have checksums of their own, so that not a byte of a damaged one is handed out."""
    if golden.kind == "file":
        pack = golden.folder / "runs" / "r-failed" / "p0000000000000004"
        data = pack.read_bytes()
        pack.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        before = golden.bytes()
        for act in (pipeline(golden.store).resume, pipeline(golden.store).history, golden.store.load):
            with pytest.raises(CorruptCheckpointError, match=f"{pack} is damaged: .* restore it from a backup"):
                act("failed")
        assert golden.bytes() == before


def test_a_store_of_a_later_format_is_refused_and_left_alone(golden: Golden) -> None:
    if golden.kind == "sqlite":
        golden.store.close()
        connection = sqlite3.connect(golden.folder / "runs.sqlite")
        connection.execute("pragma user_version = 2")
        connection.close()
    else:
        (golden.folder / "tau-store").write_text("tau file store 2\n")
    before = golden.bytes()
    graph = pipeline(golden.store)
    for act in (graph.resume, graph.history, graph.cancel, golden.store.load, golden.store.delete):
        with pytest.raises(UnsupportedFormatError, match="use the version"):
            act("failed")
    with pytest.raises(UnsupportedFormatError):
        graph.execute({}, run_id="new")
    assert golden.bytes() == before
