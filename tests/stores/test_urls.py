"""What a store URL or name means; every other text is refused with the remedy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.errors import ConfigError, StoreUnavailableError, UnknownStoreError
from tau.stores import open_store, register_store
from tau.stores.file import FileStore
from tau.stores.memory import MemoryStore
from tau.stores.sqlite import SQLiteStore
from tau.testing.store_contract.batches import batch, one


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_each_url_form_means_its_place(tmp_path: Path) -> None:
    real = os.path.realpath(tmp_path)
    sqlite = {
        "sqlite:///a.db": f"{real}/a.db",
        f"sqlite:///{real}/b.db": f"{real}/b.db",
        "sqlite:///x/../c%20d.db": f"{real}/c%20d.db",
        "sqlite": f"{real}/tau.db",
    }
    for url, path in sqlite.items():
        store = open_store(url)
        assert isinstance(store, SQLiteStore)
        assert (store.path, store.location) == (path, f"sqlite:///{path}")
    files = {"file:runs": f"{real}/runs", f"file://{real}/b": f"{real}/b", f"file:{real}/c/": f"{real}/c"}
    for url, path in files.items():
        store = open_store(url)
        assert isinstance(store, FileStore)
        assert (store.root, store.location) == (path, f"file://{path}")
    assert open_store("memory:") is open_store("memory")
    assert isinstance(open_store("memory"), MemoryStore)


def test_nothing_is_made_before_the_first_use(tmp_path: Path) -> None:
    stores = [open_store("sqlite:///a.db"), open_store("file:runs")]
    assert list(tmp_path.iterdir()) == []
    del stores


def test_a_location_opens_the_same_store(tmp_path: Path) -> None:
    for url in ("memory:", "sqlite:///a.db", "file:runs"):
        store = open_store(url)
        assert open_store(store.location) is store


def test_one_place_is_one_store(tmp_path: Path) -> None:
    """Also through another spelling and a symbolic link."""
    os.symlink(tmp_path, tmp_path / "link")
    store = open_store("sqlite:///a.db")
    assert open_store("sqlite:///./a.db") is store
    assert open_store(f"sqlite:///{tmp_path}/link/a.db") is store
    files = open_store("file:runs")
    assert open_store(f"file://{tmp_path}/link/runs/") is files


def test_missing_parents_are_made_private(tmp_path: Path) -> None:
    for url in ("sqlite:///deep/er/a.db", "file:deep/files/here"):
        store = open_store(url)
        assert one(store, batch("r", 0)) == 1
        store.close()
    made = list(tmp_path.rglob("*"))
    assert len(made) > 6
    for path in made:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("sqlite:a.db", "sqlite:///runs.db"),
        ("sqlite://a.db", "sqlite:///runs.db"),
        ("sqlite://host/a.db", "sqlite:///runs.db"),
        ("sqlite:///", "memory:"),
        ("sqlite:///:memory:", "memory:"),
        ("sqlite:///~/a.db", "expanduser"),
        ("sqlite:///a.db?mode=ro", "no options"),
        ("sqlite:///a\0b.db", "NUL"),
        ("file:", "file:relative/dir"),
        ("file://host/dir", "file:///absolute/dir"),
        ("file:~/runs", "expanduser"),
        ("file:a?b", "no options"),
        ("memory:name", "memory:"),
        ("memory:///", "memory:"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy) as caught:
        open_store(url)
    assert not isinstance(caught.value, UnknownStoreError)


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("mysql://u:sesame@h/db", "memory:"),  # the list of all forms
        ("nonsense", "memory:"),
        ("", "memory:"),
        ("Memory", "did you mean 'memory'?"),
        (" memory", "did you mean 'memory'?"),
        ("C:\\runs.db", "memory:"),
        ("/abs/x.db", "write a path as sqlite:////abs/x.db"),
    ],
)
def test_what_is_neither_url_nor_name_is_refused_with_what_is_meant(url: str, meant: str) -> None:
    with pytest.raises(UnknownStoreError) as caught:
        open_store(url)
    assert meant in str(caught.value)
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize("thing", [None, 1, b"memory"])
def test_only_texts_and_paths_are_urls(thing: Any) -> None:
    with pytest.raises(ConfigError, match="URL"):
        open_store(thing)


def test_a_registered_store_is_found_as_it_is() -> None:
    store = MemoryStore()
    register_store("mine", store)
    assert open_store("mine") is store
    other = MemoryStore()
    register_store("mine", other)
    assert open_store("mine") is other
    with pytest.raises(UnknownStoreError, match="mine"):
        open_store("yours")


def test_an_object_of_four_verbs_can_be_registered() -> None:
    """It is found as a store, the same one each time."""

    class Mine:
        def save(self, state: Any) -> None: ...

        def load(self, run_id: str) -> Any:
            raise KeyError(run_id)

        def delete(self, run_id: str) -> None: ...

        def list(self) -> Any:
            return []

    register_store("four", Mine())
    assert open_store("four") is open_store("four")
    assert open_store("four").summary("r") is None


@pytest.mark.parametrize(
    ("name", "store", "remedy"),
    [
        ("mine", None, "save"),
        ("mine", object(), "save, load, delete, list"),
        ("mine", MemoryStore, "not a class"),
        ("", MemoryStore(), "at least one character"),
        ("a:b", MemoryStore(), "colon"),
        (1, MemoryStore(), "must be a string"),
    ],
)
def test_what_is_no_store_cannot_be_registered(name: Any, store: Any, remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        register_store(name, store)


def test_a_path_means_the_store_that_is_there_or_an_sqlite_file(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    found = [StateGraph("g", store=path).store for path in (folder, tmp_path / "a.db", Path("b.db"))]
    assert [(type(store), store.location) for store in found] == [
        (FileStore, f"file://{os.path.realpath(folder)}"),
        (SQLiteStore, f"sqlite:///{os.path.realpath(tmp_path / 'a.db')}"),
        (SQLiteStore, f"sqlite:///{os.path.realpath('b.db')}"),
    ]
    config = GraphConfig("g", checkpoint=CheckpointConfig(store=tmp_path / "a.db", interval=1))
    assert StateGraph(config).store is found[1]


def test_a_path_of_bytes_is_refused_with_the_remedy() -> None:
    class Odd:
        def __fspath__(self) -> bytes:
            return b"runs.db"

    with pytest.raises(ConfigError, match="fsdecode"):
        StateGraph("g", store=Odd())


def test_a_path_opens_the_store_that_a_graph_would_use(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    assert open_store(tmp_path / "a.db").location == f"sqlite:///{tmp_path}/a.db"
    assert open_store(tmp_path / "runs").location == f"file://{tmp_path}/runs"


def test_a_directory_is_no_place_for_a_sqlite_file(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match=r"Is a directory; .*name a file in it, or use a file store"):
        open_store(f"sqlite:///{tmp_path}").runs()
