"""Wrote the golden store of a graph with fields and members bound to it, by the version before the third rule of
fingerprints, once: ``python tests/golden/make_fields.py``.

Two runs: ``failed`` at its last node, and ``finished``. What is released is never made again.
"""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_fields import fields_graph
from make import HERE, _owner, _pack

from tau import ExecutionError, open_store
from tau.host import Host


def main() -> None:
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.state_graph.provenance", return_value={"host": "golden", "program": "make_fields.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], open_store(f"file://{temporary}/store") as store:
        with suppress(ExecutionError):
            fields_graph(store).execute({}, run_id="failed")
        fields_graph(store).execute({}, run_id="finished", resources={"disk": True})
        _pack(Path(temporary) / "store", HERE / "fields.tar.xz")


if __name__ == "__main__":
    main()
