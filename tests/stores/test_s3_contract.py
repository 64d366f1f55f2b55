"""The S3 store keeps every clause of the contract on a real HTTP server: as it is, of two processes, and when requests
and replies get lost."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from remote import RemoteStore, start

from s3_server import Server
from tau.stores.contract import Store
from tau.stores.s3 import S3Store
from tau.testing.store_contract.stateful import StoreMachine
from tau.testing.store_contract.suite import FlakyStore, RetryingStore, StoreContract
from tau.testing.store_contract.verb_clauses import VerbClauses


class Places:
    """One bucket for all, a new one where a new place is met."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.place: Path | None = None
        self.url = ""

    def prepare(self, place: Path) -> str:
        assert self.server is not None
        if place != self.place:
            self.url = self.server.empty()
            self.place = place
        return self.url


PLACES = Places()


@pytest.fixture(autouse=True, scope="module")
def served(s3: Server) -> None:
    PLACES.server = s3


class TestS3(StoreContract):
    forgets = True
    large = 300_000

    def make_store(self, tmp_path: Path) -> Store:
        return S3Store(PLACES.prepare(tmp_path))


@pytest.mark.deep
class TestS3OfTwoProcesses(VerbClauses):
    """The second one calls every verb at every position of a run that the first one works on."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with S3Store(PLACES.prepare(tmp_path)) as store:
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
class TestFlakyS3(TestS3):
    def make_store(self, tmp_path: Path) -> Store:
        return RetryingStore(FlakyStore(super().make_store(tmp_path), seed=1, probability=0.2))


class S3Machine(StoreMachine):
    def make_store(self, path: Path) -> Store:
        return S3Store(PLACES.prepare(path))


def with_settings(chosen: settings) -> type:
    case: type = S3Machine.TestCase
    return type(case.__name__, (case,), {"settings": chosen})


QUICK = settings(
    max_examples=2, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
TestMachine = with_settings(QUICK)
TestMachineDeep = pytest.mark.deep(
    with_settings(settings(QUICK, max_examples=15, stateful_step_count=40, derandomize=False))
)
