"""Redis: what its keys hold, what reading and writing cost, listings, damage, scripts, forks, handlers."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace

from redis_server import DATABASES, Server
from tau.errors import (
    CorruptCheckpointError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    UnsupportedFormatError,
)
from tau.stores import server_store
from tau.stores.contract import PositionConflict, Query
from tau.stores.redis import RedisStore
from tau.stores.redis import store as redis_store
from tau.stores.redis.connection import Session
from tau.stores.summaries import matches
from tau.testing.store_contract.batches import batch, one, owner, race


def calls_of(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The first words of what is asked from now on, in any session, a list for each round trip."""
    said: list[list[str]] = []
    real: Any = Session.ask

    def ask(self: Session, *commands: Any) -> Any:
        said.append([command[0] for command in commands])
        return real(self, *commands)

    monkeypatch.setattr(Session, "ask", ask)
    return said


# The keys


def test_reading_creates_nothing_and_another_database_is_another_store(redis: Server, redis_url: str) -> None:
    store = RedisStore(redis_url)
    assert (store.read("r"), store.summary("r"), store.blobs("r", [b"x"]), store.lease("r")) == ([], None, {}, None)
    assert (store.select(Query()), store.list(), list(store.runs()), store.due("graph", 9)) == ([], [], [], [])
    assert store.renew("r", "a", 1.0) is False
    store.delete("r")
    with redis.client() as client:
        assert client.keys("*") == []
        assert one(store, batch("r", 0, blobs=[(b"x", b"y")], owner=owner("a"))) == 1
        assert sorted(client.keys("*")) == [
            b"tau:blobs:r", b"tau:format", b"tau:graph:graph", b"tau:leased:graph", b"tau:log:r", b"tau:run:r",
            b"tau:runs", b"tau:status:running",
        ]  # fmt: skip
        assert client.get("tau:format") == b"1"
    other = RedisStore(redis.url(DATABASES))
    assert other.summary("r") is None
    other.close()
    store.close()


def test_a_deletion_leaves_one_key_that_no_listing_finds(redis: Server, redis_url: str) -> None:
    store = RedisStore(redis_url)
    one(store, batch("r", 0, 3, blobs=[(b"x", b"y")], status="admitted", not_before=1.0))
    store.delete("r")
    with redis.client() as client:
        assert sorted(client.keys("*")) == [b"tau:format", b"tau:run:r"]
    store.close()


def test_no_two_runs_share_a_key(redis: Server, redis_url: str) -> None:
    """Whatever a run is called: as a key, as a pattern, as another kind of key, in capitals, in parts."""
    names = ["a", "A", "a:b", "run:a", "tau:run:a", "*", "{a}", "a\r\nb", "🌍", "é", "é", " ", "a "]
    store = RedisStore(redis_url)
    made = {name: batch(name, 0, graph=name) for name in names}
    assert store.commit(list(made.values())) == [1] * len(made)
    for name, each in made.items():
        assert store.read(name) == [(1, each.records[0])]
        assert store.summary(name) == each.summary
        assert store.select(Query(graph=name)) == [each.summary]
    store.delete("a")
    assert sorted(row.run_id for row in store.select(Query())) == sorted(set(made) - {"a"})
    store.close()


def test_runs_of_a_newer_tau_are_refused_and_left_alone(redis: Server, redis_url: str) -> None:
    """Also by a store that has used them before."""
    store = RedisStore(redis_url)
    one(store, batch("r", 0, owner=owner("a")))
    with redis.client() as client:
        client.set("tau:format", "2")
        before = client.hgetall("tau:run:r")
        said = r"have format '2', this version of tau knows 1; use the version"
        for use in (
            lambda: store.read("r"),
            lambda: store.delete("r"),
            lambda: store.renew("r", "a", 1.0),
            lambda: store.due("graph", 1),
        ):
            with pytest.raises(UnsupportedFormatError, match=said):
                use()
        assert isinstance(one(store, batch("r", 1)), UnsupportedFormatError)
        assert client.hgetall("tau:run:r") == before
    store.close()


@pytest.mark.parametrize("how", ["flushed", "another life"])
def test_a_server_that_was_emptied_is_not_begun_anew(redis: Server, redis_url: str, how: str) -> None:
    """Until the store is closed: what was committed is gone, and going on would hide that."""
    store = RedisStore(redis_url)
    first = batch("r", 0)
    one(store, first)
    with redis.client() as client:
        client.flushdb()
        if how == "another life":
            with RedisStore(redis_url) as other:
                one(other, batch("elsewhere", 0))
        forgotten, fresh = store.commit([replace(batch("r", 1), before=first.records[0]), batch("new", 0)])
        assert type(forgotten) is StoreError
        assert "the server went back from 1 to 0" in str(forgotten)
        if how == "another life":
            assert fresh == 1
        else:
            assert isinstance(fresh, StoreUnavailableError)
            assert "are gone: restore them, or close the store" in str(fresh)
            assert not fresh.transient
            for use in (lambda: store.read("r"), lambda: store.delete("r"), lambda: store.renew("r", "a", 1.0)):
                with pytest.raises(StoreUnavailableError, match="are gone"):
                    use()
            assert client.keys("*") == []
    store.close()
    assert store.read("r") == []
    assert one(store, batch("r", 0)) == 1
    store.close()


# What it costs


def test_a_commit_is_one_call_and_so_is_a_group(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisStore(redis_url)
    one(store, batch("r", 0))
    said = calls_of(monkeypatch)
    assert one(store, batch("r", 1)) == 2
    assert store.commit([batch("r", 2, blobs=[(b"x", b"y")])]) == [3]
    assert store.commit([batch(f"g{n}", 0, 2) for n in range(50)]) == [2] * 50
    assert said == [["EVALSHA"]] * 3
    assert len(store.read("r")) == 3
    assert said[3:] == [["GET", "HMGET", "LRANGE", "HGET"]]
    assert len(store.due("graph", 5)) == 5
    assert said[4:] == [["EVALSHA"]] or said[4:] == [["EVALSHA"], ["EVAL"]]
    store.close()


def test_a_listing_takes_three_calls_whatever_is_running(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest ids, their summaries, their leases."""
    store = RedisStore(redis_url)
    store.commit([batch(f"run {n}", 0, owner=owner(lease=60.0 if n % 2 else 0.0)) for n in range(200)])
    said = calls_of(monkeypatch)
    rows = store.runs(limit=50)
    assert [row.status for row in rows] == ["running", "dead"] * 25
    assert [words[1] for words in said] == ["ZREVRANGE", "HGET", "TIME"]
    assert [len(words) for words in said] == [2, 51, 52]
    assert len(store.runs(status="dead", limit=7)) == 7
    store.close()


def test_a_group_of_commits_is_one_sync(redis: Server, redis_url: str) -> None:
    """Of 200 runs: the server writes its log once."""
    with RedisStore(redis_url) as store, redis.client() as client:
        one(store, batch("r", 0))
        client.config_resetstat()
        assert store.commit([batch(f"g{n}", 0) for n in range(200)]) == [1] * 200
        info = client.info("commandstats")
        assert info["cmdstat_evalsha"]["calls"] == 1
        assert info["cmdstat_rpush"]["calls"] == 200


def test_a_server_that_has_lost_its_scripts_is_told_them_again(redis: Server, redis_url: str) -> None:
    store = RedisStore(redis_url)
    with redis.client() as client:
        for position in range(3):
            assert one(store, batch("r", position, owner=owner("a"))) == position + 1
            client.script_flush()
            assert store.renew("r", "a", 60.0)
            client.script_flush()
        store.delete("r")
    assert store.read("r") == []
    store.close()


def test_a_batch_of_more_records_than_a_script_can_push_at_once(redis_url: str) -> None:
    store = RedisStore(redis_url)
    mine = batch("r", 0, 20_001, blobs=[(b"%d" % n, b"x") for n in range(9_999)])
    assert store.commit([batch("a", 0), mine, batch("b", 0)]) == [1, 20_001, 1]
    assert [record for _, record in store.scan("r")] == list(mine.records)
    assert len(store.blobs("r", [name for name, _ in mine.blobs])) == 9_999
    store.close()


def test_a_commit_that_no_server_takes_is_refused_by_its_size(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RedisStore(redis_url)
    monkeypatch.setattr(redis_store, "_LARGEST", 1_000_000)
    monkeypatch.setattr(server_store, "GROUP_BYTES", 1_000_000)
    refused, mine = store.commit([batch("r", 0, blobs=[(b"x", bytes(1_000_001))]), batch("s", 0)])
    assert isinstance(refused, StoreFullError)
    assert "1,000,0" in str(refused)
    assert mine == 1
    store.close()


def test_at_most_so_many_connections_are_open(redis: Server, redis_url: str) -> None:
    """However many threads there are; they take turns."""
    store = RedisStore(redis_url, max_connections=3)
    one(store, batch("r", 0))
    store.close()
    seen: list[int] = []
    looking = threading.Lock()
    with redis.client() as client:
        others = {each["id"] for each in client.client_list()}

        def work() -> None:
            for _ in range(20):
                store.read("r")
                with looking:
                    seen.append(sum(each["id"] not in others for each in client.client_list()))

        assert race([work] * 12) == [None] * 12
        assert 1 <= max(seen) <= 3
    store.close()


# Listings


def test_listings_by_graph_and_status_are_exact(redis_url: str) -> None:
    """However few of many match, with any limit."""
    store = RedisStore(redis_url)
    made = [
        batch(
            f"r{n}", 0, graph="ab"[n % 7 == 0], status=("finished", "failed")[n % 5 == 0], tags=("t",) * (n % 11 == 0)
        )
        for n in range(700)
    ]
    assert store.commit(made) == [1] * 700
    rows = [each.summary for each in reversed(made)]
    for graph in (None, "a", "b", "c"):
        for status in (None, "finished", "failed", "running"):
            for tag in (None, "t"):
                for limit in (None, 0, 1, 13, 10_000):
                    query = Query(graph=graph, status=status, tag=tag, limit=limit)
                    assert store.select(query) == [row for row in rows if matches(row, query)][:limit], query
    store.close()


def test_a_run_that_changes_its_graph_leaves_the_listing_of_the_other_one(redis_url: str) -> None:
    """As one that was deleted and begun anew by another graph."""
    store = RedisStore(redis_url)
    one(store, batch("r", 0, graph="a", status="admitted", not_before=1.0))
    store.delete("r")
    one(store, batch("r", 2, graph="b", status="admitted", not_before=1.0))
    one(store, batch("r", 3, graph="c", status="admitted", not_before=1.0))
    assert [len(store.select(Query(graph=graph))) for graph in "abc"] == [0, 0, 1]
    assert [len(store.due(graph, 9)) for graph in "abc"] == [0, 0, 1]
    store.close()


# Damage

LOG, RUN = "tau:log:r", "tau:run:r"


@pytest.mark.parametrize(
    ("damage", "use", "what"),
    [
        (("HSET", RUN, "summary", "torn"), "summary", "summary"),
        (("HSET", RUN, "position", "9"), "summary", "summary"),
        (("HSET", RUN, "position", "nine"), "summary", "row"),
        (("HDEL", RUN, "position"), "summary", "row"),
        (("HDEL", RUN, "summary"), "summary", "summary"),
        (("HDEL", RUN, "floor"), "read", "row"),
        (("HSET", RUN, "position", "9"), "read", "log"),
        (("LPOP", LOG), "read", "log"),
        (("RPOP", LOG), "read", "log"),
        (("DEL", LOG), "read", "log"),
        (("HSET", RUN, "expires", "soon"), "lease", "row"),
        (("HSET", RUN, "seconds", "few"), "lease", "row"),
    ],
)
def test_damage_is_found(redis: Server, redis_url: str, damage: tuple[str, ...], use: str, what: str) -> None:
    store = RedisStore(redis_url)
    one(store, batch("r", 0, 3, owner=owner()))
    with redis.client() as client:
        client.execute_command(*damage)
    with pytest.raises(CorruptCheckpointError) as caught:
        getattr(store, use)("r")
    assert caught.value.what == what
    assert caught.value.run_id == "r"
    store.close()


def test_nothing_is_appended_to_a_log_of_which_a_part_is_gone(redis: Server, redis_url: str) -> None:
    """A later record would take the place of one that is missing. The neighbours of such a batch are committed."""
    store = RedisStore(redis_url)
    one(store, batch("r", 0, 3))
    with redis.client() as client:
        client.lpop(LOG)
        refused, mine = store.commit([batch("r", 3), batch("well", 0)])
        assert isinstance(refused, CorruptCheckpointError)
        assert "it is at 3, its log ends at 2" in str(refused)
        assert mine == 1
        client.delete(LOG)
        client.set(LOG, "of another program")
        refused, mine = store.commit([batch("r", 3), batch("well", 1)])
        assert isinstance(refused, CorruptCheckpointError)
        assert "a key that begins with tau: was made by something else" in str(refused)
        assert mine == 2
        with pytest.raises(CorruptCheckpointError, match="made by something else"):
            store.read("r")
    store.close()


def test_what_an_append_that_was_broken_off_left_is_no_part_of_the_log(redis: Server, redis_url: str) -> None:
    """As by an error in the middle of a script, before the run itself was moved on."""
    store = RedisStore(redis_url)
    with redis.client() as client:
        client.rpush(LOG, b"left", b"over")
        first = batch("r", 0, 2)
        assert one(store, first) == 2
        client.rpush(LOG, b"left", b"over")
        assert [record for _, record in store.read("r")] == list(first.records)
        assert [record for _, record in store.scan("r")] == list(first.records)
        second = batch("r", 2, 2)
        assert one(store, second) == 4
        assert [record for _, record in store.read("r")] == [*first.records, *second.records]
        assert client.llen(LOG) == 4
    store.close()


def test_a_damaged_run_is_listed_and_can_be_removed(redis: Server, redis_url: str) -> None:
    store = RedisStore(redis_url)
    store.commit([batch("r", 0, 3), batch("well", 0)])
    with redis.client() as client:
        client.hset(RUN, "summary", "")
    assert {row.run_id: row.status for row in store.select(Query())} == {"r": "damaged", "well": "running"}
    assert [row.run_id for row in store.select(Query(status="damaged", limit=1))] == ["r"]
    assert [row.run_id for row, _ in store.due("graph", 9)] == ["well"]
    with pytest.raises(CorruptCheckpointError):
        store.delete("r", keep_summary=True)
    store.delete("r")
    assert store.read("r") == []
    summary = store.summary("r")
    assert summary is not None
    assert (summary.status, summary.position) == ("deleted", 4)
    assert [row.run_id for row in store.select(Query())] == ["well"]
    store.close()


@pytest.mark.parametrize("damage", ["gone", "of another type", "without a number"])
def test_a_run_of_which_it_is_not_known_where_it_is_can_be_removed(redis: Server, redis_url: str, damage: str) -> None:
    """It leaves a position that no writer knows, and is in no list any more."""
    store = RedisStore(redis_url)
    store.commit([batch("r", 0, 3, status="admitted", not_before=1.0), batch("well", 0, graph="other")])
    with redis.client() as client:
        if damage == "without a number":
            client.hset(RUN, "position", "nine")
        else:
            client.delete(RUN)
        if damage == "of another type":
            client.set(RUN, "text")
        for change in (partial(store.delete, "r", keep_summary=True), partial(store.delete_at, "r", 3)):
            with pytest.raises(CorruptCheckpointError):
                change()
        for _ in range(2):
            store.delete("r")
            assert store.read("r") == []
            summary = store.summary("r")
            assert summary is not None
            assert summary.status == "deleted"
            assert client.exists(LOG, "tau:blobs:r") == 0
            lists = [key for key in client.scan_iter() if client.type(key) == b"zset"]
            assert [key for key in lists if client.zscore(key, "r") is not None] == []
    assert [row.run_id for row in store.select(Query())] == ["well"]
    assert store.due("graph", 9) == []
    for expected in (0, 1, 3, 4, summary.position - 1):
        assert isinstance(one(store, batch("r", expected)), PositionConflict)
    begun = one(store, batch("r", summary.position, base=summary.position + 1))
    assert begun == summary.position + 1
    store.delete("r")
    again = store.summary("r")
    assert again is not None
    assert again.position == summary.position + 2
    store.close()


def test_nothing_is_removed_of_a_run_that_is_there_again_by_then(redis: Server, redis_url: str) -> None:
    store = RedisStore(redis_url)
    one(store, batch("r", 0, 3))
    in_turn = store._connections.in_turn_to_write
    assert in_turn("delete from", lambda session: store._discard(session, "r")) is False
    assert len(store.read("r")) == 3
    store.close()


def test_a_clock_that_was_set_back_ends_no_lease_and_makes_none_longer(redis: Server, redis_url: str) -> None:
    """It is watched instead, by workers too."""
    store = RedisStore(redis_url)
    one(store, batch("r", 0, owner=owner(lease=60.0)))
    later = time.time_ns() // 1000 + 3600 * 1_000_000
    with redis.client() as client:
        client.hset(RUN, "expires", later)
        client.zadd("tau:leased:graph", {"r": later})
    lease = store.lease("r")
    assert lease is not None
    assert lease.expires_in is None
    assert [row.run_id for row, _ in store.due("graph", 9)] == ["r"]
    assert store.due("graph", 9, watched=False) == []
    store.close()


# Forks, handlers, interrupts

RETURNING = """
import os, sys
from tau.errors import StoreError
from tau.stores import open_store
from tau.stores.redis.connection import Session
from tau.stores.summaries import matches
from tau.testing.store_contract.batches import batch, one
store = open_store(sys.argv[1])
one(store, batch("r", 0))
real = Session._wait
children, ended = [], []
def wait(self, what):
    if not children:
        children.append(os.fork())  # as a signal handler may, and the child goes on with the commit
        if children[0]:  # the child has all the time to take what the server says to its parent
            ended.append(os.waitpid(children[0], 0)[1])
    return real(self, what)
Session._wait = wait
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


def test_a_child_that_returns_into_the_commit_cannot_go_on_with_it(redis_url: str) -> None:
    """It may begin others, of runs of its own."""
    command = [sys.executable, "-c", RETURNING, redis_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "whole", done.stderr


def test_a_handler_in_the_middle_of_a_commit_reads_and_is_refused_to_write(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits for nothing, although its own thread holds the only connection."""
    store = RedisStore(redis_url, max_connections=1)
    one(store, batch("r", 0))
    told: list[Any] = []
    real: Any = Session._wait

    def handler(*_: object) -> None:
        told.append(len(store.read("r")))
        with pytest.raises(StoreError, match="in the middle of a commit"):
            store.renew("r", "a", 1.0)

    def wait(self: Session, what: int) -> None:
        if not told:
            told.append("called")
            os.kill(os.getpid(), signal.SIGUSR1)
        real(self, what)

    monkeypatch.setattr(Session, "_wait", wait)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        assert one(store, batch("r", 1)) == 2
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert told[0] == "called"
    assert told[1] in (1, 2)
    store.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3), TimeoutError("of the handler"), OSError("odd")])
@pytest.mark.parametrize("place", ["_send", "_wait", "_receive", "leave"])
def test_an_interrupt_lets_the_commit_come_to_its_end(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, error: BaseException, place: str
) -> None:
    """And comes out as it is; a later answer is never taken for another one."""
    store = RedisStore(redis_url, max_connections=1)
    one(store, batch("r", 0))
    real: Any = getattr(Session, place)
    times = [0]

    def handler(frame: Any, error: BaseException) -> None:
        raise error

    def interrupted(self: Session, *arguments: Any) -> Any:
        times[0] += 1
        if times[0] == 1 and place != "_send":
            handler(sys._getframe(), error)
        found = real(self, *arguments)
        if times[0] == 1 and place == "_send":
            handler(sys._getframe(), error)
        return found

    if place == "leave":  # the second one comes as the first one is dealt with
        monkeypatch.setattr(Session, "_wait", lambda self, what: handler(sys._getframe(), ValueError("first")))
    monkeypatch.setattr(Session, place, interrupted)
    found: Any = None
    try:
        (found,) = store.commit([batch("r", 1)])
    except BaseException as raised:
        found = raised
    assert found is error
    monkeypatch.undo()
    rows = store.read("r")
    assert len(rows) == 2 or place == "leave"
    assert one(store, batch("r", len(store.read("r")))) == len(rows) + 1
    store.close()


def test_a_store_that_is_dropped_leaves_no_connection(redis: Server, redis_url: str) -> None:
    with redis.client() as client:
        before = len(client.client_list())
        for _ in range(3):
            store = RedisStore(redis_url)
            one(store, batch("r", 0))
            del store
        poll = select.poll()
        while len(client.client_list()) > before:
            poll.poll(10)


def test_a_forgotten_deletion_is_noticed(redis: Server, redis_url: str) -> None:
    """By who has begun the run anew after it."""
    store = RedisStore(redis_url)
    one(store, batch("r", 0, 2))
    with redis.client() as client:
        kept = {key: client.dump(key) for key in client.keys("*")}
        store.delete("r")
        anew = batch("r", 3)
        assert one(store, anew) == 4
        client.flushdb()
        for key, data in kept.items():
            client.restore(key, 0, data)
    refused = one(store, replace(batch("r", 4), before=anew.records[0]))
    assert type(refused) is StoreError
    assert "the server went back from 4 to 2" in str(refused)
    assert isinstance(one(store, batch("r", 4)), PositionConflict)
    assert len(store.read("r")) == 2
    store.close()
