"""Wrote the golden stores of nodes with something bound to them, each once, by the version of its day:
``python tests/golden/make_bound.py bound`` (or ``fields``, before the third rule of fingerprints; or ``routes``).

Two runs each: ``failed`` at its last node, in ``bound`` with a finished step inside, and ``finished``; in ``routes``
also ``asking``, whose route was being asked.
What is released is never made again.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_bound import bound_graph
from golden_fields import fields_graph
from golden_routes import routed_graph
from make import HERE, _in_child, _owner, _pack

from tau import ExecutionError, State, open_store
from tau.host import Host

GRAPHS = {"bound": bound_graph, "fields": fields_graph, "routes": routed_graph}


async def _dies(state: State) -> str:
    os._exit(9)


def main(name: str) -> None:
    graph = GRAPHS[name]
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value={"host": "golden", "program": f"make_{name}.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], open_store(f"file://{temporary}/store") as store:
        if name == "routes":
            _in_child(lambda: routed_graph(store, route=_dies).execute({}, run_id="asking"))
        failing = routed_graph(store, may=False) if name == "routes" else graph(store)
        with suppress(ExecutionError):
            failing.execute({}, run_id="failed")
        graph(store).execute({}, run_id="finished", resources={"disk": True})
        _pack(Path(temporary) / "store", HERE / f"{name}.tar.xz")


if __name__ == "__main__":
    main(*sys.argv[1:])
