"""Writes the golden store of nodes with something bound, once: ``python tests/golden/make_bound.py``.

Two runs: ``failed`` at its last node with a finished step inside, and ``finished``.
What is released is never made again.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_bound import bound_graph
from make import HERE, _owner, _pack

from tau import ExecutionError, open_store
from tau.host import Host


def main() -> None:
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.state_graph.provenance", return_value={"host": "golden", "program": "make_bound.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], open_store(f"file://{temporary}/store") as store:
        with suppress(ExecutionError):
            bound_graph(store).execute({}, run_id="failed")
        bound_graph(store).execute({}, run_id="finished", resources={"disk": True})
        _pack(Path(temporary) / "store", HERE / "bound.tar.xz")


if __name__ == "__main__":
    main()
