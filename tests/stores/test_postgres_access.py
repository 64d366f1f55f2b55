"""PostgreSQL servers, roles and passwords: what a server must promise, who may do what, and what is never shown."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial

import pytest
from error_chains import held_by

from postgres_server import Server
from tau import StateGraph
from tau.errors import StoreUnavailableError
from tau.observers import Recorder
from tau.stores.contract import PositionConflict
from tau.stores.postgres import PostgresStore
from tau.testing import Proxy
from tau.testing.store_contract.batches import batch, one, race

# What the server must promise


def test_a_server_that_may_lose_commits_is_read_but_not_written_to(own_postgres: Server, own_postgres_url: str) -> None:
    """Unless that is said to be fine, also in the URL."""
    with PostgresStore(own_postgres_url) as store:
        assert one(store, batch("r", 0)) == 1
    own_postgres.configure(fsync="off", full_page_writes="off")
    own_postgres.reload()
    try:
        store = PostgresStore(own_postgres_url)
        assert len(store.read("r")) == 1
        refused = one(store, batch("r", 1))
        assert isinstance(refused, StoreUnavailableError)
        assert "fsync = off and full_page_writes = off" in str(refused)
        assert "durability=relaxed" in str(refused)
        assert not refused.transient
        for relaxed in (
            PostgresStore(own_postgres_url, durability="relaxed"),
            PostgresStore(own_postgres_url + "?durability=relaxed"),
        ):
            position = len(relaxed.read("r"))
            assert one(relaxed, batch("r", position)) == position + 1
            relaxed.close()
        store.close()
    finally:
        own_postgres.configure(fsync="on", full_page_writes="on")
        own_postgres.reload()


def test_a_commit_is_on_disk_whatever_the_default_of_the_session(own_postgres: Server, own_postgres_url: str) -> None:
    """Many at once, none of which a crash of the server takes away; with durability="relaxed" it may."""
    own_postgres.configure(synchronous_commit="off", wal_writer_delay="10s", wal_writer_flush_after="'1GB'")
    own_postgres.restart(signal.SIGINT)
    try:
        for durability, kept in (("strict", {40}), ("relaxed", set(range(40)))):
            store = PostgresStore(own_postgres.empty(), durability=durability)
            for position in range(40):
                assert one(store, batch("r", position)) == position + 1
            own_postgres.restart(signal.SIGQUIT)
            assert len(store.read("r")) in kept
            store.close()
    finally:
        own_postgres.configure(synchronous_commit="on", wal_writer_delay="200ms", wal_writer_flush_after="'1MB'")
        own_postgres.restart(signal.SIGINT)


def test_a_deletion_is_on_disk_too(own_postgres: Server, own_postgres_url: str) -> None:
    own_postgres.configure(synchronous_commit="off", wal_writer_delay="10s", wal_writer_flush_after="'1GB'")
    own_postgres.restart(signal.SIGINT)
    try:
        store = PostgresStore(own_postgres_url)
        assert one(store, batch("r", 0)) == 1
        store.delete("r")
        own_postgres.restart(signal.SIGQUIT)
        summary = store.summary("r")
        assert summary is not None
        assert summary.status == "deleted"
        store.close()
    finally:
        own_postgres.configure(synchronous_commit="on", wal_writer_delay="200ms", wal_writer_flush_after="'1MB'")
        own_postgres.restart(signal.SIGINT)


def test_a_server_of_an_unsupported_version_is_refused_by_name(postgres: Server, postgres_url: str) -> None:
    older = lambda data: data.replace(b"server_version\x0018.", b"server_version\x0013.")  # noqa: E731
    with Proxy(("127.0.0.1", postgres.port), change=older) as cutter:
        store = PostgresStore(postgres.tcp(port=cutter.port))
        with pytest.raises(
            StoreUnavailableError, match=r"the server is PostgreSQL 13; tau needs 14 or newer"
        ) as caught:
            store.read("r")
        assert not caught.value.transient


def test_a_database_that_cannot_hold_every_run_id_is_refused(postgres: Server) -> None:
    postgres.sql("", "create database latin encoding 'LATIN1' template template0 locale 'C'")
    try:
        with pytest.raises(StoreUnavailableError, match=r"has encoding LATIN1.*createdb -E UTF8"):
            PostgresStore(postgres.url("latin")).read("r")
    finally:
        postgres.sql("", "drop database latin with (force)")


def test_a_role_that_may_only_read_reads(postgres: Server, postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        one(store, batch("r", 0))
    postgres.sql(
        "", "drop role if exists reader", "create role reader login", "grant usage on schema tau to reader",
        "grant select on all tables in schema tau to reader",
    )  # fmt: skip
    store = PostgresStore(postgres.url(user="reader"))
    assert len(store.read("r")) == 1
    assert [row.run_id for row in store.runs()] == ["r"]
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    assert "permission denied" in str(refused)
    assert "grant usage on schema tau" in str(refused)
    assert not refused.transient
    with pytest.raises(StoreUnavailableError, match="cannot delete from"):
        store.delete("r")
    store.close()
    postgres.sql("", "drop owned by reader", "drop role reader")


def test_a_role_without_rights_is_told_which(postgres: Server, postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        one(store, batch("r", 0))
    postgres.sql("", "drop role if exists stranger", "create role stranger login")
    with pytest.raises(StoreUnavailableError, match=r"permission denied for schema tau.*grant usage"):
        PostgresStore(postgres.url(user="stranger")).runs()
    with postgres.database("elsewhere"):
        refused = one(PostgresStore(postgres.url("elsewhere", "stranger")), batch("r", 0))
    assert "create schema tau authorization" in str(refused)
    postgres.sql("", "drop role stranger")


def test_a_standby_or_read_only_role_is_refused_with_the_remedy(postgres: Server, postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        one(store, batch("r", 0))
    postgres.sql(
        "", "drop role if exists careful", "create role careful superuser login",
        "alter role careful set default_transaction_read_only = on",
    )  # fmt: skip
    store = PostgresStore(postgres.url(user="careful"))
    assert len(store.read("r")) == 1
    refused = one(store, batch("r", 1))
    assert isinstance(refused, StoreUnavailableError)
    assert "target_session_attrs=read-write" in str(refused)
    store.close()
    postgres.sql("", "drop role careful")


def test_a_role_whose_transactions_are_serializable_commits_all_the_same(postgres: Server, postgres_url: str) -> None:
    postgres.sql(
        "", "drop role if exists strict", "create role strict superuser login",
        "alter role strict set default_transaction_isolation = 'serializable'",
    )  # fmt: skip
    store = PostgresStore(postgres.url(user="strict"))
    for position in range(20):
        groups = [[batch("a", position), batch("b", position)] for _ in range(6)]
        results = race([partial(store.commit, group) for group in groups])
        assert sorted(results, key=str).count([position + 1] * 2) == 1
        assert all(type(one) in (int, PositionConflict) for group in results for one in group), results
    store.close()
    postgres.sql("", "drop owned by strict cascade", "drop role strict")


# Passwords

SECRET = "s3same%2Fopen%40all"
PLAIN = "s3same/open@all"


@pytest.fixture
def guarded(postgres: Server, postgres_url: str) -> Iterator[Server]:
    postgres.sql("", "drop role if exists keeper", f"create role keeper superuser login password '{PLAIN}'")
    yield postgres
    postgres.sql("", "drop owned by keeper cascade", "drop role keeper")


def test_a_password_opens_the_store_and_is_never_shown(
    guarded: Server,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither by the store nor by an error, an event, a log or a traceback, wherever it came from."""
    caplog.set_level("DEBUG")
    url = guarded.tcp(user="keeper", password=PLAIN)
    assert SECRET in url
    recorder = Recorder()
    graph = StateGraph("g", store=url, observer=recorder)
    graph.add_node("a", lambda state: {"x": 1}, version="1")
    graph.set_entry_point("a")
    graph.set_exit_point("a")
    assert graph.execute({}, run_id="r")["x"] == 1
    store = graph.store
    assert store is not None
    shown = [repr(store), store.location, repr(vars(store)), repr(recorder.events), str(store.runs())]
    monkeypatch.setenv("PGPASSWORD", PLAIN)
    assert len(PostgresStore(guarded.tcp(user="keeper")).read("r")) > 1
    monkeypatch.setenv("PGPASSWORD", "0ther-secret")
    for wrong in (url.replace("s3same", "s3samE"), url.replace(SECRET, "%zz" + SECRET), guarded.tcp(user="keeper")):
        with pytest.raises(Exception, match=r"postgresql://keeper@|user or password") as caught:
            PostgresStore(wrong).read("r")
        shown += [str(caught.value), repr(caught.value), caught.getrepr(chain=True).reprcrash.message]  # type: ignore[union-attr]
        shown += held_by(caught.value)
    for address in (url, url.replace("s3same", "s3samE")):
        told = [sys.executable, "-m", "tau", "show", "r", "--json", "--store", address]
        done = subprocess.run(told, capture_output=True, text=True, check=False)
        assert "postgresql://keeper@" in done.stdout + done.stderr
        shown += [done.stdout, done.stderr]
    shown += [caplog.text, *capfd.readouterr()]
    for text in shown:
        for secret in ("s3sam", SECRET, PLAIN, "0ther"):
            assert secret not in text, text


def test_a_wrong_password_is_told_with_the_remedy(guarded: Server) -> None:
    """And is not tried again and again."""
    for url in (guarded.tcp(user="keeper", password="wrong"), guarded.tcp(user="keeper")):
        with pytest.raises(StoreUnavailableError, match=r"check user and password .*pg_hba.conf") as caught:
            PostgresStore(url).runs()
        assert not caught.value.transient
    store = PostgresStore(guarded.tcp(user="keeper", password=PLAIN))
    assert store.runs() == []
    with pytest.raises(StoreUnavailableError, match=r"database .nowhere. does not exist.*createdb") as caught:
        PostgresStore(guarded.tcp("nowhere", user="keeper", password=PLAIN)).runs()
    assert not caught.value.transient
    store.close()
