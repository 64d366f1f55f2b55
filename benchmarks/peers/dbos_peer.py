"""DBOS with its SQLite system database: a workflow whose steps are the nodes."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Peer, Work
from dbos import DBOS, SetWorkflowID

PATIENCE = 8.0
SOURCE = '''
def workflow(state):
    """Runs {names}."""
{lines}
    return state
'''


class Dbos(Peer):
    name = "dbos"
    packages = ("dbos",)
    configured = "SQLite system database, the default"
    version: str | None = None

    def __init__(self, folder: Path, *, lenient: bool = False) -> None:
        super().__init__(folder, lenient=lenient)
        self.launched = False

    def launch(self, work: Work) -> Callable[..., Any]:
        """The workflow, registered; and DBOS launched, which also takes up what a killed process left."""
        place = f"sqlite:///{self.folder}/dbos.sqlite"
        DBOS(
            config={
                "name": "peers",
                "system_database_url": place,
                "log_level": "ERROR",
                **({"application_version": self.version} if self.version else {}),
            }
        )

        def step(state: dict[str, Any], name: str) -> None:
            changes = DBOS.run_step({"name": name}, work.nodes[name], state)
            if work.grows in changes:
                state[work.grows].append(changes.pop(work.grows))
            state.update(changes)

        registered: Callable[..., Any] = DBOS.workflow(name="peers")(written(work, self.folder, step))
        DBOS.launch()
        self.launched = True
        return registered

    def run(self, work: Work, run_id: str, values: Mapping[str, Any]) -> Mapping[str, Any]:
        workflow = self.launch(work)
        with SetWorkflowID(run_id):
            found: Mapping[str, Any] = workflow(dict(values))
        return found

    def resume(self, work: Work, run_id: str) -> Mapping[str, Any]:
        self.launch(work)
        handle: Any = DBOS.retrieve_workflow(run_id)
        deadline = time.monotonic() + PATIENCE
        while (status := handle.get_status().status) in ("PENDING", "ENQUEUED"):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not taken up: status {status} after {PATIENCE:.0f} s, without an error")
            time.sleep(0.02)
        found: Mapping[str, Any] = handle.get_result()
        return found

    async def many(self, work: Work, run_ids: Sequence[str], values: Mapping[str, Any]) -> None:
        DBOS(config={"name": "peers", "system_database_url": f"sqlite:///{self.folder}/dbos.sqlite"})

        @DBOS.workflow(name="peers")
        async def workflow(state: dict[str, Any]) -> dict[str, Any]:
            for name, node in work.nodes.items():
                state.update(await DBOS.run_step_async({"name": name}, node, state))
            return state

        DBOS.launch()

        async def one(run_id: str) -> None:
            with SetWorkflowID(run_id):
                handle = await DBOS.start_workflow_async(workflow, dict(values))
            await handle.get_result()

        await asyncio.gather(*[one(run_id) for run_id in run_ids])


class Pinned(Dbos):
    name = "dbos pinned"
    configured = "SQLite system database, application_version set by hand"
    only = "behaviour"
    version = "1"


def written(work: Work, folder: Path, step: Callable[..., Any]) -> Callable[..., Any]:
    """The workflow as a user would have written it, in a file: DBOS takes an application's version from the source."""
    first = next(iter(work.nodes))
    if work.loops:
        lines = f'    while not state.get("done"):\n        step(state, "{first}")'
    else:
        lines = "\n".join(f'    step(state, "{name}")' for name in work.nodes)
    path = folder / f"workflow_{'_'.join(work.nodes)}.py"
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_text(SOURCE.format(names=", ".join(work.nodes), lines=lines), "utf-8")
    temporary.replace(path)  # another process may read it at this moment
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    module.__dict__["step"] = step
    spec.loader.exec_module(module)
    found: Callable[..., Any] = module.workflow
    return found
