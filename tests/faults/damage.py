"""Every bit flip, cut and zeroed block of the files that a killed run left behind."""

from __future__ import annotations

import logging
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from children import in_child
from subjects import Place, Subject
from sweep import Finding, outcome

KINDS = ("flip", "cut", "zero")
BLOCK_BYTES = 512
BATCH = 250
"""Damaged copies that one child tries."""
TYPED = {"CorruptCheckpointError", "StoreError", "UnsupportedFormatError"}
"""What may come instead of the result: errors that say that the store is not what it was."""


class Spot(NamedTuple):
    """Where to damage: ``at`` is a bit for a flip, a length for a cut, a block for a zeroing."""

    file: str
    kind: str
    at: int

    def __str__(self) -> str:
        return f"{self.kind} {self.file} at {self.at}"

    def apply(self, data: bytes) -> bytes:
        if self.kind == "cut":
            return data[: self.at]
        if self.kind == "zero":
            start = self.at * BLOCK_BYTES
            return data[:start] + bytes(len(data[start : start + BLOCK_BYTES])) + data[start + BLOCK_BYTES :]
        byte, bit = divmod(self.at, 8)
        return data[:byte] + bytes([data[byte] ^ (1 << bit)]) + data[byte + 1 :]


class Messages(logging.Handler):
    """Keeps what the library says."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


class Damage:
    """A subject whose run was killed in its last node, and copies of what it left."""

    def __init__(self, subject: Subject, base: Path) -> None:
        self.subject = subject
        self.base = base
        subject.warm(Place(base / "warm"))
        self.counts: Counter[str] = Counter()
        self.golden = Place(base / "golden")
        self.expected = in_child(lambda: self._whole(Place(base / "whole"))).value["ok"]
        subject.die_in = subject.nodes[-1]
        end = in_child(lambda: outcome(subject.start, self.golden))
        if not end.killed:
            raise RuntimeError(f"the golden run did not die in its last node: {end}")
        subject.die_in = None
        in_child(lambda: subject.settle(self.golden))
        self.finished = self.golden.effects()[:-1]

    def _whole(self, place: Place) -> dict[str, Any]:
        return outcome(self.subject.start, place)

    def spots(self, kind: str) -> list[Spot]:
        found = []
        for name in self.golden.files():
            size = (self.golden.store / name).stat().st_size
            count = {"flip": size * 8, "cut": size, "zero": -(-size // BLOCK_BYTES)}[kind]
            # A database of no bytes is what SQLite itself makes of a new file: nothing tells it from one.
            first = 1 if kind == "cut" and name.endswith(".db") else 0
            found += [Spot(name, kind, at) for at in range(first, count)]
        return found

    def sweep(self, spots: Iterable[tuple[int, Spot]]) -> Iterator[Finding]:
        left = list(spots)
        while left:
            batch, left = left[:BATCH], left[BATCH:]
            progress = self.base / "progress"
            progress.write_text("0")
            end = in_child(partial(self._batch, batch, progress))
            if end.signal or "crashed" in end.value:
                broken = int(progress.read_text())
                point, spot = batch[broken]
                what = f"ended by signal {end.signal} (14: it hung)" if end.signal else end.value["crashed"]
                yield Finding(point, None, str(spot), what)
                left = batch[broken + 1 :] + left
                continue
            self.counts.update(end.value["counts"])
            yield from (Finding(point, None, where, problem) for point, where, problem in end.value["findings"])

    def _batch(self, batch: list[tuple[int, Spot]], progress: Path) -> dict[str, Any]:
        counts: Counter[str] = Counter()
        found = []
        descriptor = os.open(progress, os.O_WRONLY)
        for index, (point, spot) in enumerate(batch):
            os.pwrite(descriptor, b"%d" % index, 0)
            name, problem = self.verdict(spot)
            counts[name] += 1
            if problem:
                found.append((point, str(spot), problem))
        return {"counts": dict(counts), "findings": found}

    def verdict(self, spot: Spot) -> tuple[str, str]:
        """What came of one damage, in a word, and what was wrong with that, or nothing."""
        directory = self.base / f"damaged-{os.getpid()}"
        shutil.copytree(self.golden.directory, directory)
        place = Place(directory)
        target = place.store / spot.file
        target.write_bytes(spot.apply(target.read_bytes()))
        said = Messages()
        logging.getLogger("tau").addHandler(said)
        logging.getLogger("tau").propagate = False
        try:
            found = outcome(self.subject.resume, place)
            ran = place.effects()[len(self.finished) + 1 :]
        finally:
            logging.getLogger("tau").removeHandler(said)
            self.subject.close(place)
            shutil.rmtree(directory)
        return self.judge(found, ran, said.texts)

    def judge(self, found: dict[str, Any], ran: list[str], said: list[str]) -> tuple[str, str]:
        if "error" in found:
            name = str(found["error"])
            fitting = TYPED & set(found["kinds"]) and found["helpful"]
            return name, "" if fitting else f"another error came out: {name}: {found['text']}"
        if found["ok"] != self.expected:
            return "wrong", f"a wrong result, and no word of it: {found['ok'][:500]}"
        if len(ran) <= 1:
            return "recovered", ""
        return "fell back", "" if said else f"fell back and did not say so: {ran} ran"
