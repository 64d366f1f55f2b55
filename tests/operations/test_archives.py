"""An archive that was cut, altered or made to do harm is refused by name, and nothing of it is in the store."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from keeping import pipeline

import tau
from tau import CorruptCheckpointError, ExecutionError, StateGraph, StoreError, UnsupportedFormatError
from tau.errors import ArtifactError, TauError
from tau.operations.archive import INDEX, LOG
from tau.stores.memory import MemoryStore


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Of a run that failed in its third node, with a file and a directory."""
    store = MemoryStore()
    with pytest.raises(ExecutionError):
        pipeline(store, tmp_path, broken="analyze").execute({"start": 1958}, run_id="r")
    tau.export_run(store, "r", tmp_path / "r.tau")
    return tmp_path / "r.tau"


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The smallest there is with all that one may have."""
    store = MemoryStore()
    graph = StateGraph(
        tau.GraphConfig("g", checkpoint=tau.CheckpointConfig(store=store, interval=1, artifacts=str(tmp_path / "a")))
    )

    def only(state: Any, ctx: tau.Context) -> dict[str, Any]:
        with ctx.artifact("f") as path:
            path.write_text("file")
        raise ValueError("no")

    graph.add_node("only", only)
    graph.sequence("only")
    with pytest.raises(ExecutionError):
        graph.execute({"x": "value " * 100}, run_id="r")
    tau.export_run(store, "r", tmp_path / "small.tau")
    return tmp_path / "small.tau"


EACH = pytest.mark.parametrize("stride", [11, pytest.param(1, marks=pytest.mark.deep)])
"""In the quick tests one of so many places, in the deep ones all of them."""


def refused(path: Path, tmp_path: Path, *kinds: type[TauError]) -> str:
    """What the import says, which has changed nothing."""
    target = MemoryStore()
    with pytest.raises(kinds or (CorruptCheckpointError,)) as raised:
        tau.import_run(target, path, artifacts=tmp_path / "there")
    assert target.summary("r") is None
    assert not [one for one in (tmp_path / "there").rglob("*") if one.is_file()]
    return str(raised.value)


@EACH
def test_every_cut_is_refused_by_name(small: Path, tmp_path: Path, stride: int) -> None:
    data, copy = small.read_bytes(), tmp_path / "cut.tau"
    for length in range(0, len(data), stride):
        copy.write_bytes(data[:length])
        assert str(copy) in refused(copy, tmp_path)


@EACH
def test_every_altered_byte_is_refused_by_name(small: Path, tmp_path: Path, stride: int) -> None:
    data, copy = small.read_bytes(), tmp_path / "altered.tau"
    for at in range(0, len(data), stride):
        copy.write_bytes(data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        assert str(copy) in refused(copy, tmp_path)


def sealed(path: Path, data: bytes) -> None:
    """Write it with the checksum that it needs."""
    path.write_bytes(data[:-64] + hashlib.sha256(data[:-64]).hexdigest().encode())


@EACH
def test_every_altered_byte_under_a_right_checksum_is_refused_or_harmless(
    small: Path, tmp_path: Path, stride: int
) -> None:
    """Whoever makes the checksum anew gets no other value in, and no other error out, than is meant to be."""
    data, copy = small.read_bytes(), tmp_path / "forged.tau"
    (tmp_path / "there").mkdir()
    outcomes = {"same": 0, "refused": 0}
    for at in range(0, len(data) - 64, stride):
        sealed(copy, data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :])
        target = MemoryStore()
        try:
            tau.import_run(target, copy, new_run_id="r", artifacts=tmp_path / "there")
        except (CorruptCheckpointError, UnsupportedFormatError, ArtifactError, StoreError):
            outcomes["refused"] += 1
            assert target.summary("r") is None
            continue
        outcomes["same"] += 1
        assert tau.verify(target).damage == ()
        assert target.load("r")["x"] == "value " * 100
    assert min(outcomes.values()) > 50 // stride


def rewritten(path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> None:
    """The archive with other members, and a right checksum."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    change(members)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", **options) as new:
        for name, data in members.items():
            new.writestr(name, data)
        new.comment = b"0" * 64
    sealed(path, made.getvalue())


def of_index(change: Callable[[Any], None]) -> Callable[[dict[str, bytes]], None]:
    def apply(members: dict[str, bytes]) -> None:
        index = json.loads(members[INDEX])
        change(index)
        members[INDEX] = json.dumps(index).encode()

    return apply


def test_what_is_written_anew_without_a_change_is_taken(archive: Path, tmp_path: Path) -> None:
    rewritten(archive, lambda members: None)
    assert tau.import_run(MemoryStore(), archive, artifacts=tmp_path / "there").artifacts == 2


@pytest.mark.parametrize(
    "path",
    [
        "../out",
        "/out",
        "deep/../../out",
        "deep/./b.png",
        "",
        ".",
        "..",
        "deep//b.png",
        "a\0b",
        "nowhere/b.png",
        "\udcffa\ud800",
    ],
)
def test_no_member_leaves_its_directory(archive: Path, tmp_path: Path, path: str) -> None:
    def change(index: Any) -> None:
        files = index["artifacts"][-1]["files"]
        assert files[-1]["member"]
        files[-1]["path"] = path

    rewritten(archive, of_index(change))
    before = {one for one in tmp_path.rglob("*") if "there" not in one.parts}
    refused(archive, tmp_path, ArtifactError, StoreError)
    assert {one for one in tmp_path.rglob("*") if "there" not in one.parts} == before


@pytest.mark.parametrize("name", ["../out", "a/b", "..", "", "x" * 300])
def test_no_artifact_has_the_name_of_a_path(archive: Path, tmp_path: Path, name: str) -> None:
    """Nor does the node that made it lead anywhere."""
    made = tau.Artifact(
        name=name, path=tmp_path / "somewhere", size_bytes=4, digest=hashlib.sha256(b"file").hexdigest(),
        directory=False, modified=1, run_id="r", node="../../node", visit=1,
    )  # fmt: skip
    store = MemoryStore()
    made.path.write_text("file")
    graph = StateGraph("g", store=store)
    graph.add_node("only", lambda state: {"file": made})
    graph.sequence("only")
    graph.execute({}, run_id="r")
    tau.export_run(store, "r", tmp_path / "s.tau")
    refused(tmp_path / "s.tau", tmp_path, tau.ConfigError)


def test_a_compressed_member_is_not_expanded(archive: Path, tmp_path: Path) -> None:
    """A few bytes that say that they are a terabyte are refused before anything is read of them."""
    rewritten(archive, lambda members: members.update({LOG: bytes(1 << 24)}), compression=zipfile.ZIP_DEFLATED)
    assert archive.stat().st_size < 1 << 20
    assert "compressed" in refused(archive, tmp_path)


@pytest.mark.parametrize("name", ["more", "artifacts/1/9", "../log"])
def test_other_members_are_refused(archive: Path, tmp_path: Path, name: str) -> None:
    rewritten(archive, lambda members: members.update({name: b"x"}))
    assert "other members" in refused(archive, tmp_path)


def test_a_missing_member_is_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as found:
        names = found.namelist()
    data = archive.read_bytes()
    for name in names:
        archive.write_bytes(data)
        rewritten(archive, lambda members, name=name: members.pop(name))  # type: ignore[misc]
        assert str(archive) in refused(archive, tmp_path)


def test_a_member_twice_is_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a") as found, pytest.warns(UserWarning, match="Duplicate"):
        found.writestr(LOG, b"")
    sealed(archive, archive.read_bytes())
    assert "other members" in refused(archive, tmp_path)


def test_a_newer_format_is_refused_as_such(archive: Path, tmp_path: Path) -> None:
    rewritten(archive, of_index(lambda index: index.update(format=2, news={"x": 1})))
    assert "format 2" in refused(archive, tmp_path, UnsupportedFormatError)


@pytest.mark.parametrize(
    ("field", "value"), [("run_id", 7), ("run_id", "another"), ("records", 1), ("blobs", 0), ("artifacts", {}),
                         ("not_before", 1e300), ("not_before", float("nan")), ("format", "1"), ("format", 0)]
)  # fmt: skip
def test_an_index_that_says_something_else_is_refused(archive: Path, tmp_path: Path, field: str, value: Any) -> None:
    rewritten(archive, of_index(lambda index: index.update({field: value})))
    target = MemoryStore()
    with pytest.raises(CorruptCheckpointError, match="r\\.tau"):
        tau.import_run(target, archive, new_run_id="r", artifacts=tmp_path / "there")
    assert target.summary("r") is None


def test_a_file_with_a_time_that_no_calendar_has_is_refused(archive: Path, tmp_path: Path) -> None:
    def change(index: Any) -> None:
        index["artifacts"][-1]["files"][-1]["modified"] = 10**30

    rewritten(archive, of_index(change))
    refused(archive, tmp_path)


def test_files_that_are_not_what_the_run_says_are_refused(archive: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        members["artifacts/1/0"] = members["artifacts/1/0"][::-1]

    rewritten(archive, change)
    assert "altered" in refused(archive, tmp_path, ArtifactError)


@pytest.mark.parametrize("content", [b"", b"PK", b"not an archive", b"x" * 100_000])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.tau").write_bytes(content)
    assert "x.tau" in refused(tmp_path / "x.tau", tmp_path)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        tau.import_run(MemoryStore(), tmp_path / "no such file.tau")
    with pytest.raises(TauError, match="directory"):
        tau.import_run(MemoryStore(), tmp_path)
    store = MemoryStore()
    pipeline(store, tmp_path).execute({"start": 1}, run_id="r")
    with pytest.raises(StoreError, match="nowhere"):
        tau.export_run(store, "r", tmp_path / "nowhere" / "r.tau")
