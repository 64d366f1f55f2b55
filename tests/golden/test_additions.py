"""What docs/format.md lets later versions add to format 1 is passed over, or refused; it is never taken for damage."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from tau import CorruptCheckpointError, UnsupportedFormatError
from tau.graph.fingerprint import CodeFingerprint, EdgeFingerprint, GraphFingerprint, NodeFingerprint
from tau.log.encoding import seal, unseal
from tau.log.records import (
    Admitted,
    Answer,
    AnyRecord,
    Cancelled,
    CheckpointRecord,
    Claimed,
    EffectDone,
    Failed,
    Failure,
    Finished,
    Intent,
    Interrupted,
    Item,
    Manifest,
    Message,
    Pause,
    Planned,
    Progress,
    Routed,
)  # fmt: skip
from tau.stores.contract import Owner
from tau.values.stored import Blobs, Grown, Inline, Part

OWNER = Owner(nonce="n", host="h", boot="b", pid=1, started=2, lease=60.0)
CODE = CodeFingerprint("3.11", "aa", "bb")
EDGE = EdgeFingerprint("a", "b", "e", CODE, NodeFingerprint(CODE))
GRAPH = GraphFingerprint(
    "g",
    {"a": NodeFingerprint(CODE, "1", {"m": CODE})},
    (EDGE,),
    "a",
    ("b",),
    "3.11",
)
STORED = {"x": Inline(b"\x01"), "y": Blobs(b"", 0, (Part(b"d" * 20, 3),)), "z": Grown(b"\x92", 1, Part(b"e" * 20, 3))}
PROGRESS = Progress(
    graph="g",
    fingerprint=GRAPH,
    visits={"a": 2},
    path=["a"],
    taken={("a", "b")},
    preserve=False,
    provenance={"host": "h"},
)
MANIFEST = Manifest(PROGRESS, {"x": STORED["x"], "y": STORED["y"]})
COMMON: dict[str, Any] = {"position": 7, "token": b"t", "time": 1.5, "scope": (("a", 1, "n"),)}

RECORDS = [
    Admitted(**COMMON, manifest=MANIFEST, provenance={"host": "h"}),
    Claimed(
        **COMMON, owner=OWNER, fingerprint=GRAPH, on_change="redo", changes=("c",), rewind=3, provenance={"host": "i"}
    ),
    CheckpointRecord(**COMMON, node="a", visit=2, next="b", changed=STORED, removed=("w",), manifest=MANIFEST),
    Planned(**COMMON, name="p", keys=("1",), body={"k": 1}),
    Item(**COMMON, name="p", key="1", value=STORED["y"], seconds=0.5, body={"k": 1}),
    Pause(**COMMON, name="q", value=STORED["x"]),
    Answer(**COMMON, name="q", value=STORED["x"]),
    Failed(**COMMON, node="a", failure=Failure("E", "text", (("f.py", 1, "f"),)), attempt=2),
    Interrupted(**COMMON, node="a", reason="SIGTERM"),
    Cancelled(**COMMON, reason="cancelled"),
    Finished(**COMMON, node="a"),
    Intent(**COMMON, name="i", body={"k": 1}),
    EffectDone(**COMMON, name="i", body={"k": 1}),
    Message(**COMMON, name="m", body={"k": 1}),
    Routed(**COMMON, node="a", visit=2, next="b", answer="yes", seconds=0.5),
]
KINDS = [type(record).__name__ for record in RECORDS]

each_kind = pytest.mark.parametrize("record", RECORDS, ids=KINDS)


def fields(record: AnyRecord) -> list[Any]:
    found: list[Any] = msgspec.msgpack.decode(msgspec.msgpack.encode(record))
    return found


def reading(body: list[Any], compression: int = 0, data: bytes | None = None) -> AnyRecord:
    """What is read of a sound record with this body."""
    kind = bytes([1, compression])
    content = msgspec.msgpack.encode(body) if data is None else data
    digest = hashlib.sha256(b"r\x007\x00" + kind + content).digest()[:16]
    return unseal("r", 7, b"tau" + kind + digest + content)


def more(value: Any) -> Any:
    """A later version of this: every map of named fields and every array of fixed fields has one more."""
    if isinstance(value, dict):
        return {**{key: more(item) for key, item in value.items()}, **({"later": [1]} if _is_named(value) else {})}
    return value


def _is_named(value: dict[str, Any]) -> bool:
    return bool({"nonce", "frames", "visits"} & value.keys())


@each_kind
def test_every_kind_comes_back_as_it_was(record: AnyRecord) -> None:
    assert unseal("r", 7, seal("r", record)) == record
    assert reading(fields(record)) == record


def test_these_are_all_kinds() -> None:
    assert {type(record) for record in RECORDS} == set(AnyRecord.__args__)
    assert [fields(record)[0] for record in RECORDS] == [
        "admitted", "claimed", "checkpoint", "planned", "item", "pause", "answer", "failed", "interrupted", "cancelled",
        "finished", "intent", "effect", "message", "routed",
    ]  # fmt: skip


@each_kind
def test_fields_at_the_end_and_keys_of_maps_that_are_not_known_are_passed_over(record: AnyRecord) -> None:
    later = [*map(more, fields(record)), "later", {"x": 1}]
    assert reading(later) == record


@each_kind
def test_fields_at_the_end_that_are_missing_have_their_defaults(record: AnyRecord) -> None:
    empty = type(record)(**COMMON)
    assert reading(fields(record)[:5]) == empty


def test_the_parts_of_a_record_can_grow_too() -> None:
    record = RECORDS[2]
    later = fields(record)
    later[10] = {key: [*stored, "later"] for key, stored in later[10].items()}
    progress, values = later[13]
    progress["fingerprint"] = [*progress["fingerprint"], "later"]
    later[13] = [more(progress), values, "later"]
    assert reading(later) == record
    del later[13][0]["keep"], later[13][0]["taken"]
    found = reading(later)
    assert isinstance(found, CheckpointRecord)
    assert found.manifest is not None
    assert (found.manifest.progress.preserve, found.manifest.progress.taken) == (True, set())


def test_a_kind_a_form_or_a_compression_that_is_not_known_is_refused_and_no_damage() -> None:
    known = fields(RECORDS[2])
    form = [*known[:10], {"x": [3, b"data"]}]
    for act in (
        lambda: reading(["voted", *known[1:]]),
        lambda: reading(form),
        lambda: reading(known, compression=2),
        lambda: reading([*known[:6], "two"]),
    ):
        with pytest.raises(
            UnsupportedFormatError, match="undamaged but of a kind that this version of tau does not know"
        ):
            act()


def test_what_is_not_sealed_for_this_place_is_damage() -> None:
    sealed = seal("r", RECORDS[0])
    for run_id, position, data in (
        ("q", 7, sealed), ("r", 8, sealed), ("r", 7, sealed[:-1]), ("r", 7, sealed + b"\0"), ("r", 7, b""),
        ("r", 7, b"\0" + sealed[1:]), ("r", 7, sealed[:3] + b"\x02" + sealed[4:]), ("r", 7, sealed[:20]),
    ):  # fmt: skip
        with pytest.raises(CorruptCheckpointError):
            unseal(run_id, position, data)
