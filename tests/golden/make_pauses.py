"""Wrote the golden store of runs that wait for people, once, by the first version that had them:
``python tests/golden/make_pauses.py``. What is released is never made again."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from unittest.mock import patch

from golden_pauses import asking
from make import HERE, _owner, _pack

from tau import RunWaitingError, open_store
from tau.host import Host


def main() -> None:
    here = (
        patch.object(Host, "owner", _owner),
        patch("tau.engine.provenance.provenance", return_value={"host": "golden", "program": "make_pauses.py"}),
    )
    with tempfile.TemporaryDirectory() as temporary, here[0], here[1], open_store(f"file://{temporary}/store") as store:
        graph = asking(store)
        for run_id in ("waiting", "edited", "inside", "finished"):
            with suppress(RunWaitingError):
                graph.execute({}, run_id=run_id)
        graph.answer("edited", "review", True, by="ada", changes={"text": "HELLO" * 200})
        for run_id in ("inside", "finished"):
            with suppress(RunWaitingError):
                graph.resume(run_id, answers={"review": True})
        graph.answer("finished", "degree", 2, by="grace")
        graph.resume("finished")
        _pack(Path(temporary) / "store", HERE / "pauses.tar.xz")


if __name__ == "__main__":
    main()
