"""Stores as users write them: four verbs and nothing of ours but `State`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from tau import State


class InADict:
    """Keeps the states themselves; a run that it does not know is the dict's own KeyError."""

    def __init__(self) -> None:
        self.kept: dict[str, State] = {}

    def save(self, state: State) -> None:
        self.kept[state.run_id] = state

    def load(self, run_id: str) -> State:
        return self.kept[run_id]

    def delete(self, run_id: str) -> None:
        del self.kept[run_id]

    def list(self) -> Iterable[str]:
        return self.kept.keys()


class InBytes:
    """Keeps bytes."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def save(self, state: State) -> None:
        self.kept[state.run_id] = state.to_bytes()

    def load(self, run_id: str) -> State:
        return State.from_bytes(self.kept[run_id])

    def delete(self, run_id: str) -> None:
        del self.kept[run_id]

    def list(self) -> Iterable[str]:
        return self.kept.keys()


class InFiles:
    """Keeps bytes, one file for each run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(exist_ok=True)

    def path(self, run_id: str) -> Path:
        return self.root / hashlib.sha256(run_id.encode()).hexdigest()

    def save(self, state: State) -> None:
        self.path(state.run_id).write_bytes(state.to_bytes())

    def load(self, run_id: str) -> State:
        try:
            return State.from_bytes(self.path(run_id).read_bytes())
        except FileNotFoundError:
            raise KeyError(run_id) from None

    def delete(self, run_id: str) -> None:
        self.path(run_id).unlink()

    def list(self) -> Iterable[str]:
        return (State.from_bytes(path.read_bytes()).run_id for path in self.root.iterdir())


class Failing(InADict):
    """Fails in the verbs named in ``broken``; ``saves_left`` saves still work."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: set[str] = set()
        self.saves_left = 10**9

    def _use(self, verb: str) -> None:
        if verb in self.broken:
            raise RuntimeError(f"no {verb} today")

    def save(self, state: State) -> None:
        self._use("save")
        self.saves_left -= 1
        if self.saves_left < 0:
            raise OSError("the tape is full")
        super().save(state)

    def load(self, run_id: str) -> State:
        self._use("load")
        return super().load(run_id)

    def delete(self, run_id: str) -> None:
        self._use("delete")
        super().delete(run_id)

    def list(self) -> Iterable[str]:
        self._use("list")
        return super().list()


class Forgetful(InADict):
    """Keeps what is in the state, and loses what a run needs beside that."""

    def save(self, state: State) -> None:
        self.kept[state.run_id] = State(dict(state), run_id=state.run_id)
