"""S3 when things go wrong: answers get lost, the service is busy, refuses, forgets, or does not heed conditions."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import pytest
from error_chains import held_by
from msgspec.structs import replace
from s3_proxy import Request, S3Proxy, refusal

from s3_server import SECRET, USER, Server, through
from tau import CheckpointConfig, GraphConfig, StateGraph
from tau.errors import CorruptCheckpointError, StoreError, StoreFullError, StoreUnavailableError, UnsupportedFormatError
from tau.stores.contract import PositionConflict, Store
from tau.stores.s3 import S3Store
from tau.testing.store_contract.batches import batch, one, owner

DEEP = pytest.mark.deep
BUSY = refusal("503 Slow Down", "SlowDown", "Please reduce your request rate.")
CONFLICT = refusal("409 Conflict", "ConditionalRequestConflict")


def chain(store: Store, ran: list[int], nodes: int) -> StateGraph:
    """A graph of that many nodes, each of which notes that it ran."""
    checkpoint = CheckpointConfig(store=store, interval=1, preserve=True, patience=30.0)
    graph = StateGraph(GraphConfig("chain", checkpoint=checkpoint, max_iterations=nodes + 1))

    def make(number: int) -> Any:
        def node(state: Any) -> Any:
            ran.append(number)
            return {"count": state.get("count", 0) + 1}

        return node

    names = [f"n{number}" for number in range(nodes)]
    for number, name in enumerate(names):
        graph.add_node(name, make(number), version="1")
    for left, right in pairwise(names):
        graph.add_edge(left, right)
    graph.set_entry_point(names[0])
    graph.set_exit_point(names[-1])
    return graph


def only_log(how: str | bytes, each: int = 1, at: int = 0) -> Callable[[int, Request], str | bytes]:
    """Treat every so many commits that way."""
    return lambda number, request: (
        how if (request.kind, request.key[:4]) == ("PUT", "log/") and number % each == at else ""
    )


# Lost requests and lost answers


@pytest.mark.parametrize("how", ["before", "after", CONFLICT, BUSY], ids=["request", "answer", "409", "503"])
@pytest.mark.parametrize(("runs", "nodes"), [(1, 14), pytest.param(20, 100, marks=DEEP)])
def test_a_lost_answer_is_neither_a_conflict_nor_a_second_commit(
    s3: Server, s3_url: str, how: str | bytes, runs: int, nodes: int
) -> None:
    """What was committed is found by its own bytes; what was not is committed again. Every other commit meets it."""
    names = [f"run-{number}" for number in range(runs)]
    with S3Proxy(s3.port, only_log(how, 2, 1)) as proxy:
        store = S3Store(through(s3_url, proxy.port))

        def run(name: str) -> None:
            ran: list[int] = []
            graph = chain(store, ran, nodes)
            while not ran:  # only a run that is at work waits for its store: to begin is tried again here
                try:
                    assert graph.execute({}, run_id=name, if_exists="resume")["count"] == nodes
                except StoreUnavailableError as error:
                    if ran or not error.transient:
                        raise
            assert ran == list(range(nodes))

        with ThreadPoolExecutor(runs) as threads:  # each waits for its own answers
            list(threads.map(run, names))
        assert isinstance(how, bytes) or proxy.lost >= runs * nodes // 2
        store.close()
    direct = S3Store(s3_url)
    for name in names:
        assert [entry.node for entry in chain(direct, [], nodes).history(name)] == [f"n{n}" for n in range(nodes)]
    direct.close()


def test_every_answer_but_one_may_get_lost(s3: Server, s3_url: str) -> None:
    """Of the check, the marker, commits, renewals, merges and deletions alike."""

    def commits(store: Store, positions: range) -> None:
        for position in positions:
            assert one(store, batch("r", position, owner=owner("a"), blobs=[(b"%d" % position, b"x")])) == position + 1

    with S3Store(s3_url) as direct:
        commits(direct, range(60))
    with S3Proxy(s3.port, lambda number, request: "after" if number % 2 else "") as proxy:
        store = S3Store(through(s3_url, proxy.port))
        commits(store, range(60, 70))  # at 64 they are merged
        assert store.renew("r", "a", 60.0)
        assert len(store.read("r")) == 70
        assert len(store.blobs("r", [b"%d" % n for n in range(70)])) == 70
        store.release("r", "a")
        assert store.lease("r") is None
        store.delete("r")
        assert store.read("r") == []
        assert proxy.lost > 15
        store.close()


def test_another_ones_commit_is_not_taken_for_ours(s3: Server, s3_url: str) -> None:
    """A request is lost, and another process commits there before it is sent again."""
    direct = S3Store(s3_url)
    assert one(direct, batch("r", 0)) == 1
    theirs = batch("r", 1)

    def choose(number: int, request: Request) -> str:
        if request.kind == "PUT" and request.key.startswith("log/") and number == 0:
            assert one(direct, theirs) == 2
            return "before"
        return ""

    with S3Proxy(s3.port, choose) as proxy, S3Store(through(s3_url, proxy.port)) as store:
        conflict = one(store, batch("r", 1))
        assert isinstance(conflict, PositionConflict)
        assert conflict.position == 2
        assert store.read("r", 1) == [(2, theirs.records[0])]
    direct.close()


def test_a_service_that_stays_busy_is_away_for_a_while(s3: Server, s3_url: str) -> None:
    """The error says so, and that trying again may help; nothing is stored."""
    with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port), timeout=2.0) as store:
        assert one(store, batch("r", 0)) == 1
        proxy.choose = only_log(BUSY)
        result = one(store, batch("r", 1))
        assert isinstance(result, StoreUnavailableError)
        assert result.transient
        assert "the service says 'SlowDown: Please reduce your request rate.'; the service is busy" in str(result)
        proxy.choose = lambda number, request: ""
        assert one(store, batch("r", 1)) == 2


def test_a_service_that_falls_silent_is_given_up_in_time(s3: Server, s3_url: str) -> None:
    with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port), timeout=0.5) as store:
        assert one(store, batch("r", 0)) == 1
        proxy.choose = lambda number, request: "stall"
        with pytest.raises(StoreUnavailableError, match="no answer in time") as caught:
            store.read("r")
        assert caught.value.transient
        result = one(store, batch("r", 1))
        assert isinstance(result, StoreUnavailableError)
        assert result.transient


def test_a_service_that_is_down_is_away(s3_url: str) -> None:
    with S3Store(through(s3_url, 9), timeout=1.0) as store:
        with pytest.raises(StoreUnavailableError, match="no connection; check that the endpoint is up") as caught:
            store.runs()
        assert caught.value.transient


# Services that do not keep what tau needs


@pytest.mark.parametrize(
    ("strip", "name"), [(("if-none-match",), "If-None-Match"), (("if-match",), "If-Match")], ids=["create", "exchange"]
)
def test_a_service_that_ignores_conditions_is_refused_before_the_first_write(
    s3: Server, s3_url: str, strip: tuple[str, ...], name: str
) -> None:
    """By name, and with nothing left behind; it can be read."""
    with S3Proxy(s3.port, strip=strip) as proxy, S3Store(through(s3_url, proxy.port)) as store:
        assert store.runs() == []
        with pytest.raises(StoreUnavailableError, match=f"the service ignores {name}") as caught:
            store.commit([batch("r", 0)])
        assert not caught.value.transient
    with S3Store(s3_url) as direct:
        assert s3.objects(s3_url) == {}
        assert one(direct, batch("r", 0)) == 1
    with S3Proxy(s3.port, strip=strip) as proxy, S3Store(through(s3_url, proxy.port)) as store:
        assert len(store.read("r")) == 1
        with pytest.raises(StoreUnavailableError, match=f"the service ignores {name}"):
            store.delete("r")


def test_a_service_that_lists_what_was_is_refused(s3: Server, s3_url: str) -> None:
    nothing = b"<ListBucketResult><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated></ListBucketResult>"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(nothing), nothing)
    with S3Proxy(s3.port, lambda number, request: answer if request.kind == "LIST" else "") as proxy:
        store = S3Store(through(s3_url, proxy.port))
        with pytest.raises(StoreUnavailableError, match="ignores what it has acknowledged when it lists objects"):
            store.commit([batch("r", 0)])
        store.close()


# A service that forgets: as one that is not S3 may, put back from a backup


@pytest.fixture
def put_back(s3: Server, s3_url: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """What keeps a copy of the place, and what puts that back."""
    kept: dict[str, bytes] = {}

    def restore() -> None:
        for key in s3.objects(s3_url).keys() - kept.keys():
            s3.put(s3_url, key, None)
        for key, data in kept.items():
            s3.put(s3_url, key, data)

    return lambda: kept.update(s3.objects(s3_url)), restore


def test_a_server_that_went_back_is_noticed_by_its_owner(
    put_back: tuple[Callable[[], None], Callable[[], None]], s3_url: str
) -> None:
    """It is told so, and nothing is mixed; what is stored goes on."""
    keep, restore = put_back
    with S3Store(s3_url) as store, S3Store(s3_url) as other:
        batches = [batch("r", position, owner=owner("a")) for position in range(17)]
        for each in batches[:15]:
            assert one(store, each) == each.summary.position
        keep()
        for each in batches[15:]:
            assert one(store, each) == each.summary.position
        restore()
        late = replace(batch("r", 17, owner=owner("a")), before=batches[-1].records[0])
        refused = one(store, late)
        assert isinstance(refused, StoreError)
        assert "the server went back from 17 to 15" in str(refused)
        assert [record for _, record in other.read("r")] == [each.records[0] for each in batches[:15]]
        for position in range(15, 18):
            assert one(other, batch("r", position, owner=owner("b"))) == position + 1
        refused = one(store, replace(late, expected=17))
        assert isinstance(refused, StoreError | PositionConflict)
        assert other.read("r", 15) == store.read("r", 15)
        assert len(other.read("r")) == 18


def test_what_an_owner_that_was_killed_left_on_a_server_that_went_back_is_told_and_may_be_removed(
    put_back: tuple[Callable[[], None], Callable[[], None]], s3: Server, s3_url: str
) -> None:
    """It was killed before it could look whether its commit stands, which reads as a commit of which some before it are
    gone."""
    keep, restore = put_back
    with S3Store(s3_url) as store:
        batches = [batch("r", position, owner=owner("a")) for position in range(4)]
        assert [one(store, each) for each in batches[:2]] == [1, 2]
        keep()
        assert one(store, batches[2]) == 3
        before = s3.objects(s3_url)
        assert one(store, batches[3]) == 4
        ((stray, data),) = s3.objects(s3_url).items() - before.items()
        restore()
        s3.put(s3_url, stray, data)
    with S3Store(s3_url) as store:
        with pytest.raises(CorruptCheckpointError, match="put back to an earlier moment") as caught:
            store.read("r")
        assert f"/{stray}, from position 3 on, is missing" in str(caught.value)
        s3.put(s3_url, stray, None)
        assert [record for _, record in store.read("r")] == [each.records[0] for each in batches[:2]]
        assert one(store, batch("r", 2, owner=owner("b"))) == 3


def test_an_owner_meets_another_history(put_back: tuple[Callable[[], None], Callable[[], None]], s3_url: str) -> None:
    """Another process has come to its very position, from what was put back."""
    keep, restore = put_back
    with S3Store(s3_url) as store, S3Store(s3_url) as other:
        first, second = batch("r", 0, owner=owner("a")), batch("r", 1, owner=owner("a"))
        assert one(store, first) == 1
        keep()
        assert one(store, second) == 2
        restore()
        theirs = batch("r", 1, owner=owner("b"))
        assert one(other, theirs) == 2
        refused = one(store, replace(batch("r", 2, owner=owner("a")), before=second.records[0]))
        assert isinstance(refused, StoreError)
        assert "the server has another history at position 2" in str(refused)
        assert store.read("r") == [(1, first.records[0]), (2, theirs.records[0])]


# What the service refuses


@pytest.mark.parametrize(
    ("status", "code", "kind", "remedy", "transient"),
    [
        ("403 Forbidden", "AccessDenied", StoreUnavailableError, "s3:PutObject", False),
        ("403 Forbidden", "InvalidAccessKeyId", StoreUnavailableError, "AWS_ACCESS_KEY_ID", False),
        ("403 Forbidden", "SignatureDoesNotMatch", StoreUnavailableError, "AWS_SECRET_ACCESS_KEY", False),
        ("400 Bad Request", "ExpiredToken", StoreUnavailableError, "credentials have expired", False),
        ("403 Forbidden", "RequestTimeTooSkewed", StoreUnavailableError, "clock of this machine", False),
        ("400 Bad Request", "AuthorizationHeaderMalformed", StoreUnavailableError, "AWS_REGION", False),
        ("404 Not Found", "NoSuchBucket", StoreUnavailableError, "create the bucket", False),
        ("507 Insufficient Storage", "XMinioStorageFull", StoreFullError, "free some space", False),
        ("500 Internal Server Error", "InternalError", StoreUnavailableError, "busy", True),
        ("418 I'm a teapot", "Odd", StoreError, "see the log of the service", False),
    ],
)
def test_a_refusal_says_what_to_do_and_shows_no_secret(
    s3: Server, s3_url: str, *, status: str, code: str, kind: type[StoreError], remedy: str, transient: bool
) -> None:
    answer = refusal(status, code, f"as {USER} with {SECRET}").replace(
        b"</Message>", f"</Message><CanonicalRequest>x-amz-security-token:{SECRET}</CanonicalRequest>".encode()
    )
    size = len(answer.partition(b"\r\n\r\n")[2])
    answer = answer.replace(b"Content-Length: ", b"Content-Length: %d\r\nX-Was: " % size)
    with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port), timeout=2.0) as store:
        assert one(store, batch("r", 0)) == 1
        proxy.choose = lambda number, request: answer
        for call in (lambda: store.read("r"), store.runs, lambda: raised(store), lambda: store.delete("r")):
            with pytest.raises(kind) as caught:
                call()
            assert type(caught.value) is kind
            assert remedy in str(caught.value)
            assert getattr(caught.value, "transient", False) is transient
            told = "".join((*traceback.format_exception(caught.value), *held_by(caught.value), repr(store)))
            assert SECRET not in told
            assert USER not in told


def raised(store: Store) -> None:
    result = one(store, batch("r", 1))
    assert isinstance(result, Exception)
    raise result


def test_a_missing_bucket_is_named(s3: Server, s3_url: str) -> None:
    with S3Store(s3.url("tau-never-made")) as store:
        for call in (store.runs, lambda: store.commit([batch("r", 0)]), lambda: store.read("r")):
            with pytest.raises(StoreUnavailableError, match=r"s3://tau-never-made/.*NoSuchBucket.*create the bucket"):
                call()


def test_a_reader_needs_no_right_to_write(s3: Server, s3_url: str) -> None:
    """It sees all, and its first write is refused by name; where there is no store yet, there are no runs."""
    denied = refusal("403 Forbidden", "AccessDenied")
    only_reads = lambda number, request: denied if request.kind in ("PUT", "DELETE") else ""  # noqa: E731
    with S3Proxy(s3.port, only_reads) as proxy, S3Store(through(s3_url, proxy.port)) as reader:
        assert reader.runs() == []
        assert reader.summary("r") is None
        with S3Store(s3_url) as store:
            for number in range(20):
                assert one(store, batch(f"r{number}", 0, owner=owner("a"))) == 1
        assert len(reader.runs()) == 20
        assert len(reader.read("r3")) == 1
        assert reader.lease("r3") is not None
        with pytest.raises(StoreUnavailableError, match=r"AccessDenied.*s3:PutObject"):
            reader.commit([batch("r3", 1)])
        assert "PUT" in proxy.count()


def test_a_place_of_another_format_is_left_alone(s3: Server, s3_url: str) -> None:
    s3.put(s3_url, "tau-store", b"tau s3 store 2\n")
    with S3Store(s3_url) as store:
        for call in (store.runs, lambda: store.commit([batch("r", 0)]), lambda: store.delete("r")):
            with pytest.raises(UnsupportedFormatError, match="another prefix"):
                call()
        assert list(s3.objects(s3_url)) == ["tau-store"]


# Forks


def test_a_child_of_fork_is_refused_and_its_parent_goes_on(s3_url: str) -> None:
    """The threads of the client do not live on in a child, which would wait for ever."""
    store = S3Store(s3_url)
    assert one(store, batch("r", 0)) == 1
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for call in (store.runs, lambda: raised(store), lambda: S3Store(s3_url).read("r")):
                with pytest.raises(StoreUnavailableError, match="start workers by spawn"):
                    call()
            store.close()
            status = 0
        finally:
            os._exit(status)
    assert one(store, batch("r", 1)) == 2
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert one(store, batch("r", 2)) == 3
    store.close()
