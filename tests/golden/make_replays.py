"""Wrote the golden store of replays, once: ``python tests/golden/make_replays.py``. What is released is never made
again."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_replays import Service, asking
from make import HERE, _owner, _pack

from tau import ExecutionError, Hub, open_store
from tau.host import Host


def main() -> None:
    here = {"host": "golden", "program": "make_replays.py"}
    with (
        tempfile.TemporaryDirectory() as temporary,
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value=here),
        patch("tau.engine.forking.provenance", return_value=here),
        open_store(f"file://{temporary}/store") as store,
    ):
        with Hub("station") as hub:
            asking(store, Service(), hub).execute({}, run_id="whole")
        with Hub("station") as hub, suppress(ExecutionError):
            asking(store, Service("pressure"), hub).execute({}, run_id="part")
        with Hub("station") as hub:
            graph = asking(store, Service("trend"), hub)
            graph.replay("whole", new_run_id="again")
            with suppress(ExecutionError):
                graph.replay("part", new_run_id="begun")
        _pack(Path(temporary) / "store", HERE / "replays.tar.xz")


if __name__ == "__main__":
    main()
