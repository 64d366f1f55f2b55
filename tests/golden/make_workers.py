"""Wrote the golden store of runs that are left to workers, once, by the first version that had these:
``python tests/golden/make_workers.py``. What is released is never made again."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_workers import die, keep, left_to_workers
from make import HERE, _in_child, _owner, _pack
from msgspec.structs import replace

from tau import RunInterruptedError, open_store
from tau.engine.sync_driver import SyncDriver
from tau.host import Host
from tau.stores.contract import Owner, Store


def _shared_owner(host: Host, lease: float) -> Owner:
    return replace(_owner(host, lease), shared=True)


def _dies(store: Store, run_id: str) -> None:
    _in_child(lambda: left_to_workers(store, die).execute({"x": 1}, run_id=run_id, if_exists="resume"))


def main() -> None:
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value={"host": "golden", "program": "make_workers.py"}),
        patch("tau.engine.admitting.provenance", return_value={"host": "golden", "program": "make_workers.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], here[2]:
        with open_store(f"file://{temporary}/store") as store:
            graph = left_to_workers(store, keep)
            graph.admit({"x": 1}, run_id="admitted", not_before=1e9, tags=["night"], seed=7)
            graph.admit({"x": 1}, run_id="later", not_before=1e11)
            with suppress(RunInterruptedError):
                graph.execute({"x": 1}, run_id="walltime", max_runtime=0.0)
            with patch.object(Host, "owner", _shared_owner):
                _dies(store, "shared")
        with open_store(f"file://{temporary}/store") as store:
            # A second owner that died, alone, of a run whose first one had died beside others.
            with patch.object(SyncDriver, "load", lambda driver, _: driver.look(None)):
                _dies_again = lambda: left_to_workers(store, die).resume("shared")  # noqa: E731
                _in_child(_dies_again)
            _pack(Path(temporary) / "store", HERE / "workers.tar.xz")


if __name__ == "__main__":
    main()
