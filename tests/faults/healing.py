"""A disk that fails and is well again, in one process: every call that changes something fails, once or until the end.

Run with the crash points preloaded: ``healing.py DIRECTORY URL MODE STRIDE``, where ``{}`` in the URL is the store's
directory. Prints the number of trials and each that went wrong.
"""

from __future__ import annotations

import gc
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from children import descriptors
from preload import CrashPoints

from tau.errors import StoreError, StoreFullError, StoreUnavailableError
from tau.stores import open_store
from tau.stores.contract import PositionConflict, Store
from tau.testing.store_contract.batches import batch, one, owner

HIDDEN = ("cannot rollback", "no reason given", "see the cause")
TRIES = 3
"""Uses of the store while the disk is ill."""


def use(store: Store, position: int) -> Iterator[Any]:
    """What one commit and three readings give, each the error where it raises."""
    yield one(store, batch("r", position, owner=owner("a")))
    for work in (lambda: store.read("r"), lambda: store.renew("r", "a", 60.0), lambda: store.summary("new")):
        try:
            work()
        except Exception as error:
            yield error


def wrong_with(error: Any, mode: str) -> str:
    """What is wrong with an error met while the disk was ill; empty where it is as it should be."""
    if not isinstance(error, Exception) or isinstance(error, PositionConflict):
        return ""
    if type(error) not in (StoreFullError, StoreUnavailableError):
        return f"{type(error).__name__} instead of a kind of StoreError"
    if mode == "enospc-forever" and not isinstance(error, StoreFullError):
        return "a full disk is not told as one"
    return next((f"it says {text!r}" for text in HIDDEN if text in str(error)), "")


def trial(place: Path, url: str, mode: str, at: int, anew: bool) -> tuple[int, list[str]]:
    """How many calls there were, and what went wrong when the one at ``at`` failed."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    store = open_store(url.format(place))
    assert one(store, batch("r", 0, owner=owner("a"))) == 1
    store.read("r")
    if anew:
        store.close()
    else:
        before = len(descriptors())
    points = CrashPoints()
    points.arm(place, mode if at else "count", at)
    said: list[Any] = []
    kept = 1
    for _ in range(TRIES):
        results = [*use(store, kept)]
        said += results
        if isinstance(results[0], int):
            kept = results[0]
        elif isinstance(results[0], PositionConflict):  # a commit that was not answered for had been made
            kept = results[0].position
    count = points.count()
    points.disarm()
    found = [f"{wrong}: {error}" for error in said if (wrong := wrong_with(error, mode))]
    # Well again: it is used at once.
    position = kept
    try:
        stored = len(store.read("r"))
        if stored not in (kept, kept + 1):
            found.append(f"{stored} records, {kept} were acknowledged")
        position = stored
        again = [*use(store, position)]
        if again != [position + 1]:
            found.append(f"not usable when the disk was well: {again}")
    except StoreError as error:
        found.append(f"not readable when the disk was well: {error}")
    if not anew:
        gc.collect()
        if len(descriptors()) > before:
            found.append(f"{len(descriptors()) - before} descriptors more than before")
    store.close()
    return count, found


def main(directory: str, url: str, mode: str, stride: str) -> int:
    logging.disable()
    place, trials, bad = Path(directory) / "store", 0, 0
    for anew in (False, True):
        count, found = trial(place, url, mode, 0, anew)
        assert not found, found
        for at in range(1, count + 1, int(stride)):
            trials += 1
            _, found = trial(place, url, mode, at, anew)
            bad += bool(found)
            for text in found[:2]:
                print(f"{mode} at {at}{' anew' if anew else ''}: {text}")
    print(f"{trials} trials, {bad} wrong")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
