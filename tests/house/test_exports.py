"""The public names are a list that is tested (docs/design.md, section 9)."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys

import pytest

import tau
import tau.errors

CORE = {
    "State", "StateGraph", "Context", "GraphConfig", "CheckpointConfig", "Retry", "Stop", "Artifact", "Checkpoint",
    "ResumePlan", "Summary", "OpenPause", "Verification", "Damage", "__version__",
}  # fmt: skip
PREDICATES = {"always", "key_exists", "key_equals", "not_", "and_", "or_"}
FUNCTIONS = {
    "stop_on", "current", "open_store", "register_store", "register_observer", "register_type", "Event", "START", "END",
    "check",
}  # fmt: skip
WORKFLOWS = {
    "process_chain", "ChainConfig", "ChainResult", "process_parallel", "ParallelConfig", "ParallelResult",
    "process_conditional", "ConditionalConfig", "Routes", "branches_node", "graph_node", "chain_node", "parallel_node",
    "conditional_node", "pause_node",
}  # fmt: skip
MODULES = {"agents", "hub", "observers", "testing"}
ERRORS = {
    name
    for name, value in vars(tau.errors).items()
    if inspect.isclass(value) and issubclass(value, tau.errors.TauError)
}
KEEPING = {
    "verify", "Verification", "Damage", "export_run", "import_run", "copy_run", "Transfer", "stats", "Stats",
    "RunFailure", "RunStats", "worker", "WorkerReport", "collect_runs", "Collected", "Removal", "Retention",
}  # fmt: skip
HUB = {"Hub", "Message"}
EXPECTED = HUB | KEEPING | CORE | PREDICATES | FUNCTIONS | WORKFLOWS | MODULES | ERRORS


def test_the_public_names_are_exactly_these() -> None:
    assert set(tau.__all__) == EXPECTED


def test_the_public_names_are_in_order_and_named_once() -> None:
    assert len(tau.__all__) == len(set(tau.__all__))


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_public_name_is_there_and_has_a_docstring(name: str) -> None:
    assert name == "__version__" or inspect.getdoc(getattr(tau, name)), name


def test_dir_lists_the_public_names() -> None:
    assert set(dir(tau)) == EXPECTED


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("tau.stores.sqlite", ["SQLiteStore"]),
        ("tau.stores.file", ["FileStore"]),
        ("tau.stores.memory", ["MemoryStore"]),
        ("tau.stores.postgres", ["PostgresStore"]),
        ("tau.stores.redis", ["RedisStore"]),
        ("tau.stores.s3", ["S3Store"]),
        ("tau.stores.contract", ["Batch", "Lease", "Owner", "PositionConflict", "Query", "Store", "Summary"]),
        ("tau.stores", ["Store", "Summary", "open_store", "register_store"]),
        ("tau.predicates", ["always", "and_", "key_equals", "key_exists", "not_", "or_"]),
        ("tau.cli.demo_pipeline", ["graph"]),
        ("tau.observers", ["Multi", "Recorder", "noop", "notify", "slog", "register_observer", "resolve_observer"]),
        ("tau.events", ["Event", "EVENT_TYPES", "TERMINAL_TYPES"]),
        ("tau.testing", ["StoreContract", "StoreMachine", "simulate", "explore"]),
        ("tau.cli", ["main"]),
        ("tau.agents", ["Agent", "AgentConfig", "Response", "scripted", "function", "no_requests"]),
    ],
)
def test_a_documented_path_stays_importable(module: str, names: list[str]) -> None:
    found = importlib.import_module(module)
    assert not [name for name in names if not hasattr(found, name)]


@pytest.mark.parametrize(
    "verb",
    [
        "execute",
        "resume",
        "aexecute",
        "aresume",
        "astream",
        "plan",
        "history",
        "cancel",
        "answer",
        "pauses",
        "admit",
        "aadmit",
        "wait",
        "await_run",
        "runs",
        "failure",
    ],
)
def test_the_verbs_name_their_keywords(verb: str) -> None:
    """`help` and an editor show them; nothing hides behind ``**options``."""
    parameters = inspect.signature(getattr(tau.StateGraph, verb)).parameters.values()
    assert not [one for one in parameters if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]


def test_what_starts_a_run_takes_the_same_keywords_everywhere() -> None:
    verbs = ("execute", "aexecute", "astream", "resume", "aresume")
    of = {name: set(inspect.signature(getattr(tau.StateGraph, name)).parameters) for name in verbs}
    assert of["execute"] == of["aexecute"] == of["astream"]
    assert of["resume"] == of["aresume"]


def test_the_modules_that_are_loaded_late_are_attributes_as_ever() -> None:
    program = "import tau; print(tau.stores.contract.Store, tau.stores.open_store is tau.open_store, tau.Summary)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "Store'> True <class" in done.stdout


def test_a_type_that_is_loaded_late_is_found_by_those_who_read_annotations() -> None:
    program = "import tau, typing; print(typing.get_type_hints(tau.Artifact)['path'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "<class 'pathlib.Path'>"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        tau.no_such_name


@pytest.mark.parametrize("missing", ["pytest", "hypothesis"])
def test_the_testing_package_can_be_looked_at_without_a_test_framework(missing: str) -> None:
    """Only what needs it says so, once it is used."""
    program = f"""
import pydoc, sys
sys.modules[{missing!r}] = None
import tau.testing
from tau.testing import *
pydoc.render_doc(tau.testing)
assert all(hasattr(tau.testing, name) for name in dir(tau.testing))
simulate, CountingStore
needs = StoreContract if {missing!r} == "pytest" else StoreMachine
for use in (needs, lambda: type("Mine", (needs,), {{}})):
    try:
        use()
    except ModuleNotFoundError as error:
        assert "pip install {missing}" in str(error)
    else:
        raise AssertionError(needs)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
