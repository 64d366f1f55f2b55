"""`tau.verify` finds every damage, and none where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from keeping import asking, pipeline
from msgspec.structs import replace

import tau
from tau import CheckpointNotFoundError, ExecutionError, RunWaitingError, StateGraph
from tau.log.encoding import seal, unseal
from tau.log.records import CheckpointRecord
from tau.stores.contract import Batch, Store
from tau.stores.memory import MemoryStore
from tau.testing.store_wrappers import StoreWrapper
from tau.values.stored import Blobs, Inline


def test_what_is_sound_is_found_sound(store: Store, tmp_path: Path) -> None:
    """Finished, failed in the middle of a node, waiting, saved by hand, long, and with only its summary left."""
    pipeline(store, tmp_path).execute({"start": 1958}, run_id="done")
    with pytest.raises(ExecutionError):
        pipeline(store, tmp_path, broken="analyze").execute({"start": 1958}, run_id="failed")
    with pytest.raises(RunWaitingError):
        asking(store).execute({}, run_id="waits")
    store.save(tau.State({"x": "y" * 1000}, run_id="by hand"))
    pipeline(store, tmp_path).execute({"start": 1958}, run_id="emptied")
    store.delete("emptied", keep_summary=True)
    found = tau.verify(store)
    assert found.damage == ()
    assert found.sound
    assert (found.runs, found.artifacts) == (5, 4)
    assert found.records == sum(len(store.read(run_id)) for run_id in store.list())
    alone = tau.verify(store, "done")
    assert (alone.runs, alone.records, alone.artifacts) == (1, len(store.read("done")), 2)
    assert 0 < alone.blobs < found.blobs
    assert 0 < alone.size_bytes < found.size_bytes


def test_a_long_run_with_manifests_is_sound(store: Store) -> None:
    graph = StateGraph("long", store=store)
    graph.add_node("step", lambda state: {"n": state["n"] + 1, "log": [*state["log"], "x" * 700]})
    graph.add_edge("step", "step", tau.not_(tau.key_equals("n", 90)))
    graph.add_edge("step", "end", tau.key_equals("n", 90))
    graph.add_node("end", lambda state: None)
    graph.set_entry_point("step")
    graph.set_exit_point("end")
    graph.execute({"n": 0, "log": []}, run_id="r")
    summary = store.summary("r")
    assert summary is not None
    assert summary.base > 1
    assert tau.verify(store, "r").damage == ()


def test_a_run_that_is_not_there_is_not_found(store: Store) -> None:
    assert tau.verify(store).sound
    with pytest.raises(CheckpointNotFoundError):
        tau.verify(store, "no such run")


def test_a_run_is_read_while_its_owner_writes(store: Store, tmp_path: Path) -> None:
    found = []

    def analyze(state: Any, ctx: tau.Context) -> dict[str, Any]:
        ctx.step("fit", lambda: "x" * 1000)
        found.append(tau.verify(store))
        return {"fits": []}

    pipeline(store, tmp_path, analyze=analyze).execute({"start": 1}, run_id="r")
    assert found[0].sound
    assert found[0].runs == 1


class Altered(StoreWrapper):
    """Shows another record, blob or summary than the store holds."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.records: dict[int, bytes | None] = {}
        self.held: dict[bytes, bytes | None] = {}
        self.fields: dict[str, Any] = {}

    def read(self, run_id: str, after: int = 0) -> Sequence[tuple[int, bytes]]:
        rows = [(at, self.records.get(at, data)) for at, data in self.store.read(run_id, after)]
        return [(at, data) for at, data in rows if data is not None]

    def scan(self, run_id: str, after: int = 0) -> Any:
        return iter(self.read(run_id, after))

    def blobs(self, run_id: str, digests: Any) -> Any:
        found = {**self.store.blobs(run_id, digests)}
        return {name: data for name, old in found.items() if (data := self.held.get(name, old)) is not None}

    def summary(self, run_id: str) -> Any:
        found = self.store.summary(run_id)
        return None if found is None else replace(found, **self.fields)


@pytest.fixture
def altered(tmp_path: Path) -> Altered:
    store = Altered(MemoryStore())
    pipeline(store, tmp_path).execute({"start": 1958}, run_id="r")
    assert tau.verify(store).sound
    return store


def test_every_damaged_record_is_named(altered: Altered) -> None:
    for position, data in altered.store.read("r"):
        altered.records = {position: data[:-1] + bytes([data[-1] ^ 1])}
        (found, *more) = tau.verify(altered, "r").damage
        assert (found.run_id, found.what, found.position) == ("r", "record", position)
        assert not [one for one in more if one.what == "record"]


def test_every_missing_record_is_named(altered: Altered) -> None:
    for position, _ in altered.store.read("r"):
        altered.records = {position: None}
        damage = tau.verify(altered, "r").damage
        assert ("log", max(position, 2)) in {(one.what, one.position) for one in damage}


def test_every_damaged_or_missing_blob_is_named_with_its_key(altered: Altered) -> None:
    named: dict[bytes, tuple[str, int]] = {}
    for position, data in altered.store.read("r"):
        record = unseal("r", position, data)
        for key, stored in getattr(record, "changed", {}).items():
            parts = stored.parts if isinstance(stored, Blobs) else [stored.tail] if hasattr(stored, "tail") else []
            for part in parts:
                named.setdefault(part.digest, (key, position))
    assert {"raw", "lines", "fits"} <= {key for key, _ in named.values()}
    for name, (key, position) in named.items():
        data = altered.store.blobs("r", [name])[name]
        for wrong in (None, data[:-1], b"", data[:-1] + bytes([data[-1] ^ 1])):
            altered.held = {name: wrong}
            (found,) = tau.verify(altered, "r").damage
            assert (found.what, found.position) == ("blob", position)
            assert found.key in (key, "fit 0", "fit 1", "fit 2")
            assert name.hex() in found.problem


OTHER = {
    "node": "ingest", "iterations": 7, "graph": "other", "tags": ("a",), "base": 2, "status": "failed", "pauses": 2,
    "deadline": 1.0, "created": 1.0,
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), OTHER.items())
def test_a_summary_that_the_log_contradicts_is_named(altered: Altered, field: str, value: Any) -> None:
    altered.fields = {field: value}
    damage = tau.verify(altered, "r").damage
    assert damage[0].what == "summary"
    assert field in damage[0].problem


def test_a_manifest_that_the_records_contradict_is_named(tmp_path: Path) -> None:
    store = MemoryStore()
    graph = StateGraph("long", store=store)
    for number in range(40):
        graph.add_node(f"n{number}", lambda state: {"x": "y" * 20, "z": [state.get("z")]})
    graph.sequence(*(f"n{number}" for number in range(40)))
    graph.execute({}, run_id="r")
    wrapper = Altered(store)
    for position, data in store.read("r"):
        record = unseal("r", position, data)
        if isinstance(record, CheckpointRecord) and record.manifest is not None:
            record.manifest.values["x"] = Inline(b"\x01")
            record.manifest.progress.visits["n1"] = 3
            wrapper.records = {position: seal("r", record)}
            break
    found = {(one.what, one.key, one.position) for one in tau.verify(wrapper, "r").damage}
    assert found == {("manifest", "x", position), ("manifest", "", position)}


def test_an_artifact_that_is_missing_or_altered_is_named(store: Store, tmp_path: Path) -> None:
    final = pipeline(store, tmp_path).execute({"start": 1}, run_id="r")
    path = final["clean.nc"].path
    path.chmod(0o600)
    path.write_text("dirty " * 300)
    (found,) = tau.verify(store).damage
    assert (found.what, found.key) == ("artifact", "clean.nc")
    assert found.position is not None
    assert str(path) in found.problem
    path.unlink()
    (found,) = tau.verify(store, "r").damage
    assert "missing" in found.problem


def test_what_was_deleted_meanwhile_is_no_damage(tmp_path: Path) -> None:
    class Deleting(StoreWrapper):
        def scan(self, run_id: str, after: int = 0) -> Any:
            rows = self.store.read(run_id, after)
            self.store.delete(run_id)
            return iter(rows)

    store = MemoryStore()
    pipeline(store, tmp_path).execute({"start": 1}, run_id="r")
    assert tau.verify(Deleting(store)).sound


def test_nothing_is_written(store: Store, tmp_path: Path) -> None:
    pipeline(store, tmp_path).execute({"start": 1}, run_id="r")

    class ReadOnly(StoreWrapper):
        def commit(self, batches: Sequence[Batch]) -> Any:
            raise AssertionError("a commit")

        def delete(self, run_id: str, keep_summary: bool = False, *, expected: int | None = None) -> None:
            raise AssertionError("a deletion")

        def renew(self, run_id: str, nonce: str, seconds: float) -> bool:
            raise AssertionError("a renewal")

    assert tau.verify(ReadOnly(store)).sound


def test_a_run_on_redis_of_which_only_the_listing_knows_is_damage(redis_url: str) -> None:
    from redis import Redis

    store = tau.open_store(redis_url)
    for run_id in ("r", "s"):
        store.save(tau.State({"x": 1}, run_id=run_id))
    with Redis.from_url(redis_url) as keys:
        assert keys.delete("tau:run:r") == 1
    for found in (tau.verify(store), tau.verify(store, "r")):
        assert [(one.run_id, one.what) for one in found.damage] == [("r", "summary")]
    with pytest.raises(tau.errors.CheckpointNotFoundError):
        tau.verify(store, "t")


def test_a_key_on_redis_that_is_of_another_type_is_one_damaged_run(redis_url: str) -> None:
    from redis import Redis

    store = tau.open_store(redis_url)
    for run_id in ("r", "s"):
        store.save(tau.State({"x": 1}, run_id=run_id))
    with Redis.from_url(redis_url) as keys:
        keys.set("tau:run:r", "of another type")
    found = tau.verify(store)
    assert (found.runs, {one.run_id for one in found.damage}) == (2, {"r"})
    assert {one.run_id for one in tau.verify(store, "r").damage} == {"r"}
    assert {row.run_id: row.status == "damaged" for row in store.runs()} == {"r": True, "s": False}
