"""The whole of the fault proofs of the engine: every point, every mode, both stores. Needs a C compiler."""

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
    """T2: at most ``interval`` nodes are repeated, and only those since the last checkpoint. Each line is struck the
    first and the last time that it is executed."""
    clean(store, "line-kill", "--places", "--interval", interval, *options)


@stores
@pytest.mark.parametrize("mode", ["before", "after", "torn"])
@pytest.mark.parametrize("options", [(), ("--interval", 3, "--delete")], ids=["every node", "interval 3, deleted"])
def test_a_kill_around_any_system_call_repeats_at_most_the_step_in_flight(clean, store, mode, options):
    """T1 inside of nodes, which also leave files: a step that returned is never called again."""
    clean(f"{store}-steps", mode, "--nodes", 3, *options)


@stores
def test_a_kill_at_any_executed_line_repeats_at_most_the_step_in_flight(clean, store):
    """T2 inside of nodes."""
    clean(f"{store}-steps", "line-kill", "--places", "--nodes", 2)


@stores
@pytest.mark.parametrize("error", ["eio-once", "enospc-once", "enospc-forever", "eacces-once", "emfile-once"])
def test_an_error_of_any_system_call_inside_a_node_is_typed_and_loses_nothing(clean, store, error):
    """T4 inside of nodes."""
    clean(f"{store}-steps", error, "--nodes", 1)


@pytest.mark.parametrize("mode", ["before", "after", "torn"])
def test_a_kill_while_a_netcdf_file_is_written_leaves_no_half_file_under_its_name(clean, mode):
    clean("sqlite-netcdf", mode, "--nodes", 1, "--megabytes", 50)


@stores
@pytest.mark.parametrize("mode", ["before", "after", "torn"])
def test_a_second_kill_at_any_system_call_of_any_recovery_loses_nothing(clean, store, mode):
    """T3, for every pair of points of a run of three nodes."""
    clean(store, mode, "--nodes", 3, "--twice")


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
    """T4, for a sample of allocations."""
    clean(store, "memory", "--stride", 97)


@stores
@ends
def test_ctrl_c_at_any_moment_leaks_nothing_and_is_not_swallowed(clean, store, options):
    """T6: and the same process carries on at once."""
    clean(store, "interrupt", *options)


@stores
@pytest.mark.parametrize("options", [(), ("--interval", 3), ("--delete",)], ids=["kept", "interval 3", "deleted"])
def test_cancellation_at_any_await_leaks_nothing_and_is_not_swallowed(clean, store, options):
    """T6."""
    clean(store, "await-cancel", *options)


@pytest.mark.parametrize(("store", "stride"), [("sqlite", 5), ("file", 1)])
def test_any_flipped_bit_is_found_or_harmless(clean, store, stride):
    """T12: the right result, by falling back if need be and then saying so, or a typed error."""
    clean(store, "flip", "--nodes", 3, "--stride", stride)


@stores
@pytest.mark.parametrize(("kind", "stride"), [("cut", 1), ("zero", 1)])
def test_any_truncation_or_zeroed_block_is_found_or_harmless(clean, store, kind, stride):
    """T12."""
    clean(store, kind, "--nodes", 3, "--stride", stride)


@stores
def test_of_thirty_two_that_resume_one_runs(clean, store):
    """T7 at the level of processes."""
    clean(store, "race", "--count", 32, "--rounds", 100)


@stores
def test_a_frozen_owner_cannot_write(clean, store):
    """T8, frozen in a node."""
    clean(store, "zombie", "--rounds", 50)


def test_an_owner_frozen_at_any_system_call_cannot_write(clean):
    """T8, where no lock protects: a frozen writer that goes on must not undo or repeat what its heir did."""
    clean("file", "zombie-calls")
