"""A map whose items are called in worker processes: a kill, a crash, a timeout cost the item they are at."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import process_tasks as tasks
import pytest
from telling import struck_at, told

from tau import (
    ConfigError,
    ExecutorError,
    NodeTimeoutError,
    ParallelConfig,
    ParallelError,
    RemoteError,
    Retry,
    TauError,
    UnserializableError,
    WorkerError,
)
from tau import process_parallel as process
from tau.observers import Recorder

LONG = 60.0  # for what comes soon, unless something is broken


def config(**options: Any) -> ParallelConfig:
    return ParallelConfig(executor="processes", **{"max_workers": 2, "observer": None, **options})


ONE = config(max_workers=1)


def until(holds: Callable[[], Any]) -> Any:
    ends = time.monotonic() + LONG
    while not (found := holds()):
        assert time.monotonic() < ends
        time.sleep(0.01)
    return found


async def soon(holds: Callable[[], Any]) -> None:
    """`until` for an event loop."""
    async with asyncio.timeout(LONG):
        while not holds():
            await asyncio.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def lines(place: Path) -> list[str]:
    return place.read_text().splitlines() if place.exists() else []


def test_items_are_called_in_other_processes_which_are_kept_and_ended() -> None:
    pids = set(process(range(50), tasks.pid, config()).results)
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    assert all(is_gone(pid) for pid in pids)


def test_results_come_in_the_order_of_the_items() -> None:
    assert process(range(200), tasks.same, config()).results == [*range(200)]
    assert process([], tasks.same, config()).results == []


def test_events_are_those_of_any_map() -> None:
    recorder = Recorder()
    process([1], tasks.same, config(observer=recorder, max_workers=0))
    types = [type_ for type_, _ in told(recorder)]
    assert types == ["parallel.start", "worker.start", "worker.complete", "parallel.complete"]


@pytest.mark.parametrize(
    "value", [(1, {2}), 2**100, {"a": [None, b"\0"]}, tasks.Plain(3), [tasks.Plain(1), (2,)], "\ud800", float("inf")]
)
def test_values_come_back_exactly_by_codecs_or_pickled(value: Any) -> None:
    [(_, kind, said)] = process([value], tasks.named, ONE).results
    assert (kind, said) == (type(value).__name__, repr(value))
    assert process([value], tasks.same, ONE).results == [value]


def test_an_item_of_a_class_that_is_registered_here_only_travels_too() -> None:
    tasks.register_in_parent()
    assert process([tasks.Registered(3)], tasks.same, ONE).results == [tasks.Registered(3)]


# Functions.


def test_a_function_that_cannot_be_imported_is_sent_whole_with_cloudpickle() -> None:
    more = 10
    assert process([1, 2], lambda item: item + more, ONE).results == [11, 12]


def test_without_cloudpickle_such_a_function_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cloudpickle", None)

    def inner(item: int) -> int:
        return item

    with pytest.raises(ConfigError, match=r"cannot import .*inner.* at the top level of a module .*pip install clou"):
        process([1], inner, ONE)


def test_a_function_that_holds_what_cannot_be_sent_is_named() -> None:
    lock = threading.Lock()

    def locks(item: int) -> bool:
        return lock.locked()

    with pytest.raises(ConfigError, match=r"locks cannot be sent to worker processes, as it holds .*lock"):
        process([1], locks, ONE)


SCRIPT = """
from tau import ParallelConfig, process_parallel
from dataclasses import dataclass

@dataclass
class Box:
    number: int

def double(box):
    return Box(2 * box.number)

def main():
    config = ParallelConfig(executor="processes", max_workers=1, observer=None)
    print(process_parallel([Box(1), Box(2)], double, config).results)
"""


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False, **options)


def test_a_function_of_a_script_works(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{SCRIPT}\nif __name__ == '__main__':\n    main()\n")
    assert run(str(script), cwd="/").stdout == "[Box(number=2), Box(number=4)]\n"
    assert run("-m", "script", cwd=tmp_path).stdout == "[Box(number=2), Box(number=4)]\n"


def test_a_function_of_a_session_without_a_file_is_sent_whole() -> None:
    done = run("-", input=f"{SCRIPT}\nmain()\n")
    assert done.stdout == "[Box(number=2), Box(number=4)]\n", done.stderr


def test_a_script_that_starts_its_work_when_it_is_imported_is_told_so(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(f"{SCRIPT}\nmain()\n")
    done = run(str(script))
    assert done.returncode == 1
    assert "put what starts the work under `if __name__ == '__main__':`" in done.stderr


def test_a_module_that_no_import_finds_is_loaded_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "late.py").write_text("def double(item):\n    return 2 * item\n")
    program = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("late__target", sys.argv[1])
sys.modules["late__target"] = late = importlib.util.module_from_spec(spec)
spec.loader.exec_module(late)
from tau import ParallelConfig, process_parallel
print(process_parallel([1, 2], late.double, ParallelConfig(executor="processes", observer=None)).results)
"""
    done = run("-c", program, str(tmp_path / "late.py"))
    assert done.stdout == "[2, 4]\n", done.stderr


def test_a_function_that_is_another_one_by_now_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "edited_task.py").write_text("def task(item):\n    return item\n")
    import edited_task  # type: ignore[import-not-found]

    (tmp_path / "edited_task.py").write_text("def task(item):\n    return item + 1\n")
    with pytest.raises(ExecutorError, match=r"edited_task.task is another function in the worker"):
        process([1], edited_task.task, ONE)


def test_a_module_that_cannot_be_imported_there_ends_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "broken_task.py").write_text("def task(item):\n    return item\n")
    import broken_task  # type: ignore[import-not-found]

    (tmp_path / "broken_task.py").write_text("raise RuntimeError('no licence')\n")
    with pytest.raises(ExecutorError, match="cannot begin: no licence") as caught:
        process(range(100), broken_task.task, config(fail_fast=False))
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_module_that_crashes_at_its_import_ends_the_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "crashing_task.py").write_text("def task(item):\n    return item\n")
    import crashing_task  # type: ignore[import-not-found]

    (tmp_path / "crashing_task.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(ExecutorError, match=r"3 worker processes .* the last .* was killed by SIGSEGV"):
        process(range(100), crashing_task.task, config(fail_fast=False))


def test_no_interpreter_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ExecutorError, match="no worker process can be started") as caught:
        process(range(100), tasks.same, config(fail_fast=False))
    assert isinstance(caught.value.__cause__, OSError)


# Deaths.


def test_a_worker_that_is_killed_costs_its_item_which_is_tried_on_another(tmp_path: Path) -> None:
    place = tmp_path / "tries"
    items = [(number, str(place)) for number in range(6)]
    assert process(items, tasks.die_once, config()).results == [0, -1, -2, -3, -4, -5]
    first, second = lines(place)
    assert first != second


def test_an_item_that_kills_its_worker_twice_is_an_error_that_names_it() -> None:
    result = process(range(5), tasks.die, config(fail_fast=False, retry=Retry(attempts=5, delay=0.0)))
    assert result.results == [0, -1, -3, -4]
    [error] = result.errors
    assert (error.index, error.item) == (2, 2)
    assert isinstance(error.error, WorkerError)
    assert error.error.deaths == 2
    assert "item 2: it was tried 2 times" in str(error)
    assert "killed by SIGKILL" in str(error)


def test_a_function_that_exits_is_such_a_death_too() -> None:
    with pytest.raises(ParallelError, match=r"item 0: .*exited with 3"):
        process([0], tasks.leave, ONE)


@pytest.mark.deep
def test_however_workers_are_killed_every_item_has_its_end(tmp_path: Path) -> None:
    """One every second, whatever it is at."""
    numbers, over, killed = random.Random(7), threading.Event(), []

    def kills() -> None:
        while not over.wait(numbers.uniform(0.0, 2.0)):
            if workers := [int(path.name) for path in tmp_path.iterdir() if not is_gone(int(path.name))]:
                killed.append(numbers.choice(workers))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kills)
    thread.start()
    try:
        result = process(
            [(number, str(tmp_path)) for number in range(2000)], tasks.slowly, config(max_workers=3, fail_fast=False)
        )
    finally:
        over.set()
        thread.join()
    assert len(killed) > 3
    assert result.results == [one.index for one in result.outcomes if one.status == "done"]
    assert all(isinstance(one.error, WorkerError) for one in result.errors)
    assert len(result.results) + len(result.errors) == 2000
    assert len(result.errors) < 20


# Time.


def test_the_time_of_an_item_is_a_hard_stop_and_it_may_be_tried_again(tmp_path: Path) -> None:
    """Also in the middle of C code that lets nobody else run."""
    place = tmp_path / "tries"
    items = [(number, str(place)) for number in range(3)]
    retried = config(timeout=1.0, retry=Retry(attempts=2, delay=0.0))
    assert process(items, tasks.busy_once, retried).results == [0, -1, -2]
    first, second = lines(place)
    assert first != second
    assert is_gone(int(first))


def test_an_item_that_takes_too_long_fails_and_takes_along_what_it_has_started(tmp_path: Path) -> None:
    place = tmp_path / "children"
    with pytest.raises(ParallelError, match="did not finish within its timeout of 2 s") as caught:
        process([str(place)], tasks.with_child, config(timeout=2.0))
    assert isinstance(caught.value.__cause__, NodeTimeoutError)
    [child] = lines(place)
    until(lambda: is_gone(int(child)))


def test_what_an_item_leaves_running_ends_with_the_map_unless_it_has_a_session_of_its_own() -> None:
    *children, apart = process([False, None, True], tasks.leaves_a_child, ONE).results
    try:
        until(lambda: all(map(is_gone, children)))
        assert not is_gone(apart)
    finally:
        os.kill(apart, signal.SIGKILL)


# Errors.


def test_an_error_comes_back_as_what_it_is_with_its_frames() -> None:
    with pytest.raises(ParallelError) as caught:
        process([3], tasks.fail, ONE)
    error = caught.value.errors[0].error
    assert isinstance(error, ConnectionError)
    assert str(error) == "no line 3"
    assert "process_tasks.py" in str(error.__cause__)
    assert "in fail" in str(error.__cause__)
    assert "worker.py" not in str(error.__cause__)


def test_a_retry_knows_an_error_of_another_process(tmp_path: Path) -> None:
    retried = config(retry=Retry(attempts=2, delay=0.0, on=(ConnectionError,)))
    assert process([str(tmp_path / "tries")], tasks.fail_once, retried).results == [7]


def test_an_error_that_cannot_be_sent_comes_as_its_type_text_and_frames() -> None:
    with pytest.raises(ParallelError) as caught:
        process([3], tasks.fail_oddly, ONE)
    error = caught.value.errors[0].error
    assert isinstance(error, RemoteError)
    assert str(error) == "process_tasks.Odd: 3: odd"
    assert error.type_name == "process_tasks.Odd"
    assert "in fail_oddly" in error.frames


def test_whatever_ends_a_process_is_the_failure_of_its_item() -> None:
    with pytest.raises(ParallelError, match="item 0: over") as caught:
        process([0], tasks.exit_in, ONE)
    assert isinstance(caught.value.errors[0].error, SystemExit)


def test_what_cannot_be_sent_is_the_failure_of_its_item() -> None:
    with pytest.raises(ParallelError, match=r"the item cannot be sent .*lock") as caught:
        process([threading.Lock()], tasks.same, ONE)
    assert isinstance(caught.value.errors[0].error, UnserializableError)
    with pytest.raises(ParallelError, match=r"what it returned cannot be sent .*lock") as caught:
        process([1], tasks.unsendable, ONE)
    assert isinstance(caught.value.errors[0].error, UnserializableError)


def test_the_first_failure_ends_the_whole() -> None:
    with pytest.raises(ParallelError, match="no line 1") as caught:
        process(range(1000), tasks.fail, config())
    assert sum(one.status == "not_run" for one in caught.value.result.outcomes) > 900


# What surrounds it.


def test_outside_of_a_node_there_is_no_context_and_a_map_may_be_nested() -> None:
    assert "no node is running here" in process([0], tasks.nowhere, ONE).results[0]
    assert process([3], tasks.nested, ONE).results == [[0, 1, 2]]


def test_libraries_of_a_worker_use_its_share_of_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    items = ["OMP_NUM_THREADS", "MKL_NUM_THREADS"]
    assert process(items, tasks.environment, config(max_workers=64)).results == ["1", "7"]


def test_what_asks_a_run_to_stop_does_not_end_its_workers() -> None:
    """A batch system signals every process of a job."""
    assert len(set(process(range(3), tasks.signalled, ONE).results)) == 1


def test_a_child_that_a_function_forks_off_ends_without_going_on() -> None:
    pids = process(range(3), tasks.forks, ONE).results
    assert len(set(pids)) == 1


def test_a_child_that_the_caller_forks_off_is_refused_and_leaves_the_workers_alone() -> None:
    parent, children = os.getpid(), []

    def progress(done: int, total: int | None, result: int) -> None:
        child = os.fork()
        if child:
            children.append(child)

    try:
        result = process(range(3), tasks.same, ONE, progress)
    except TauError as error:
        os._exit(7 if os.getpid() != parent and "forked off" in str(error) else 8)
    finally:
        if os.getpid() != parent:
            os._exit(9)
    assert result.results == [0, 1, 2]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [7, 7, 7]


def test_what_the_caller_forks_off_does_not_keep_workers_from_ending() -> None:
    reading, writing = os.pipe()
    children = []

    def progress(done: int, total: int | None, result: int) -> None:
        child = os.fork()
        if not child:
            os.read(reading, 1)
            os._exit(0)
        children.append(child)

    pids = process(range(3), tasks.pid, ONE, progress).results
    assert all(is_gone(pid) for pid in pids)
    os.write(writing, b"...")
    for child in children:
        os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize("start", [1, 40, 80, 120, 160, 200])
def test_an_interrupt_at_a_line_of_the_caller_comes_out_and_leaves_no_process(start: int) -> None:
    try:
        with struck_at(start):
            result = process(range(3), tasks.same, ONE)
    except KeyboardInterrupt:
        return
    assert result.results == [0, 1, 2]


# Event loops.


async def test_an_async_function_is_awaited_there() -> None:
    assert (await process(range(20), tasks.same_later, config())).results == [*range(20)]


async def test_a_cancellation_ends_its_processes_at_once(tmp_path: Path) -> None:
    place = tmp_path / "pids"
    task = asyncio.create_task(process([str(place)] * 2, tasks.sleep_long, config()))
    await soon(lambda: len(lines(place)) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert all(is_gone(int(pid)) for pid in lines(place))


async def test_the_time_of_an_async_item_is_a_hard_stop_too(tmp_path: Path) -> None:
    with pytest.raises(ParallelError, match="did not finish within its timeout of 1 s"):
        await process([str(tmp_path / "pids")], tasks.sleep_long, config(timeout=1.0))


async def test_a_sync_function_may_be_mapped_beside_a_running_loop() -> None:
    assert process([1, 2], tasks.same, ONE).results == [1, 2]
    assert (await asyncio.to_thread(process, [1, 2], tasks.same, ONE)).results == [1, 2]


# Ctrl-C and kills of the caller, from outside.

PROGRAM = """
import os, sys, time
from tau import ParallelConfig, ParallelError, process_parallel

def work(item):
    with open(sys.argv[1], "a") as file:
        file.write(f"{os.getpid()}\\n")
    if sys.argv[2] == "busy":
        sum(range(10**13))
    while not os.path.exists(sys.argv[1] + ".go"):
        time.sleep(0.01)
    return item

if __name__ == "__main__":
    try:
        process_parallel(range(8), work, ParallelConfig(executor="processes", max_workers=2, observer=None))
    except KeyboardInterrupt as error:
        print([one.status for one in error.__cause__.result.outcomes], flush=True)
        raise SystemExit(9)
"""


@pytest.fixture
def started(tmp_path: Path) -> Any:
    programs = []

    def start(how: str) -> tuple[subprocess.Popen[str], Path]:
        script, place = tmp_path / "program.py", tmp_path / "pids"
        script.write_text(PROGRAM)
        command = [sys.executable, str(script), str(place), how]
        program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        programs.append(program)
        until(lambda: len(lines(place)) == 2)
        return program, place

    yield start
    for program in programs:
        if program.poll() is None:
            program.kill()
        program.communicate()


def test_after_ctrl_c_what_runs_is_waited_for_and_nothing_else_begins(started: Any) -> None:
    program, place = started("patient")
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to all that is in the foreground
    place.with_name("pids.go").write_text("")
    said, _ = program.communicate(timeout=LONG)
    assert program.returncode == 9
    assert said.strip() == str(["done", "done", *["not_run"] * 6])


def test_another_ctrl_c_ends_the_workers_at_once(started: Any) -> None:
    program, place = started("busy")
    os.killpg(program.pid, signal.SIGINT)
    ends = time.monotonic() + LONG
    while program.poll() is None and time.monotonic() < ends:
        os.killpg(program.pid, signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            program.wait(0.3)
    assert program.returncode is not None
    assert all(is_gone(int(pid)) for pid in lines(place))


@pytest.mark.parametrize("how", ["patient", "busy"])
def test_a_caller_that_is_killed_takes_its_workers_along(started: Any, how: str) -> None:
    program, place = started(how)
    program.kill()
    program.wait()
    for pid in lines(place):
        until(lambda pid=pid: is_gone(int(pid)))  # type: ignore[misc]
