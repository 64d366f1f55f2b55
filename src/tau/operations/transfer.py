"""Runs that go from one store to another, or into an archive and out of it."""

from __future__ import annotations

import os
from ast import literal_eval
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, Final

from msgspec import Struct

from tau.checks import directory
from tau.errors import ArtifactError, ConfigError, RunExistsError, RunOwnedError, StoreError
from tau.host import Host
from tau.log.cancellation import cancel_at
from tau.log.encoding import unseal
from tau.log.incoming import Incoming, receiving
from tau.log.loading import await_free
from tau.log.records import Cancelled, Interrupted
from tau.log.relocation import Relocation
from tau.operations.archive import ArchivedRun, ArchiveWriter, index_of
from tau.operations.stored_run import ENDED, RunSource, StoredRun
from tau.signals import tolerate
from tau.spelling import names_keywords
from tau.state_names import check_run_id
from tau.stores.artifact_copies import ArtifactCopies
from tau.stores.artifact_files import place_of, typed
from tau.stores.contract import PositionConflict, Store
from tau.stores.disk import Descriptor, sync, sync_directory
from tau.stores.names import temporary
from tau.stores.registry import resolve_store
from tau.stores.user_store import FourVerbs
from tau.values.types.artifact import Artifact

TRIES: Final = 20
"""How often a run that goes on while it is read is read again."""

StoreLike = str | os.PathLike[str] | Store | FourVerbs


class Transfer(Struct, frozen=True, kw_only=True):
    """What was copied: the run as it is called where it is now, ``place``, how much it is, and the paths of artifacts
    that were ``missing``, to which only earlier states refer, or a run that has ended. Reading it raises nothing.

    >>> from tau import StateGraph, export_run
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> transfer = export_run(graph.store, "one-1", "one-1.tau")
    >>> transfer.run_id
    'one-1'
    """

    run_id: str
    place: str
    status: str
    records: int
    blobs: int
    artifacts: int
    missing: tuple[str, ...] = ()


@names_keywords
def export_run(store: StoreLike, run_id: str, file: str | os.PathLike[str]) -> Transfer:
    """Write a run into one file, with its values and artifacts; `import_run` makes a run of it again.

    The run may have an owner: it is read as it is at one position. The file appears under its name when it is complete
    and on the disk. Nothing is written to the store, and the right to read is enough.

    Raises `CheckpointNotFoundError` for a run that the store does not hold, `CorruptCheckpointError` for one that is
    damaged, `ArtifactError` for one that could not be resumed as a file is missing, `ConfigError` for a file that
    already exists, `StoreError` if the store fails or the file cannot be written.

    >>> from tau import StateGraph, export_run
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> export_run(graph.store, "one-1", "one-1.tau").run_id
    'one-1'
    """
    origin, path = resolve_store(store), os.path.abspath(os.fspath(file))
    source = StoredRun(origin, check_run_id(run_id))
    if os.path.lexists(path):
        raise ConfigError(f"{path} already exists; choose another name, or remove it first")
    draft = os.path.join(os.path.dirname(path), temporary())
    with typed(path, "write"):
        try:
            with Descriptor(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW) as number:
                with open(number, "r+b", closefd=False) as archive:
                    done = _write_as_it_goes_on(source, archive)
                sync(number)
            try:
                os.link(draft, path)
            except FileExistsError:
                raise ConfigError(f"{path} already exists; choose another name, or remove it first") from None
            except OSError:  # a file system without links
                os.rename(draft, path)
            sync_directory(os.path.dirname(path))
        finally:
            with tolerate(FileNotFoundError):
                os.unlink(draft)
    return Transfer(run_id=run_id, place=path, **done)


def _write_as_it_goes_on(source: StoredRun, file: IO[bytes]) -> dict[str, Any]:
    """A run at work removes files by ``keep_last``: where one is gone, it is read again as it is by then."""
    for _ in range(TRIES):
        try:
            return _write(source, file)
        except ArtifactError:
            now = StoredRun(source.store, source.run_id)
            if now.until == source.until:
                raise
            source = now
            file.seek(0)
            file.truncate()
    return _write(source, file)


def _write(source: StoredRun, file: IO[bytes]) -> dict[str, Any]:
    writer = ArchiveWriter(file)
    try:
        return _written(source, writer)
    except BaseException:
        writer.abandon()
        raise


def _written(source: StoredRun, writer: ArchiveWriter) -> dict[str, Any]:
    found = dict[str, Artifact]()

    def note(artifact: Artifact) -> Artifact:
        if str(artifact.path) not in found and source.pieces(artifact) is not None:
            found[str(artifact.path)] = artifact
        return artifact

    writer.log(source.entries(), Relocation(note))
    written = [
        writer.artifact(number, artifact, source.pieces(artifact) or ())
        for number, artifact in enumerate(found.values(), 1)
    ]
    summary = source.summary
    index = index_of(
        source.run_id, graph=summary.graph, status=summary.status, position=source.until, records=writer.records,
        blobs=writer.blobs, not_before=source.not_before, artifacts=written,
    )  # fmt: skip
    writer.close(index)
    counts = {"records": writer.records, "blobs": writer.blobs, "artifacts": len(written)}
    return {**counts, "status": summary.status, "missing": tuple(source.missing)}


@names_keywords
def import_run(
    store: StoreLike,
    file: str | os.PathLike[str],
    *,
    new_run_id: str | None = None,
    artifacts: str | os.PathLike[str] | None = None,
) -> Transfer:
    """Put a run that `export_run` wrote into a store, under its own id or another one. `StateGraph.resume` goes on with
    it; one that had an owner is interrupted.

    The run is there once it is complete, or not at all. Its artifacts go where those of the store's runs lie, or below
    ``artifacts``, which is what ``CheckpointConfig(artifacts=...)`` names.

    Raises `RunExistsError` for an id that is in use, `CorruptCheckpointError` for a file that is no archive, or was cut
    or altered, `UnsupportedFormatError` for one of a newer version, `ArtifactError` for files in it that are not what
    the run says, `ConfigError` for artifacts where there is no place for them, `StoreError` if the store fails or the
    file cannot be read.

    >>> from tau import StateGraph, export_run, import_run
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> _ = export_run(graph.store, "one-1", "one-1.tau")
    >>> import_run("file:runs", "one-1.tau", new_run_id="copied").run_id
    'copied'
    """
    target, path = resolve_store(store), os.path.abspath(os.fspath(file))
    with typed(path, "read"), ArchivedRun(path) as source:
        run_id = check_run_id(source.run_id if new_run_id is None else new_run_id)
        return _receive(source, target, run_id, artifacts)


@names_keywords
def copy_run(
    store: StoreLike,
    run_id: str,
    to: StoreLike,
    *,
    new_run_id: str | None = None,
    move: bool = False,
    artifacts: str | os.PathLike[str] | None = None,
) -> Transfer:
    """Copy a run from one store to another, as by `export_run` and `import_run`.

    One that has not ended could go on in both places, so it needs ``new_run_id``, or ``move``: then it must have no
    owner, and where it was it is ``cancelled``, "moved to" the other place, at the moment when it is there. A move that
    was killed between the two is completed by the same call, or by one with another ``new_run_id``; of one that is
    complete it changes nothing, and gives the run as it is there.

    Raises `RunOwnedError` for a run to be moved that has an owner, `ConfigError` for one that has not ended without
    ``new_run_id`` or ``move``, and what `export_run` and `import_run` raise.

    >>> from tau import StateGraph, copy_run
    >>> graph = StateGraph("one", store="sqlite:///tau.db")
    >>> graph.add_node("work", lambda state: {"n": state["n"] + 1})
    >>> graph.sequence("work")
    >>> for number in range(3):
    ...     _ = graph.execute({"n": number}, run_id=f"one-{number}")
    >>> _ = copy_run(graph.store, "one-1", "file:runs")
    >>> graph.use_store("file:runs")
    >>> graph.resume("one-1")["n"]
    2
    """
    origin, target, host = resolve_store(store), resolve_store(to), Host()
    new = check_run_id(run_id if new_run_id is None else new_run_id)
    source = StoredRun(origin, check_run_id(run_id))
    before = _moved_as(source, target) if move else None
    if before is not None:
        for one in {new, before}:
            there = target.summary(one)
            if there is not None and there.status != "deleted" and there.created == source.summary.created:
                return Transfer(run_id=one, place=target.location, status=there.status, records=0, blobs=0, artifacts=0)
        source = StoredRun(origin, run_id, until=source.until - 1)  # that was broken off just before the end
        return _receive(source, target, new, artifacts)
    if source.summary.status in ENDED:
        return _receive(source, target, new, artifacts)
    if not move:
        if new_run_id is None:
            raise ConfigError(
                f"run {run_id!r} has not ended (status {source.summary.status}), and could go on in both places: the "
                "copy needs another id, or the run has to be moved",
                hint="new_run_id=..., or move=True",
            )
        return _receive(source, target, new, artifacts)
    free_at = await_free(origin, run_id, host, 0.0)
    source = StoredRun(origin, run_id, until=free_at)
    if source.not_before is None and source.summary.status == "running":
        source.not_before = host.now()  # as a dead one it would have been taken

    left = False

    def leave() -> None:
        nonlocal left
        try:
            cancel_at(origin, source.summary, free_at, _reason(new, target), host)
        except PositionConflict as error:
            raise RunOwnedError(
                f"run {run_id!r} was taken or changed at this moment; it was not moved", run_id=run_id
            ) from error
        left = True

    try:
        return _receive(source, target, new, artifacts, leave)
    except StoreError as error:
        if not left:
            raise
        raise StoreError(
            f"run {run_id!r} has ended in {origin.location}, and could not be completed in {target.location}: {error}; "
            "nothing is lost: the same move, made again, completes it",
            location=target.location,
        ) from error
    except RunExistsError as error:
        if not left:
            raise
        raise RunExistsError(
            f"run {run_id!r} has ended in {origin.location}, and run {new!r} was begun by another process in "
            f"{target.location} at this moment; nothing is lost: the same move to another id completes it",
            hint="move=True, new_run_id=...",
            run_id=new,
            status=error.status,
            resumable=False,
        ) from error


def _reason(run_id: str, target: Store) -> str:
    return f"moved to run {run_id!r} in {target.location}"


def _moved_as(source: StoredRun, target: Store) -> str | None:
    """The id under which the run was to be moved to that store, if that is how it ended."""
    if source.summary.status != "cancelled":
        return None
    for _, data in source.store.scan(source.run_id, source.until - 1):
        record = unseal(source.run_id, source.until, data)
        if isinstance(record, Cancelled):
            said = record.reason.removeprefix("moved to run ").removesuffix(f" in {target.location}")
            with suppress(ValueError, SyntaxError):
                run_id = literal_eval(said)
                return run_id if isinstance(run_id, str) and record.reason == _reason(run_id, target) else None
    return None


def _receive(
    source: RunSource,
    target: Store,
    run_id: str,
    artifacts: str | os.PathLike[str] | None,
    last: Callable[[], None] | None = None,
) -> Transfer:
    host = Host()
    configured = directory("artifacts", artifacts) or target.artifacts
    incoming = Incoming(target, run_id, host, at_once=last is not None)
    copies = ArtifactCopies(lambda: place_of(target, configured), run_id, incoming.start + 1, nonce=incoming.nonce)
    missing = set()

    def move(artifact: Artifact) -> Artifact:
        pieces = source.pieces(artifact)
        if pieces is None:
            missing.add(str(artifact.path))
            return artifact
        return copies.put(artifact, pieces)

    records = blobs = 0
    with receiving(incoming, copies):
        relocation = Relocation(move)
        for entry in source.entries():
            moved = [blob.moved(relocation) for blob in entry.blobs]
            relocation.record(entry.record)
            incoming.add(entry.record, moved)
            records, blobs = records + 1, blobs + len(moved)
        _end(incoming, host)
        summary = incoming.finish(source.not_before, last)
    return Transfer(
        run_id=run_id, place=target.location, status=summary.status, records=records, blobs=blobs,
        artifacts=len(copies), missing=tuple(sorted(missing)),
    )  # fmt: skip


def _end(incoming: Incoming, host: Host) -> None:
    """A run that was at work is interrupted where it is now; the attempt that was under way counts."""
    progress = incoming.progress
    if progress.status == "running":
        attempt = progress.crashes + 1
        incoming.add(Interrupted(time=host.now(), node=progress.next or "", reason="copied", attempt=attempt))
