"""Workers on PostgreSQL are told of runs at once, by a session that no pooler shares."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

import tau
from tau import RunInterruptedError, RunWaitingError, StateGraph, Stop, pause_node
from tau.operations import serving
from tau.stores.contract import News
from tau.stores.postgres import PostgresStore
from tau.testing import CountingStore

SECONDS = 60.0


def graph_of(store: Any, name: str = "told") -> StateGraph:
    graph = StateGraph(name, store=store)
    graph.add_node("ask", pause_node("fine"))
    graph.set_entry_point("ask")
    graph.set_exit_point("ask")
    return graph


@pytest.fixture
def news(postgres_url: str) -> Any:
    store = PostgresStore(postgres_url)
    graph_of(store).admit({}, run_id="first")
    found = store.listen("told")
    assert found is not None
    yield found
    found.close()
    found.close()
    store.close()


def test_an_admission_an_answer_and_a_release_are_told_and_no_checkpoint_is(news: News, postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        graph = graph_of(store)
        graph.admit({}, run_id="r")
        assert news.wait(SECONDS)
        with pytest.raises(RunWaitingError):
            graph.resume("r")
        assert not news.wait(0.0)
        graph.answer("r", "fine", True)
        assert news.wait(SECONDS)
        graph.resume("r")
        assert not news.wait(0.0)
        with pytest.raises(RunInterruptedError):
            graph.execute({}, run_id="walltime", max_runtime=0.0)
        assert news.wait(SECONDS)
        graph_of(store, "another").admit({}, run_id="other")
        assert not news.wait(0.0)


def test_a_worker_that_waits_takes_a_run_at_once(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would not look by itself before the test gives up."""
    monkeypatch.setattr(serving, "TOLD", 1e6)
    stop = Stop()
    with PostgresStore(postgres_url) as store:
        graph_of(store).admit({}, run_id="first")
        thread = threading.Thread(target=tau.worker, args=(graph_of(store),), kwargs={"stop": stop})
        thread.start()
        try:
            for run_id in ("first", "second"):
                graph_of(store).admit({}, run_id=run_id)
                with pytest.raises(RunWaitingError):
                    graph_of(store).wait(run_id, SECONDS)
        finally:
            stop.set()
            thread.join()


def test_a_session_that_is_lost_is_begun_again(news: News, postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and query like 'listen%'"
        )
    with PostgresStore(postgres_url) as store:
        assert news.wait(SECONDS)  # something may have been missed
        number = 0
        while not news.wait(0.1):
            number += 1
            graph_of(store).admit({}, run_id=f"r{number}")
            assert number < 1000


def test_wrappers_listen_too(postgres_url: str) -> None:
    with PostgresStore(postgres_url) as store:
        graph_of(store).admit({}, run_id="r")
        found = CountingStore(store).listen("told")
        assert found is not None
        found.close()
