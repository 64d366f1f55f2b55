"""The fault proofs of the engine: every mode, both stores; every system call, and of the many lines, moments, pairs and
bits a sample that turns with the date, so that all are struck in time. Needs a C compiler.

Without ``--sample``, ``python tests/faults`` strikes every point.
"""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.deep

KEPT, DELETED = (), ("--delete",)
stores = pytest.mark.parametrize("store", ["sqlite", "file"])
ends = pytest.mark.parametrize("options", [KEPT, DELETED], ids=["kept", "deleted"])


@stores
@ends
@pytest.mark.parametrize("mode", ["before", "after", "torn"])
def test_a_kill_around_any_system_call_loses_nothing(clean, store, mode, options):
    """T1: at most the node in flight is repeated, the result is identical, nothing is left behind."""
    clean(store, mode, *options)


@stores
@ends
@pytest.mark.parametrize("interval", [1, 3])
def test_a_kill_at_any_executed_line_loses_nothing(clean, store, interval, options):
    """T2: at most ``interval`` nodes are repeated, and only those since the last checkpoint. A line is struck the first
    and the last time that it is executed."""
    clean(store, "line-kill", "--places", "--interval", interval, "--sample", 300, *options)


@stores
@pytest.mark.parametrize("mode", ["before", "after", "torn"])
@pytest.mark.parametrize("options", [(), ("--interval", 3, "--delete")], ids=["every node", "interval 3, deleted"])
def test_a_kill_around_any_system_call_repeats_at_most_the_step_in_flight(clean, store, mode, options):
    """T1 inside of nodes, which also leave files: a step that returned is never called again."""
    clean(f"{store}-steps", mode, "--nodes", 3, *options)


@stores
def test_a_kill_at_any_executed_line_repeats_at_most_the_step_in_flight(clean, store):
    """T2 inside of nodes."""
    clean(f"{store}-steps", "line-kill", "--places", "--nodes", 2, "--sample", 400)


@stores
@pytest.mark.parametrize("error", ["eio-once", "enospc-once", "enospc-forever", "eacces-once", "emfile-once"])
def test_an_error_of_any_system_call_inside_a_node_is_typed_and_loses_nothing(clean, store, error):
    """T4 inside of nodes."""
    clean(f"{store}-steps", error, "--nodes", 1)


@pytest.mark.parametrize("mode", ["before", "after", "torn"])
def test_a_kill_while_a_netcdf_file_is_written_leaves_no_half_file_under_its_name(clean, mode):
    clean("sqlite-netcdf", mode, "--nodes", 1, "--megabytes", 50, "--sample", 40)


@stores
@pytest.mark.parametrize("mode", ["before", "after", "torn"])
def test_a_second_kill_at_any_system_call_of_any_recovery_loses_nothing(clean, store, mode):
    """T3, for pairs of points of a run of three nodes: all second ones of some first ones."""
    clean(store, mode, "--nodes", 3, "--twice", "--sample", 20)


@stores
@pytest.mark.parametrize("span", ["once", "forever"])
@pytest.mark.parametrize("error", ["eio", "enospc", "eacces", "emfile"])
def test_an_error_of_any_system_call_is_typed_and_loses_nothing(clean, store, error, span):
    """T4: a typed error or the right result; no descriptor and no temporary file stays; the run can be resumed."""
    clean(store, f"{error}-{span}")


@stores
def test_a_system_call_that_lies_never_leads_to_a_wrong_result(clean, store):
    """F27."""
    clean(store, "lie")


@stores
def test_a_short_write_is_completed(clean, store):
    clean(store, "short")


@stores
def test_memory_that_runs_out_at_an_allocation_loses_nothing(clean, store):
    """T4."""
    clean(store, "memory", "--sample", 400)


@stores
@ends
def test_ctrl_c_at_any_moment_leaks_nothing_and_is_not_swallowed(clean, store, options):
    """T6: and the same process carries on at once."""
    clean(store, "interrupt", "--places", "--sample", 250, *options)


@stores
@pytest.mark.parametrize("options", [(), ("--interval", 3), ("--delete",)], ids=["kept", "interval 3", "deleted"])
def test_cancellation_at_any_await_leaks_nothing_and_is_not_swallowed(clean, store, options):
    """T6."""
    clean(store, "await-cancel", *options)


@stores
def test_any_flipped_bit_is_found_or_harmless(clean, store):
    """T12: the right result, by falling back if need be and then saying so, or a typed error."""
    clean(store, "flip", "--nodes", 3, "--sample", 10_000)


@stores
@pytest.mark.parametrize("kind", ["cut", "zero"])
def test_any_truncation_or_zeroed_block_is_found_or_harmless(clean, store, kind):
    """T12."""
    clean(store, kind, "--nodes", 3, "--sample", 5_000)


@stores
def test_of_thirty_two_that_resume_one_runs(clean, store):
    """T7 at the level of processes."""
    clean(store, "race", "--count", 32, "--rounds", 30)


@stores
def test_a_frozen_owner_cannot_write(clean, store):
    """T8, frozen in a node."""
    clean(store, "zombie", "--rounds", 16)


def test_an_owner_frozen_at_any_system_call_cannot_write(clean):
    """T8, where no lock protects: a frozen writer that goes on must not undo or repeat what its heir did."""
    clean("file", "zombie-calls")
