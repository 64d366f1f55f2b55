"""Burr with its SQLite persister."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import burr.integrations.serde.pandas  # noqa: F401  (what its pages say to import for DataFrames)
from benchmarks.peers.peer import Node, Peer, Work
from burr.core import ApplicationBuilder, State, action, default, when
from burr.core.persistence import SQLitePersister
from burr.integrations.persisters.b_aiosqlite import AsyncSQLitePersister
from burr.integrations.serde.pickle import register_type_to_pickle


class Burr(Peer):
    name = "burr"
    packages = ("apache-burr",)
    configured = "SQLitePersister"
    lenient_means = "register_type_to_pickle, and parquet files for DataFrames"

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        super().__init__(folder, lenient=lenient)
        self.place = str(folder / "burr.db")
        self.serde_kwargs = {"pandas_kwargs": {"path": str(folder / "frames")}} if lenient else {}
        if lenient:
            import numpy as np

            for kind in (bytes, np.ndarray):
                register_type_to_pickle(kind)

    def builder(self, work: Work, run_id: str, persister: Any) -> Any:
        actions = {name: as_action(node, work) for name, node in work.nodes.items()}
        names = list(work.nodes)
        pairs: list[tuple[Any, ...]] = list(pairwise(names))
        if work.loops:
            actions["end"] = action(reads=[], writes=[])(lambda state: state)
            pairs = [(names[0], "end", when(done=True)), (names[0], names[0], default)]
        return (
            ApplicationBuilder()
            .with_actions(**actions)
            .with_transitions(*pairs)
            .with_identifiers(app_id=run_id)
            .with_state_persister(persister)
        )

    def persister(self) -> SQLitePersister:
        persister = SQLitePersister(self.place, serde_kwargs=self.serde_kwargs)
        persister.initialize()
        return persister

    def last(self, work: Work) -> str:
        return "end" if work.loops else list(work.nodes)[-1]

    def run(self, work: Work, run_id: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        builder = self.builder(work, run_id, self.persister())
        app = builder.with_state(**whole(work, values)).with_entrypoint(next(iter(work.nodes))).build()
        _, _, state = app.run(halt_after=[self.last(work)])
        return dict(state.get_all())

    def resume(self, work: Work, run_id: str) -> Mapping[str, Any]:
        persister = self.persister()
        first = next(iter(work.nodes))
        builder = self.builder(work, run_id, persister).initialize_from(
            persister, resume_at_next_action=True, default_state={}, default_entrypoint=first
        )
        _, _, state = builder.build().run(halt_after=[self.last(work)])
        return dict(state.get_all())

    async def many(self, work: Work, run_ids: Sequence[str], values: Mapping[str, Any]) -> None:
        persister = await AsyncSQLitePersister.from_values(self.place, serde_kwargs=self.serde_kwargs)
        await persister.initialize()

        async def one(run_id: str) -> None:
            builder = self.builder(work, run_id, persister).with_state(**whole(work, values))
            app = await builder.with_entrypoint(next(iter(work.nodes))).abuild()
            await app.arun(halt_after=[self.last(work)])

        await asyncio.gather(*[one(run_id) for run_id in run_ids])
        await persister.cleanup()


def whole(work: Work, values: Mapping[str, Any]) -> dict[str, Any]:
    """Every key that an action declares has to be there."""
    return dict.fromkeys(work.keys) | dict(values)


def as_action(node: Node, work: Work) -> Any:
    """A node as an action that may read and write every key."""
    if asyncio.iscoroutinefunction(node):

        async def run(state: State) -> State:
            return state.update(**await node(state))

    else:

        def run(state: State) -> State:
            changes = node(state)
            grown = {work.grows: changes.pop(work.grows)} if work.grows in changes else {}
            changed = state.update(**changes)
            return changed.append(**grown) if grown else changed

    return action(reads=list(work.keys), writes=list(work.keys))(run)
