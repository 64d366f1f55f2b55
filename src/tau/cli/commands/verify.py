"""`tau verify`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tau.cli import completion, options
from tau.cli.exits import Exit
from tau.cli.ids import in_short
from tau.cli.outcome import Session, reporting
from tau.cli.output import screen
from tau.cli.places import find, note_nothing, reading
from tau.cli.targets import read_project
from tau.errors import CheckpointNotFoundError, CorruptCheckpointError
from tau.operations.verify import Damage, Verification, is_listed_as_damaged
from tau.operations.verify import verify as read_all
from tau.state_names import check_run_id
from tau.stores import Store

HEADS = ("run", "what", "key", "seq", "problem")


@click.command()
@click.argument("run_id", required=False, shell_complete=completion.run_ids)
@options.store
@options.as_json
@reporting
def verify(session: Session, *, run_id: str | None, store: str | None) -> int:
    """Read everything that is stored of a run, or of all runs, and say what is damaged.

    Nothing is changed, and the right to read is enough. Every record and value is compared with its checksum, the
    manifests and summaries with the log, and the artifacts of the newest state with their digests. The exit code is 5
    if anything is damaged.

    \b
    Examples:
      tau verify climate-2024
      tau verify --store sqlite:///runs.db
    """
    place = reading(store, read_project(), session)
    if run_id is not None:
        run_id = _whole(place, check_run_id(run_id), session)
    found = Verification() if place is None else read_all(place, run_id)
    if session.as_json:
        screen.document({**document(found), "store": session.store})
    else:
        if found.damage:
            short = in_short(place, [one.run_id for one in found.damage])
            screen.table(HEADS, (_row(one, short) for one in found.damage))
        screen.line(_said(found))
    if place is None:
        note_nothing(f"nothing was ever stored in {session.store}", session)
    return Exit.DONE if found.sound else Exit.STORE


def _whole(place: Store | None, run_id: str, session: Session) -> str:
    """The id of the run that is meant, which may be one that cannot be read."""
    try:
        find(place, run_id, session)
    except CorruptCheckpointError:  # which is what is verified
        pass
    except CheckpointNotFoundError:
        if place is None or not is_listed_as_damaged(place, run_id):
            raise
    return session.run_id


def document(found: Verification) -> dict[str, Any]:
    """What was read, for JSON."""
    counts = {"runs": found.runs, "records": found.records, "blobs": found.blobs, "artifacts": found.artifacts}
    return {**counts, "size_bytes": found.size_bytes, "sound": found.sound, "damage": list(map(_damage, found.damage))}


def _damage(one: Damage) -> dict[str, Any]:
    named = {"run_id": one.run_id, "what": one.what, "key": one.key or None, "seq": one.position}
    return {**named, "problem": one.problem}


def _row(one: Damage, short: Callable[[str], str]) -> list[str]:
    return [short(one.run_id), one.what, one.key, "" if one.position is None else str(one.position), one.problem]


def _said(found: Verification) -> str:
    counts = {"run": found.runs, "record": found.records, "blob": found.blobs, "artifact": found.artifacts}
    read = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    sound = "all sound" if found.runs else "there is nothing to verify"
    end = sound if found.sound else f"{len(found.damage)} damaged"
    return f"{read} ({screen.size(found.size_bytes)}): {end}"
