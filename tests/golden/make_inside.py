"""Wrote the golden store of runs with graphs inside nodes, once, by the first version that had them:
``python tests/golden/make_inside.py``. What is released is never made again."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_inside import BROKEN, nesting
from make import HERE, _owner, _pack

from tau import ExecutionError, RunWaitingError, open_store
from tau.host import Host


def main() -> None:
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value={"host": "golden", "program": "make_inside.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], open_store(f"file://{temporary}/store") as store:
        graph = nesting(store)
        for run_id, broken in (("first", "b2"), ("second", ""), ("finished", ""), ("asked", "")):
            BROKEN.clear()
            BROKEN.add(broken)
            with suppress(RunWaitingError, ExecutionError):
                graph.execute({"log": [], "laps": 0}, run_id=run_id, seed=7)
        for run_id, broken in (("second", "a2"), ("finished", "")):
            BROKEN.clear()
            BROKEN.add(broken)
            with suppress(RunWaitingError, ExecutionError):
                graph.resume(run_id, answers={"fine": True})
        graph.resume("finished", answers={"fine": False})
        _pack(Path(temporary) / "store", HERE / "inside.tar.xz")


if __name__ == "__main__":
    main()
