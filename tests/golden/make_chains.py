"""Wrote the golden stores of runs in the middle of chains, once: ``python tests/golden/make_chains.py NAME``, ``whole``
by the last version that stored the whole state after each step, ``grown`` by the first that stores what changed. What
is released is never made again."""

from __future__ import annotations

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_chains import BREAKS, KINDS, chains
from make import HERE, _owner, _pack

from tau import ExecutionError, open_store
from tau.host import Host


def main(name: str) -> None:
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value={"host": "golden", "program": "make_chains.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], open_store(f"file://{temporary}/store") as store:
        for broken in (*KINDS, "state", ""):
            BREAKS.clear()
            BREAKS[broken] = 5
            with suppress(ExecutionError):
                chains(store).execute(
                    {"large": "l" * 2000, "rows": [], "gone": 1}, run_id=f"at {broken}" if broken else "finished"
                )
        _pack(Path(temporary) / "store", HERE / f"chains_{name}.tar.xz")


if __name__ == "__main__":
    main(*sys.argv[1:])
