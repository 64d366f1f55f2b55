"""The programs that write golden stores still can: the next format needs them."""

from __future__ import annotations

import tarfile
from pathlib import Path

import make
import pytest
from archives import unpack

from tau import open_store, verify

NEWEST = max(Path(make.HERE).glob("v*/"), key=lambda folder: int(folder.name[1:]))


@pytest.mark.parametrize("kind", ["file", "sqlite"])
def test_a_golden_store_of_the_next_version_can_be_written(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main("v9")
    found = []
    for folder in (NEWEST, tmp_path / "v9"):
        place = tmp_path / f"{folder.name}-{kind}"
        with tarfile.open(folder / f"{kind}.tar.xz") as tar:
            unpack(tar, place)
        url = f"sqlite:///{place}/runs.sqlite" if kind == "sqlite" else f"file://{place}"
        with open_store(url) as store:
            assert verify(store).damage == ()
            found.append({one.run_id: (one.graph, one.status) for one in store.runs()})
    assert found[0] == found[1]
