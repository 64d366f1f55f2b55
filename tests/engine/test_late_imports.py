"""What tau imports at its first use is imported whole, whatever signals, forks and other imports come meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 60

# What the programs below share. `during` calls once when a file's code begins, in the thread that imports it: the
# module's lock is held then, and the module is empty.
START = """
import os, signal, sys, threading
import tau
from tau import StateGraph, open_store
from tau.late_imports import load_module

class Mine(Exception):
    pass

def during(end, work):
    def hook(event, arguments):
        if event == "exec" and arguments[0].co_filename.endswith(end) and work:
            work.pop()()
    work = [work]
    sys.addaudithook(hook)

called = threading.Event()

def strike():
    signal.raise_signal(signal.SIGALRM)
    assert called.wait(20)

def execute(run_id):
    graph = StateGraph("g", store="sqlite:///runs.db")
    graph.add_node("a", lambda state, ctx: {"x": ctx.step("s", abs, -1)})
    graph.set_entry_point("a")
    graph.set_exit_point("a")
    return graph.execute({}, run_id=run_id)["x"]
"""


def run(directory: Path, program: str, start: str = START) -> str:
    command = [sys.executable, "-c", start + program]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_interrupt_while_sqlite_is_imported_leaves_it_usable(tmp_path: Path) -> None:
    """apsw, whose own code runs some of Python's meanwhile, cannot be imported again after an error there."""
    program = """
def handler(number, frame):
    called.set()
    raise Mine

def trace(frame, event, argument):  # of the main thread only
    if frame.f_code.co_name == "register" and frame.f_code.co_filename == "<frozen abc>" and "apsw" in sys.modules:
        sys.settrace(None)
        strike()

def hook(event, arguments):
    is_elsewhere = threading.current_thread() is not threading.main_thread()
    if is_elsewhere and event == "import" and arguments[0] == "apsw" and not called.is_set():
        strike()

signal.signal(signal.SIGALRM, handler)
sys.addaudithook(hook)
sys.settrace(trace)
try:
    execute("r")
except Mine:
    print("interrupted", execute("r"))
"""
    assert run(tmp_path, program) == "interrupted 1"


@pytest.mark.parametrize(
    ("end", "call"),
    [
        ("engine/saved_state.py", "store.runs()"),
        ("engine/saved_state.py", "store.load('r').run_id"),
        ("stores/sqlite/store.py", "open_store('sqlite:///other.db').runs()"),
        ("node/steps.py", "execute('other')"),
        ("values/types/collections.py", "save('other')"),
    ],
)
def test_a_handler_that_needs_what_is_being_imported_has_all_of_it(tmp_path: Path, end: str, call: str) -> None:
    program = f"""
import collections

store = open_store("memory:")

def save(run_id):
    store.save(tau.State({{"x": collections.Counter("aa")}}, run_id=run_id))

def handler(number, frame):
    called.set()
    try:
        {call}
        print("handler: done")
    except tau.CheckpointNotFoundError:
        print("handler: done")
    except BaseException as error:
        print("handler:", type(error).__name__, error)

signal.signal(signal.SIGALRM, handler)
during({end!r}, strike)
execute("r")
save("s")
print([row.run_id for row in store.runs() if row.run_id == "s"])
"""
    assert run(tmp_path, program) == "handler: done\n['s']"


def test_a_child_forked_while_another_thread_imports_is_not_kept_waiting(tmp_path: Path) -> None:
    program = """
inside, go = threading.Event(), threading.Event()

def hold():
    inside.set()
    assert go.wait(20)

during("stores/sqlite/store.py", hold)
thread = threading.Thread(target=execute, args=["r"])
thread.start()
assert inside.wait(20)
os.register_at_fork(before=go.set)  # is called before tau's
ours, theirs = os.pipe()
pid = os.fork()
if pid == 0:
    open_store("sqlite:///other.db").runs()
    os.write(theirs, b"done")
    os._exit(0)
thread.join()
import select
print(os.read(ours, 9).decode() if select.select([ours], [], [], 20)[0] else "waits")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
"""
    assert run(tmp_path, program) == "done"


def test_a_child_that_a_handler_forks_in_the_middle_of_an_import_goes_on_with_it(tmp_path: Path) -> None:
    program = """
children = []

def handler(number, frame):
    called.set()
    children.append(os.fork())

signal.signal(signal.SIGALRM, handler)
during("stores/sqlite/store.py", strike)
store = open_store("sqlite:///runs.db")
if children == [0]:
    store.save(tau.State({"x": 1}, run_id="r"))
    os._exit(0)
print(os.waitpid(children[0], 0)[1], store.list())
"""
    assert run(tmp_path, program) == "0 ['r']"


def test_an_interrupted_import_comes_to_its_end_and_the_program_waits_for_it(tmp_path: Path) -> None:
    (tmp_path / "held.py").write_text(
        "import __main__\n__main__.strike()\nsum(range(10**7))\nprint('whole', flush=True)"
    )
    program = """
def handler(number, frame):
    called.set()
    raise Mine

signal.signal(signal.SIGALRM, handler)
try:
    load_module("held")
except Mine:
    print("interrupted", flush=True)
"""
    assert sorted(run(tmp_path, program).split()) == ["interrupted", "whole"]


def test_an_error_of_the_module_comes_out(tmp_path: Path) -> None:
    (tmp_path / "wrong.py").write_text("import of_no_package")
    program = """
for _ in range(2):
    try:
        load_module("wrong")
    except ModuleNotFoundError as error:
        print(error.name)
"""
    assert run(tmp_path, program).split() == ["of_no_package"] * 2


def test_what_is_called_in_the_middle_of_an_import_of_tau_may_import_more_of_it(tmp_path: Path) -> None:
    """Another thread would wait for this one, and this one for it."""
    program = """
import sys

def hook(event, arguments):
    if event == "exec" and arguments[0].co_filename.endswith("tau/events.py"):
        from tau.late_imports import load_module
        print(load_module("tau.log.committer").__name__)

sys.addaudithook(hook)
import tau
"""
    assert run(tmp_path, program, start="") == "tau.log.committer"


def test_a_module_of_the_user_may_run_a_graph_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(START + "x = execute('r')")
    assert run(tmp_path, "import mine; print(mine.x)", start="") == "1"


def test_where_no_thread_can_be_had_the_import_is_made_in_place(tmp_path: Path) -> None:
    """Of stacks that large the system has none."""
    program = "threading.stack_size(1 << 50); print(load_module('tau.stores.sqlite').__name__)"
    assert run(tmp_path, program) == "tau.stores.sqlite"


def test_a_child_forked_before_its_import_has_begun_makes_it_itself(tmp_path: Path) -> None:
    """A handler forks while its own thread waits for one that waits for the import of a third."""
    (tmp_path / "held.py").write_text("import __main__\n__main__.hold()")
    (tmp_path / "other.py").write_text("")
    program = """
from tau import late_imports
late_imports._PATIENCE = 0.5
inside, go, children = threading.Event(), threading.Event(), []

def hold():
    inside.set()
    assert go.wait(20)

def handler(number, frame):
    children.append(os.fork())
    go.set()
    if children == [0]:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)

def trace(frame, event, argument):
    if frame.f_code.co_filename.endswith("tau/waiting.py") and frame.f_code.co_name == "wait":
        sys.settrace(None)
        signal.raise_signal(signal.SIGALRM)

signal.signal(signal.SIGALRM, handler)
holder = threading.Thread(target=load_module, args=["held"])
holder.start()
assert inside.wait(20)
sys.settrace(trace)
load_module("other")
if children == [0]:
    os._exit(0)
holder.join()
print(os.waitpid(children[0], 0)[1])
"""
    assert run(tmp_path, program) == "0"
