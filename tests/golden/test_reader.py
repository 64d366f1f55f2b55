"""The reader in docs/, written from the pages alone, tells what tau tells: the pages say all that is needed."""

from __future__ import annotations

import ast
import re
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from archives import unpack
from golden_runs import BREAKS, counting, keeping, line, pipeline
from golden_values import VALUES
from make import LARGE

from tau import State, StateGraph, open_store
from tau.stores.contract import Store

READER = Path(__file__).parents[2] / "docs" / "reader.py"
ARCHIVES = sorted(Path(__file__).parent.glob("v*/*.tar.xz"))
# As docs/values.md numbers them.
NUMBERS = {
    "int": 1, "str": 2, "bytearray": 3, "complex": 4, "tuple": 5, "dict": 6, "set": 7, "frozenset": 8, "range": 9,
    "slice": 10, "ellipsis": 11, "Pattern": 12, "SimpleNamespace": 13, "array": 14, "deque": 17, "OrderedDict": 18,
    "defaultdict": 19, "Counter": 20, "ChainMap": 21, "date": 23, "time": 24, "datetime": 25, "timedelta": 26,
    "timezone": 27, "ZoneInfo": 28, "Decimal": 29, "Fraction": 30, "UUID": 31, "PurePosixPath": 33,
    "PureWindowsPath": 33, "PosixPath": 33, "IPv4Address": 35, "IPv6Address": 35, "IPv4Network": 35, "IPv6Network": 35,
    "IPv4Interface": 35, "IPv6Interface": 35, "Station": 40, "Quality": 40, "Rights": 40, "Point": 40, "Money": 40,
}  # fmt: skip


class Line(NamedTuple):
    """What the reader prints of a record, and of the values below it."""

    kind: str
    node: str
    next: str
    values: dict[str, str]


def read(place: Path, *run_id: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-I", "-X", "utf8", str(READER), str(place), *run_id],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout.decode().split("\n")[:-1]


def history(place: Path, run_id: str) -> dict[int, Line]:
    found: dict[int, Line] = {}
    for text in read(place, run_id)[1:]:
        if value := re.fullmatch(r"    ('.*?'): (.*)", text):
            found[max(found)].values[ast.literal_eval(value[1])] = value[2]
        elif damaged := re.fullmatch(r"(\d+) DAMAGED.*", text):
            found[int(damaged[1])] = Line("DAMAGED", "", "", {})
        else:
            record = re.fullmatch(
                r"(\d+) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\+00:00 (\w+) (.*?)(?: -> (.*))?", text
            )
            assert record is not None, text
            found[int(record[1])] = Line(record[2], record[3], record[4] or "", {})
    return found


def shown(value: Any) -> str:
    """A plain value as Python writes it, any other as the number of its kind in braces."""
    if type(value) is list:
        return f"[{', '.join(map(shown, value))}]"
    if type(value) is dict and all(plain(key) for key in value):
        return f"{{{', '.join(f'{key!r}: {shown(one)}' for key, one in value.items())}}}"
    return repr(value) if plain(value) else f"{{{NUMBERS[type(value).__name__]}}}"


def plain(value: Any) -> bool:
    if type(value) is int:
        return bool(-(2**63) <= value < 2**64)
    if type(value) is str:
        return not re.search("[\ud800-\udfff]", value)
    return value is None or type(value) in (bool, float, bytes)


def compare(graph: StateGraph, place: Path, run_id: str) -> None:
    """Every line and value of the history, as tau tells it and as the reader does."""
    told = history(place, run_id)
    entries = graph.history(run_id)
    checkpoints = {position: one for position, one in told.items() if one.kind == "checkpoint"}
    assert [(entry.position, entry.node, str(entry.next)) for entry in entries] == [
        (position, one.node, one.next) for position, one in checkpoints.items()
    ]
    values = dict(told[min(told)].values)
    for entry in entries:
        before, state = dict(values), {key: shown(value) for key, value in dict(entry.state).items()}
        values |= told[entry.position].values
        assert {key: values[key] for key in state} == state
        assert {key for key in state if before.get(key) != state[key]} <= told[entry.position].values.keys()


@pytest.fixture(params=ARCHIVES, ids=[path.name.partition(".")[0] for path in ARCHIVES])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a golden store: a SQLite file, or a directory."""
    with tarfile.open(request.param) as archive:
        unpack(archive, tmp_path)
    return tmp_path if (tmp_path / "tau-store").exists() else tmp_path / "runs.sqlite"


def url(place: Path) -> str:
    return f"file://{place}" if place.is_dir() else f"sqlite:///{place}"


def test_it_lists_the_runs_of_a_golden_store(place: Path) -> None:
    with open_store(url(place)) as store:
        summaries = [row for row in map(store.summary, [*store.list(), "gone", "deleted"]) if row is not None]
        assert sorted(read(place)) == sorted(f"{one.run_id} {one.status} {one.position}" for one in summaries)


def test_it_tells_the_history_of_every_golden_run(place: Path) -> None:
    with open_store(url(place)) as store:
        for run_id in store.list():
            compare(counting(store), place, run_id)


def test_it_shows_values_of_every_kind(place: Path) -> None:
    assert history(place, "values")[1].values == {key: shown(value) for key, value in VALUES.items()}


def test_it_reads_a_blob_in_a_file_of_its_own(place: Path) -> None:
    if place.is_dir():
        assert history(place, "large")[1].values == {"large": repr(LARGE)}


def test_it_shows_how_a_run_ended(place: Path) -> None:
    assert [(one.kind, one.node) for one in history(place, "failed").values()][-1] == ("failed", "analyze")
    assert [(one.kind, one.node) for one in history(place, "finished").values()][-1] == ("finished", "report")
    assert history(place, "gone") == history(place, "deleted") == {}


def fresh(store: Store) -> None:
    """Runs that go on after a failure, are deleted and begin anew, and grow through many commits."""
    for run_id in ("again", "anew"):
        pipeline(store).execute({"dataset": "n2o "}, run_id=run_id)
    store.delete("anew")
    pipeline(store).execute({"dataset": "ch4 "}, run_id="anew")
    with pytest.raises(Exception, match="broke at 140"):
        counting(store, breaks=140).execute({"n": 0, "all": [], "large": bytes(10**6)}, run_id="grown")
    counting(store).resume("grown")
    keeping(store).execute({"empty": {}}, run_id="kept")
    State({"by": "hand"}, run_id="hand").checkpoint(store)


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_it_tells_the_history_of_fresh_runs(kind: str, tmp_path: Path) -> None:
    place = tmp_path / "runs.db" if kind == "sqlite" else tmp_path
    with open_store(url(place) if kind == "sqlite" else f"file://{tmp_path}") as store:
        fresh(store)
        for run_id in ("again", "anew", "grown", "kept", "hand"):
            compare(counting(store), place, run_id)


def change(place: Path, statement: str, position: int = 0) -> None:
    connection = sqlite3.connect(place)
    with connection:
        assert connection.execute(statement, {"position": position}).rowcount == 1
    connection.close()


LONG = "run = (select id from runs where run_id = 'long') and position = :position"


@pytest.mark.parametrize(
    "statement",
    [
        f"update log set record = cast(substr(record, 1, 30) || x'00' || substr(record, 32) as blob) where {LONG}",
        f"update log set record = (select record from log where run = 1 and position = 3) where {LONG}",
        f"delete from log where {LONG}",
    ],
    ids=["changed", "of another run", "gone"],
)
def test_of_a_damaged_record_and_what_grew_from_it_nothing_wrong_is_shown(statement: str, tmp_path: Path) -> None:
    place = golden_sqlite(tmp_path)
    whole = history(place, "long")
    change(place, statement, position=50)
    told = history(place, "long")
    assert told[50].kind == "DAMAGED"
    assert {p: one for p, one in told.items() if p < 50} == {p: one for p, one in whole.items() if p < 50}
    assert {one.values["all"] for p, one in told.items() if 50 < p < 60} == {"DAMAGED"}
    assert told[BREAKS + 2].values == {"n": str(BREAKS), "all": repr([line(n) for n in range(BREAKS)])}


def test_of_a_damaged_blob_nothing_is_shown(tmp_path: Path) -> None:
    place = golden_sqlite(tmp_path)
    raw = "run = (select id from runs where run_id = 'finished') and length(data) = 2052"
    change(place, f"update blobs set data = cast(substr(data, 1, 99) || x'00' as blob) where {raw}")
    told = history(place, "finished")
    assert told[3].values["raw"] == "DAMAGED"
    assert told[3].values["rows"] == "[1]"


def golden_sqlite(folder: Path) -> Path:
    with tarfile.open(ARCHIVES[0].with_name("sqlite.tar.xz")) as archive:
        unpack(archive, folder)
    return folder / "runs.sqlite"


def test_it_is_short_and_knows_nothing_of_tau() -> None:
    text = READER.read_text("utf-8")
    assert len(text.splitlines()) <= 60
    assert max(map(len, text.splitlines())) <= 120
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }
    assert imported - sys.stdlib_module_names == {"msgspec"}
    assert re.findall(r'"(?:\w+\.)+zstd"', text) == ['"compression.zstd"', '"backports.zstd"']
