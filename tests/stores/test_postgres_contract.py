"""The PostgreSQL store keeps every clause of the contract on a real server: direct, through a pooler, of two processes,
and when requests and replies get lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from proxies import Pooler
from remote import RemoteStore, start

from postgres_server import Server
from tau.stores.contract import Store
from tau.stores.postgres import PostgresStore
from tau.testing.store_contract.batches import batch, one
from tau.testing.store_contract.log_clauses import LogClauses
from tau.testing.store_contract.stateful import StoreMachine
from tau.testing.store_contract.suite import FlakyStore, RetryingStore, StoreContract
from tau.testing.store_contract.verb_clauses import VerbClauses


class Places:
    """One database for all, emptied where a new place is met."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.place: Path | None = None

    def prepare(self, place: Path) -> Server:
        assert self.server is not None
        if place != self.place:
            self.server.sql("postgres", "drop schema if exists tau cascade")
            self.place = place
        return self.server


PLACES = Places()


@pytest.fixture(autouse=True, scope="module")
def served(postgres: Server) -> None:
    PLACES.server = postgres


class TestPostgres(StoreContract):
    forgets = True

    def make_store(self, tmp_path: Path) -> Store:
        return PostgresStore(PLACES.prepare(tmp_path).url("postgres"))


class TestPostgresOfTwoProcesses(VerbClauses):
    """The second one calls every verb at every position of a run that the first one works on."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with PostgresStore(PLACES.prepare(tmp_path).url("postgres")) as store:
            yield store

    @pytest.fixture
    def other(self, store: Store, process: subprocess.Popen[bytes]) -> Iterator[Store]:
        with RemoteStore(process, store.location) as other:
            yield other


@pytest.fixture(scope="module")
def process(served: None) -> Iterator[subprocess.Popen[bytes]]:
    process = start()
    yield process
    process.communicate()


@pytest.mark.deep
class TestFlakyPostgres(TestPostgres):
    def make_store(self, tmp_path: Path) -> Store:
        return RetryingStore(FlakyStore(super().make_store(tmp_path), seed=1, probability=0.2))


class _Pooled:
    """Every transaction is in another session than the one before it."""

    @pytest.fixture(scope="class", autouse=True)
    @staticmethod
    def pooled(request: pytest.FixtureRequest, served: None) -> Iterator[None]:
        assert PLACES.server is not None
        with Pooler(("127.0.0.1", PLACES.server.port), "postgres", "postgres") as pooler:
            request.cls.pooler = pooler
            yield
            assert pooler.transactions > 0


class TestPostgresBehindAPooler(_Pooled, LogClauses):
    forgets = True
    pooler: Pooler

    def make_store(self, tmp_path: Path) -> Store:
        return PostgresStore(PLACES.prepare(tmp_path).tcp("postgres", port=self.pooler.port))

    def reopen(self, store: Store, tmp_path: Path) -> Store:
        store.close()
        return self.make_store(tmp_path)

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with self.make_store(tmp_path) as store:
            yield store

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:
        with self.make_store(tmp_path) as other:
            yield other


@pytest.mark.deep
class TestWholePostgresBehindAPooler(_Pooled, StoreContract):
    forgets = True
    pooler: Pooler

    def make_store(self, tmp_path: Path) -> Store:
        return PostgresStore(PLACES.prepare(tmp_path).tcp("postgres", port=self.pooler.port))


class PostgresMachine(StoreMachine):
    def make_store(self, path: Path) -> Store:
        return PostgresStore(PLACES.prepare(path).url("postgres"))


def with_settings(chosen: settings) -> type:
    case: type = PostgresMachine.TestCase
    return type(case.__name__, (case,), {"settings": chosen})


QUICK = settings(
    max_examples=6, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestMachine = with_settings(QUICK)
TestMachineDeep = pytest.mark.deep(
    with_settings(settings(QUICK, max_examples=200, stateful_step_count=50, derandomize=False))
)


def test_a_pooler_is_listened_to_only_past_it(postgres: Server) -> None:
    postgres.empty()
    with Pooler(("127.0.0.1", postgres.port), "postgres", postgres.current) as pooler:
        direct, pooled = postgres.tcp(), postgres.tcp(port=pooler.port)
        with PostgresStore(pooled) as store:
            one(store, batch("r", 0))
            assert store.listen("told") is None
        with PostgresStore(pooled, listen=direct) as store:
            found = store.listen("told")
            assert found is not None
            found.close()
