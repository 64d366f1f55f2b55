"""PostgreSQL: what its tables hold, who makes them, what reading and writing cost, damage, forks, handlers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from typing import Any

import psycopg
import pytest

from postgres_server import Server
from tau.errors import (
    CorruptCheckpointError,
    StoreError,
    StoreUnavailableError,
    UnsupportedFormatError,
)
from tau.host import Host
from tau.operations.finding import Finder
from tau.stores.contract import Query
from tau.stores.due import Due
from tau.stores.postgres import PostgresStore
from tau.stores.postgres.connection import Session, connect, create_tables, has_tables, renew_tables
from tau.stores.postgres.place import Place
from tau.stores.postgres.prepared import Statement
from tau.stores.summaries import pack
from tau.testing.store_contract.batches import batch, one, owner, race

TABLES = "select tablename from pg_tables where schemaname = 'tau' order by 1"


def statements_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that is executed from now on, in any session."""
    said: list[str] = []
    real: Any = Session.execute
    known: Any = Session.prepared

    def execute(self: Session, query: Any, *arguments: Any, **options: Any) -> Any:
        said.append(query)
        return real(self, query, *arguments, **options)

    def prepared(self: Session, statement: Statement, terms: Any) -> Any:
        rows = known(self, statement, terms)
        said.extend([statement.text] if rows is not None else [])
        return rows

    monkeypatch.setattr(Session, "execute", execute)
    monkeypatch.setattr(Session, "prepared", prepared)
    return said


# The tables


def test_reading_creates_nothing(postgres: Server, postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    assert (store.read("r"), store.summary("r"), store.blobs("r", [b"x"]), store.lease("r")) == ([], None, {}, None)
    assert (store.select(Query()), store.list(), list(store.runs())) == ([], [], [])
    assert postgres.sql("", TABLES) == []
    assert one(store, batch("r", 0)) == 1
    assert [name for (name,) in postgres.sql("", TABLES)] == ["blobs", "format", "log", "runs"]
    store.close()


def test_many_that_begin_at_once_make_the_tables_once(postgres: Server, postgres_url: str) -> None:
    """In sessions that have seen before that there are none, and that a pooler may have used for others."""
    sessions = [connect(Place.of(postgres_url), 30.0) for _ in range(8)]
    for _ in range(8):
        postgres.sql("", "drop schema if exists tau cascade")
        assert [has_tables(session, "") for session in sessions] == [False] * 8
        assert race([partial(create_tables, session, "") for session in sessions]) == [None] * 8
        assert all(session.has_tables for session in sessions)
        assert postgres.sql("", "select count(*) from tau.format") == [(1,)]
    for session in sessions:
        session.close()


def test_tables_of_a_newer_tau_are_refused_and_left_alone(postgres: Server, postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        one(store, batch("r", 0))
    postgres.sql("", "update tau.format set format = 3")
    store = PostgresStore(postgres_url)
    for use in (lambda: store.read("r"), lambda: store.delete("r")):
        with pytest.raises(
            UnsupportedFormatError, match=r"have format 3, this version of tau knows 2; use the version"
        ):
            use()
    (refused,) = store.commit([batch("r", 1)])
    assert isinstance(refused, UnsupportedFormatError)
    assert postgres.sql("", "select position from tau.runs") == [(1,)]


AS_FORMAT_1 = """
drop index tau.runs_due, tau.runs_queueless; alter table tau.runs drop column queue, drop column not_before;
update tau.format set format = 1
"""


def test_tables_of_format_1_are_read_as_they_are_and_brought_up_to_date_by_the_first_commit(
    postgres: Server, postgres_url: str
) -> None:
    """A process of the older version that has its session still goes on: it is fenced by positions alone."""
    with PostgresStore(postgres_url) as store:
        one(store, batch("r", 0, owner=owner("a", lease=0.0), graph="älter"))
    postgres.sql("", AS_FORMAT_1)
    store = PostgresStore(postgres_url)
    assert [summary.run_id for summary, _ in store.due("älter", 5)] == ["r"]
    assert len(store.read("r")) == 1
    assert postgres.sql("", "select format from tau.format") == [(1,)]
    sessions = [connect(Place.of(postgres_url), 30.0) for _ in range(4)]
    assert [session.format for session in sessions] == [1] * 4
    assert race([partial(renew_tables, session, "") for session in sessions]) == [None] * 4
    assert [session.format for session in sessions] == [2] * 4
    for session in sessions:
        session.close()
    assert one(store, batch("s", 0, graph="älter")) == 1  # in a session that has found format 1
    assert postgres.sql("", "select format from tau.format") == [(2,)]
    assert [summary.run_id for summary, _ in store.due("älter", 5)] == ["r", "s"]
    postgres.sql("", "update tau.runs set status = 'finished' where run_id = 'r'")  # as the older version ends one
    assert [summary.run_id for summary, _ in store.due("älter", 1)] == ["s"]
    assert one(store, batch("r", 1, graph="älter")) == 2
    store.close()


INDEX = "select count(*) from pg_indexes where schemaname = 'tau' and indexname = 'runs_queueless'"


def test_the_index_that_format_2_had_not_at_first_is_made_by_the_first_commit(
    postgres: Server, postgres_url: str
) -> None:
    """Once, however many begin at the same moment; while another lock is held, or by a role that does not own the
    tables, all goes on without it."""
    with PostgresStore(postgres_url) as store:
        one(store, batch("r", 0))
    postgres.sql(
        "", "drop index tau.runs_queueless", "drop role if exists writer", "create role writer login",
        "grant usage on schema tau to writer",
        "grant select, insert, update, delete on all tables in schema tau to writer",
    )  # fmt: skip
    with PostgresStore(postgres.url("", "writer")) as store:
        assert one(store, batch("r", 1)) == 2
    with closing(psycopg.connect(postgres_url)) as other:
        other.execute("update tau.runs set counter = counter")  # and does not end
        with PostgresStore(postgres_url) as store:
            assert one(store, batch("s", 0)) == 1
        assert postgres.sql("", INDEX) == [(0,)]
    stores = [PostgresStore(postgres_url) for _ in range(4)]
    assert race([partial(one, store, batch(f"s{n}", 0)) for n, store in enumerate(stores)]) == [1] * 4
    assert postgres.sql("", INDEX) == [(1,)]
    for store in stores:
        store.close()
    postgres.sql("", "drop owned by writer", "drop role writer")


BY_FORMAT_1 = """
update tau.runs set queue = null, not_before = null, status = 'running', summary = %s, nonce = %s,
expires = clock_timestamp() + make_interval(secs => %s) where run_id = %s
"""


@pytest.mark.parametrize("damaged", [0, 20])
def test_what_a_session_of_format_1_begins_after_the_renewal_is_found_when_it_dies(
    postgres: Server, postgres_url: str, damaged: int
) -> None:
    """Its statements know no queue: they leave none, or that of before."""
    with PostgresStore(postgres_url) as store:
        for n in range(damaged):
            one(store, batch(f"bad{n}", 0, graph="älter", status="admitted", not_before=1.0))
        for name, lease in (("dead", -1.0), ("alive", 60.0)):
            one(store, batch(name, 0, owner=owner(name, lease=60.0), graph="älter"))
            summary = store.summary(name)
            assert summary is not None
            with psycopg.connect(postgres_url) as database:
                database.execute(BY_FORMAT_1, (pack(summary), name, lease, name))
        one(store, batch("queued", 0, graph="älter", status="admitted", not_before=2.0))
        one(store, batch("other", 0, owner=owner("o", lease=0.0), graph="other"))
        postgres.sql("", "update tau.runs set summary = '' where run_id like 'bad%'")
        for limit in (0, 1, 2, 16):
            assert [row.run_id for row, _ in store.due("älter", limit)] == ["dead", "queued"][:limit]
        assert one(store, batch("dead", 1, graph="älter", owner=owner("new", lease=60.0))) == 2
        assert [row.run_id for row, _ in store.due("älter", 16)] == ["queued"]


def test_tables_that_were_taken_away_are_not_made_again(postgres: Server, postgres_url: str) -> None:
    """Until the store is closed: what was committed is gone, and going on would hide that."""
    store = PostgresStore(postgres_url)
    one(store, batch("r", 0))
    postgres.sql("", "drop schema tau cascade")
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    assert "are gone: restore them, or close the store" in str(refused)
    assert not refused.transient
    with pytest.raises(StoreUnavailableError, match="are gone"):
        store.read("r")
    assert postgres.sql("", TABLES) == []
    store.close()
    assert store.read("r") == []
    assert one(store, batch("r", 0)) == 1
    store.close()


def test_a_schema_that_was_made_for_the_role_is_used(postgres: Server) -> None:
    """A role need not be allowed to create one."""
    postgres.sql("", "drop role if exists maker", "create role maker login")
    with postgres.database("made"):
        postgres.sql("made", "create schema tau authorization maker")
        with PostgresStore(postgres.url("made", "maker")) as store:
            assert one(store, batch("r", 0)) == 1
    postgres.sql("", "drop role maker")


# What it costs


def test_a_commit_is_one_statement_and_so_is_a_group(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is locked while a client thinks, sleeps or is stopped."""
    store = PostgresStore(postgres_url)
    one(store, batch("r", 0))
    said = statements_of(monkeypatch)
    assert one(store, batch("r", 1)) == 2
    assert store.commit([batch("r", 2, blobs=[(b"x", b"y")])]) == [3]
    assert store.commit([batch(f"g{n}", 0, 2) for n in range(50)]) == [2] * 50
    assert len(said) == 3
    store.close()


def test_a_commit_is_prepared_where_no_pooler_can_be_in_between(postgres: Server, postgres_url: str) -> None:
    """Which tells by its own process numbers, or by not knowing a statement that was prepared before."""
    kept = "select count(*) from pg_prepared_statements"
    with PostgresStore(postgres_url, max_connections=1) as store:
        for position in range(3):
            assert one(store, batch("r", position)) == position + 1
        (session,) = store._connections._idle
        assert session.execute(kept).fetchone() == (2,)
        with PostgresStore(postgres_url, max_connections=1) as other:
            assert one(other, batch("other", 0)) == 1
            theirs = other._connections._idle[0].execute("select name from pg_prepared_statements").fetchall()
        assert not {*theirs} & {*session.execute("select name from pg_prepared_statements").fetchall()}
        session.pgconn.exec_(b"deallocate all")  # as if it were another one by now
        assert one(store, batch("r", 3)) == 4
        assert session.execute(kept).fetchone() == (0,)
        assert one(store, batch("r", 4)) == 5
        assert session.execute(kept).fetchone() == (0,)


def test_a_group_of_a_few_is_prepared_and_so_is_reading_their_logs(postgres_url: str) -> None:
    """The plan of a prepared one, which is made for any number, is slow for many."""
    kept = "select name from pg_prepared_statements order by name"
    with PostgresStore(postgres_url, max_connections=1) as store:
        assert store.commit([batch(f"g{n}", 0, 2) for n in range(33)]) == [2] * 33
        (session,) = store._connections._idle
        assert session.execute(kept).fetchall() == []
        assert store.commit([batch(f"g{n}", 2) for n in range(32)]) == [3] * 32
        assert [position for position, _ in store.logs({"g0": 1, "g32": 0})["g0"]] == [2, 3]
        names = [name for (name,) in session.execute(kept).fetchall()]
        assert [name.rpartition("_")[0] for name in names] == ["tau_append", "tau_read_logs"]
        session.pgconn.exec_(b"deallocate all")
        assert [position for position, _ in store.logs({"g0": 1, "g32": 0})["g32"]] == [1, 2]
        assert store.commit([batch(f"g{n}", 3) for n in range(32)]) == [4] * 32
        assert session.execute(kept).fetchall() == []


def test_a_listing_takes_two_statements_whatever_is_running(
    postgres: Server, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = PostgresStore(postgres_url)
    store.commit([batch(f"run {n}", 0, owner=owner(lease=60.0 if n % 2 else 0.0)) for n in range(200)])
    said = statements_of(monkeypatch)
    rows = store.runs(limit=50)
    assert len(said) == 2
    assert [row.status for row in rows] == ["running", "dead"] * 25
    assert len(store.runs(status="dead", limit=7)) == 7
    assert len(said) == 4
    store.close()


def test_most_commits_write_no_index_but_that_of_the_log(postgres: Server, postgres_url: str) -> None:
    """The row of a run stays on its page (a heap-only tuple)."""
    store = PostgresStore(postgres_url)
    for position in range(200):
        assert one(store, batch("r", position, updated=1000.0 + position * 0.01)) == position + 1
    store.close()
    query = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where schemaname = 'tau' and relname = 'runs'"
    postgres.sql("", "select pg_stat_force_next_flush()")
    updated, hot = postgres.sql("", query)[0]
    assert updated == 199
    assert hot > 150


def test_at_most_so_many_connections_are_open(postgres: Server, postgres_url: str) -> None:
    """However many threads there are; they take turns."""
    store = PostgresStore(postgres_url + "?application_name=turns", max_connections=3)
    one(store, batch("r", 0))
    count = "select count(*) from pg_stat_activity where application_name = 'turns'"
    seen: list[int] = []

    def work() -> None:
        for _ in range(10):
            store.read("r")
            seen.append(postgres.sql("", count)[0][0])

    assert race([work] * 12) == [None] * 12
    assert 1 <= max(seen) <= 3
    store.close()
    with closing(psycopg.connect(postgres.url(), autocommit=True)) as other:
        while other.execute(count).fetchone() != (0,):  # a session takes a moment to end
            pass


# Damage


@pytest.mark.parametrize(
    ("damage", "use", "what"),
    [
        ("update tau.runs set summary = set_byte(summary, 9, 255)", "summary", "summary"),
        ("update tau.runs set position = 9", "summary", "summary"),
        ("update tau.runs set summary = ''", "summary", "summary"),
        ("delete from tau.log where position = 2", "read", "log"),
        ("delete from tau.log where position = 3", "read", "log"),
        ("delete from tau.log where position = 1", "read", "log"),
        ("delete from tau.log", "read", "log"),
    ],
)
def test_damage_is_found(postgres: Server, postgres_url: str, damage: str, use: str, what: str) -> None:
    store = PostgresStore(postgres_url)
    one(store, batch("r", 0, 3, owner=owner()))
    postgres.sql("", damage)
    with pytest.raises(CorruptCheckpointError) as caught:
        getattr(store, use)("r")
    assert caught.value.what == what
    assert caught.value.run_id == "r"
    store.close()


def test_a_damaged_run_is_listed_and_can_be_removed(postgres: Server, postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    store.commit([batch("r", 0, 3), batch("well", 0)])
    postgres.sql("", "update tau.runs set summary = '' where run_id = 'r'")
    assert {(row.run_id, row.status) for row in store.runs()} == {("r", "damaged"), ("well", "running")} or {
        (row.run_id, row.status) for row in store.runs()
    } == {("r", "damaged"), ("well", "dead")}
    assert [row.run_id for row in store.select(Query(status="damaged", limit=1))] == ["r"]
    with pytest.raises(CorruptCheckpointError):
        store.delete("r", keep_summary=True)
    store.delete("r")
    assert store.read("r") == []
    summary = store.summary("r")
    assert summary is not None
    assert (summary.status, summary.position) == ("deleted", 4)
    store.close()


def test_a_clock_that_was_set_back_ends_no_lease_and_makes_none_longer(postgres: Server, postgres_url: str) -> None:
    """It is watched instead."""
    store = PostgresStore(postgres_url)
    one(store, batch("r", 0, owner=owner(lease=60.0)))
    postgres.sql("", "update tau.runs set expires = expires + interval '1 hour'")
    lease = store.lease("r")
    assert lease is not None
    assert lease.expires_in is None
    store.close()


def test_some_of_the_first_runs_that_are_due_follow_each_other_and_begin_anywhere(
    postgres: Server, postgres_url: str
) -> None:
    """With what has to be watched, and what is in no queue; where they are damaged, all are asked for."""
    runs = [batch(f"r{n:02}", 0, status="admitted", not_before=1.0 + n) for n in range(30)]
    with PostgresStore(postgres_url) as store:
        store.commit([batch("held", 0, owner=owner("a", lease=60.0), not_before=0.5), *runs])
        one(store, batch("dead", 0, owner=owner("b", lease=0.0), not_before=0.0))
        postgres.sql(
            "",
            "update tau.runs set expires = expires + interval '1 hour' where run_id = 'held'",
            "update tau.runs set queue = null where run_id = 'dead'",
        )
        seen = set()
        for _ in range(400):
            dead, *some, held = [row.run_id for row, _ in store.some_due("graph", 5, 21)]
            start = int(some[0][1:])
            assert (dead, some, held) == ("dead", [f"r{n:02}" for n in range(start, start + 5)], "held")
            seen.add(start)
        assert seen == set(range(16))  # one of them is missed once in 10**10 times
        assert "held" not in [row.run_id for row, _ in store.some_due("graph", 5, 21, watched=False)]
        postgres.sql("", "delete from tau.runs where run_id in ('held', 'dead')")
        postgres.sql("", "update tau.runs set summary = '' where run_id < 'r20'")
        assert [row.run_id for row, _ in store.some_due("graph", 5, 20)] == [f"r{n}" for n in range(20, 30)]


class Asked(PostgresStore):
    """Notes how it is asked for runs."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[str] = []

    def due(self, graph: str, limit: int, *, watched: bool = True) -> list[Due]:
        self.asked.append("all")
        return super().due(graph, limit, watched=watched)

    def some_due(self, graph: str, limit: int, among: int, *, watched: bool = True) -> list[Due]:
        self.asked.append("some")
        return super().some_due(graph, limit, among, watched=watched)


def test_a_worker_asks_for_some_runs_and_those_that_it_leaves_alone_hide_no_others(postgres_url: str) -> None:
    """Once it has found none it asks for all, by one question."""
    with Asked(postgres_url) as store:
        store.commit([batch(f"r{n:02}", 0, status="admitted", not_before=float(n)) for n in range(90)])
        finder = Finder(store, "graph", Host())
        assert len(finder.look(2, 64)) == 16
        assert len(finder.look(2)) == 16
        assert store.asked == ["some", "all"]
        runs = [row for row, _ in store.due("graph", 90)]
        for row in runs[:80]:
            finder.leave(row)
        for _ in range(20):
            found = {one.run_id for one in finder.look(2, 64)}
            assert found
            assert found <= {f"r{n}" for n in range(80, 90)}
        for row in runs[80:]:
            finder.leave(row)
        assert finder.look(2, 64) == []
        store.asked.clear()
        assert finder.look(2, 64) == []
        assert store.asked == ["all"]


def test_what_is_no_text_for_postgres_selects_nothing_and_breaks_nothing(postgres_url: str) -> None:
    store = PostgresStore(postgres_url)
    store.commit([batch("a", 0, graph="a\ufffdb"), batch("b", 0, graph="'; drop table tau.runs; --", tags=("%s",))])
    for odd in ("a\0b", "\ud800", "' or 1=1 --", "%(graph)s", "%", "\\"):
        assert store.select(Query(graph=odd, limit=1)) == []
        assert store.select(Query(status=odd)) == []
        assert store.summary(odd) is None
        assert store.read(odd) == []
    assert [row.run_id for row in store.select(Query(graph="'; drop table tau.runs; --", tag="%s"))] == ["b"]
    assert one(store, batch("a\0b", 0)) == 1  # the contract allows none, and none is lost
    assert store.summary("a\0b") is not None
    store.close()


# Forks and handlers


RETURNING = """
import os, sys
from tau.errors import StoreError
from tau.stores import open_store
from tau.stores.postgres.connection import Session, connect, create_tables, has_tables, renew_tables
from tau.stores.postgres.place import Place
from tau.testing.store_contract.batches import batch, one
store = open_store(sys.argv[1])
one(store, batch("r", 0))
real = Session._talk
children, ended = [], []
def talk(self, gen):
    inner = real(self, gen)
    value = next(inner)
    while True:
        if not children:
            children.append(os.fork())  # as a signal handler may, and the child goes on with the commit
            if children[0]:  # the child has all the time to take what the server says to its parent
                ended.append(os.waitpid(children[0], 0)[1])
        try:
            value = inner.send((yield value))
        except StopIteration as end:
            return end.value
Session._talk = talk
result = one(store, batch("r", 1))
if children == [0]:
    assert isinstance(result, StoreError) and "spawn" in str(result), result
    assert one(store, batch("child", 0)) == 1
    sys.exit(7)  # the interpreter ends as it does for every program
assert os.waitstatus_to_exitcode(ended[0]) == 7
assert result == 2, result
assert one(store, batch("r", 2)) == 3
assert len(store.read("r")) == 3
store.close()
print("whole")
"""


def test_a_child_that_returns_into_the_commit_cannot_go_on_with_it(postgres_url: str) -> None:
    """It may begin others, of runs of its own."""
    command = [sys.executable, "-c", RETURNING, postgres_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "whole", done.stderr


def test_a_handler_in_the_middle_of_a_commit_reads_and_is_refused_to_write(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for nothing, although its own thread holds the row and the only connection."""
    store = PostgresStore(postgres_url, max_connections=1)
    one(store, batch("r", 0))
    told: list[Any] = []
    real = Session._talk

    def handler(*_: object) -> None:
        told.append(len(store.read("r")))
        with pytest.raises(StoreError, match="in the middle of a commit"):
            store.renew("r", "a", 1.0)

    def talk(self: Session, gen: Any) -> Any:
        inner = real(self, gen)
        value = next(inner)
        if not told:
            told.append("called")
            os.kill(os.getpid(), signal.SIGUSR1)
        while True:
            try:
                value = inner.send((yield value))
            except StopIteration as end:
                return end.value

    monkeypatch.setattr(Session, "_talk", talk)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert one(store, batch("r", 1)) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert told[0] == "called"
    assert told[1] in (1, 2)
    store.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), TimeoutError("of the handler"), OSError("odd")])
def test_an_interrupt_lets_the_commit_come_to_its_end(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """And comes out as it is; the session goes on."""
    store = PostgresStore(postgres_url, max_connections=1)
    one(store, batch("r", 0))
    monkeypatch.setattr("tau.stores.postgres.connection.waiting.wait", interrupted(error))
    found: Any = None
    try:
        (found,) = store.commit([batch("r", 1)])
    except BaseException as raised:
        found = raised
    assert found is error
    monkeypatch.undo()
    said = statements_of(monkeypatch)
    assert len(store.read("r")) == 2
    assert one(store, batch("r", 2)) == 3
    assert len(said) == 2  # no new session, which would be checked
    store.close()


def interrupted(error: BaseException) -> Any:
    """psycopg's waiting, broken off the first time by what a handler raises, once there is something to wait for."""
    import psycopg.waiting

    real, times = psycopg.waiting.wait, [0]

    def handler(frame: Any, error: BaseException) -> None:
        raise error

    def wait(gen: Any, *arguments: Any) -> Any:
        times[0] += 1
        if times[0] == 1:
            gen.send(None)
            handler(sys._getframe(), error)
        return real(gen, *arguments)

    return wait
