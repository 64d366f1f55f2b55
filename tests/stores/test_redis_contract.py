"""The Redis store keeps every clause of the contract on a real server: direct, of two processes, and when requests and
replies get lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from remote import RemoteStore, start

from redis_server import Server
from tau.stores.contract import Store
from tau.stores.redis import RedisStore
from tau.testing.store_contract.stateful import StoreMachine
from tau.testing.store_contract.suite import FlakyStore, RetryingStore, StoreContract
from tau.testing.store_contract.verb_clauses import VerbClauses


class Places:
    """One database for all, emptied where a new place is met."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.place: Path | None = None

    def url(self, place: Path) -> str:
        assert self.server is not None
        if place != self.place:
            self.server.empty()
            self.place = place
        return self.server.url()


PLACES = Places()


@pytest.fixture(autouse=True, scope="module")
def served(redis: Server) -> None:
    PLACES.server = redis


class TestRedis(StoreContract):
    forgets = True

    def make_store(self, tmp_path: Path) -> Store:
        return RedisStore(PLACES.url(tmp_path))


class TestRedisOfTwoProcesses(VerbClauses):
    """The second one calls every verb at every position of a run that the first one works on."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with RedisStore(PLACES.url(tmp_path)) as store:
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
class TestFlakyRedis(TestRedis):
    def make_store(self, tmp_path: Path) -> Store:
        return RetryingStore(FlakyStore(super().make_store(tmp_path), seed=1, probability=0.2))


class RedisMachine(StoreMachine):
    def make_store(self, path: Path) -> Store:
        return RedisStore(PLACES.url(path))


def with_settings(chosen: settings) -> type:
    case: type = RedisMachine.TestCase
    return type(case.__name__, (case,), {"settings": chosen})


QUICK = settings(
    max_examples=6, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestMachine = with_settings(QUICK)
TestMachineDeep = pytest.mark.deep(
    with_settings(settings(QUICK, max_examples=200, stateful_step_count=50, derandomize=False))
)
