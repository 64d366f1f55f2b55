"""S3: writers that stall at the worst moment, and merges and deletions that break off at any request."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from s3_proxy import Request, S3Proxy

from s3_server import Server, through
from tau.stores.contract import Batch, PositionConflict, Store
from tau.stores.s3 import S3Store
from tau.testing.store_contract.batches import batch, one, owner


def fill(store: Store, count: int, start: int = 0, nonce: str = "a") -> list[Batch]:
    batches = [batch("r", start + number, owner=owner(nonce)) for number in range(count)]
    for each in batches:
        assert one(store, each) == each.summary.position
    return batches


def contents(store: Store) -> list[bytes]:
    return [record for _, record in store.read("r")]


def packs(server: Server, url: str) -> list[str]:
    return [key for key in server.objects(url) if key.startswith("log/r-r/")]


# Writers that stall


def stalled(kind: str, work: Callable[[], None]) -> Callable[[int, Request], str]:
    """Do ``work`` when the first commit was sent and has not come (PUT), or when the first look after it has not (HEAD,
    which may be a LIST)."""
    state = {"sent": False, "done": False}

    def choose(number: int, request: Request) -> str:
        is_commit = request.kind == "PUT" and request.key.startswith("log/")
        now = is_commit if kind == "PUT" else state["sent"]
        state["sent"] |= is_commit
        if now and not state["done"]:
            state["done"] = True
            work()
        return ""

    return choose


DEEP = pytest.mark.deep
CASES = [
    (1, ""),
    (64, ""),
    pytest.param(131, "", marks=DEEP),
    (0, "delete"),
    pytest.param(1, "delete", marks=DEEP),
    pytest.param(64, "delete", marks=DEEP),
    (0, "anew"),
    pytest.param(70, "anew", marks=DEEP),
]


@pytest.mark.parametrize("is_owner", [True, False])
@pytest.mark.parametrize(("others", "then"), CASES)
def test_a_writer_that_is_overtaken_before_its_commit_came_is_refused(
    s3: Server, s3_url: str, *, others: int, then: str, is_owner: bool
) -> None:
    """Whatever was merged or deleted meanwhile, so that the name was free: it changes nothing, and leaves nothing."""
    with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port)) as store, S3Store(s3_url) as direct:
        written = fill(store if is_owner else direct, 5)
        assert direct.summary("r") == store.summary("r")

        def work() -> None:
            written.extend(fill(direct, others, start=5, nonce="b"))
            if then:
                direct.delete("r")
                written.clear()
            if then == "anew":
                written.extend(fill(direct, 66, start=others + 6, nonce="c"))

        proxy.choose = stalled("PUT", work)
        late = batch("r", 5, owner=owner("a"), blobs=[(b"large", b"x" * 150_000), (b"small", b"y")])
        conflict = one(store, late)
        assert isinstance(conflict, PositionConflict)
        now = direct.summary("r")
        assert now is not None
        assert conflict.position == now.position
        assert contents(direct) == contents(store) == [each.records[0] for each in written]
        assert direct.blobs("r", [b"small"]) == {}
        assert not any(late.records[0] in data for data in s3.objects(s3_url).values())
        if then:
            assert direct.blobs("r", [b"large"]) == {}
        assert isinstance(one(store, batch("r", now.position - 1)), PositionConflict)
        more = fill(direct, 3, start=now.position)
        assert contents(store)[-3:] == [each.records[0] for each in more]


@pytest.mark.parametrize(("others", "then"), CASES)
def test_a_commit_that_stood_is_not_taken_for_refused(s3: Server, s3_url: str, others: int, then: str) -> None:
    """Others have gone on from it, merged it or deleted it before its writer looked whether it stands."""
    with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port)) as store, S3Store(s3_url) as direct:
        written = fill(store, 5)
        mine = batch("r", 5, owner=owner("a"))
        written.append(mine)

        def work() -> None:
            written.extend(fill(direct, others, start=6, nonce="b"))
            if then:
                direct.delete("r")
                written.clear()
            if then == "anew":
                written.extend(fill(direct, 66, start=others + 7, nonce="c"))

        proxy.choose = stalled("HEAD", work)
        result = one(store, mine)
        if then and others:  # it was superseded before the run was deleted, which a conflict says as well
            assert result == 6 or isinstance(result, PositionConflict)
        else:
            assert result == 6
        assert contents(direct) == contents(store) == [each.records[0] for each in written]


def test_an_interrupt_comes_between_two_requests(s3: Server, s3_url: str) -> None:
    """The one under way comes to its end; the commit is there, or is not, and the store goes on."""
    with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port)) as store:
        written = fill(store, 3)

        def interrupt(number: int, request: Request) -> str:
            proxy.choose = lambda number, request: ""
            os.kill(os.getpid(), signal.SIGINT)
            return ""

        mine = batch("r", 3, owner=owner("a"))
        proxy.choose = interrupt
        with pytest.raises(KeyboardInterrupt):
            one(store, mine)
        found = contents(store)
        assert found in ([each.records[0] for each in written], [each.records[0] for each in (*written, mine)])
        assert one(store, batch("r", len(found), owner=owner("a"))) == len(found) + 1


# Merges and deletions that break off


def broken_off(start: int, how: str) -> Callable[[int, Request], str]:
    """The network is gone from a request on, or only the answers to it and to all that follow."""
    count = [0]

    def choose(number: int, request: Request) -> str:
        count[0] += 1
        return how if count[0] > start else ""

    return choose


@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("start", [1, 3, *(pytest.param(n, marks=DEEP) for n in (0, 2, 4, 5, 6, 40))])
@pytest.mark.parametrize("work", ["merge", "delete"])
def test_a_merge_or_deletion_that_breaks_off_loses_nothing(
    s3: Server, s3_url: str, *, work: str, start: int, how: str
) -> None:
    """Old or new or both are there, never half; and afterwards both can be done again."""
    with S3Store(s3_url) as direct:
        written = fill(direct, 63 if work == "merge" else 40)
        with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port), timeout=0.6) as store:
            if work == "merge":
                run = store._run("r")
                proxy.choose = broken_off(start, how)
                call: Callable[[], object] = run.merge
            else:
                assert store.renew("r", "a", 60.0)  # it is checked
                proxy.choose = broken_off(start, how)
                call = lambda: store.delete("r")  # noqa: E731
            with pytest.raises(Exception, match=r"connection|sending request|no answer in time"):
                call()
    with S3Store(s3_url) as after:
        now = after.summary("r")
        assert now is not None
        alive = now.status == "running"
        assert alive or work == "delete"
        assert now.position == len(written) + (not alive)
        records = [each.records[0] for each in written] if alive else []
        assert contents(after) == records
        assert isinstance(one(after, batch("r", len(written) - 1)), PositionConflict)
        more = [each.records[0] for each in fill(after, 70, start=now.position)]
        assert contents(after) == records + more
        after.delete("r")
        assert contents(after) == []
        assert len(packs(s3, s3_url)) == 2


@pytest.mark.parametrize("start", [4, 30])
def test_a_deletion_that_broke_off_is_completed_when_it_is_repeated(s3: Server, s3_url: str, start: int) -> None:
    """Nothing of what was deleted stays in the bucket."""
    with S3Store(s3_url) as direct:
        fill(direct, 40)
        assert one(direct, batch("r", 40, blobs=[(b"large", b"x" * 150_000)], owner=owner("a"))) == 41
        with S3Proxy(s3.port) as proxy, S3Store(through(s3_url, proxy.port), timeout=0.6) as store:
            assert store.renew("r", "a", 60.0)  # it is checked
            proxy.choose = broken_off(start, "before")
            with pytest.raises(Exception, match=r"connection|sending request"):
                store.delete("r")
        assert contents(direct) == []
        direct.delete("r")
        left = [key for key in s3.objects(s3_url) if "r-r" in key]
        assert len(left) == 2, left
        assert all(key.startswith("log/") for key in left)
