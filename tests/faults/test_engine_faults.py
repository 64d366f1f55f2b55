"""A sample of the proofs of test_engine_proofs.py that needs no C compiler and takes a minute."""

from __future__ import annotations

import pytest

stores = pytest.mark.parametrize("store", ["sqlite", "file"])


@stores
@pytest.mark.parametrize("options", [(), ("--interval", 3, "--delete")], ids=["every node", "interval 3, deleted"])
def test_a_kill_at_an_executed_line_loses_nothing(clean, store, options):
    clean(store, "line-kill", "--stride", 311, *options)


@stores
@pytest.mark.parametrize("options", [(), ("--interval", 3, "--delete")], ids=["every node", "interval 3, deleted"])
def test_a_kill_inside_a_node_repeats_at_most_the_step_in_flight(clean, store, options):
    clean(f"{store}-steps", "line-kill", "--nodes", 2, "--stride", 607, *options)


def test_a_kill_while_a_netcdf_file_is_published_leaves_no_half_file_under_its_name(clean):
    clean("sqlite-netcdf", "line-kill", "--nodes", 1, "--stride", 149)


@stores
def test_a_second_kill_during_recovery_loses_nothing(clean, store):
    clean(store, "line-kill", "--nodes", 2, "--stride", 1499, "--offset", 731, "--twice", "--second-stride", 211)


@stores
def test_ctrl_c_at_a_moment_leaks_nothing_and_is_not_swallowed(clean, store):
    clean(store, "interrupt", "--stride", 97)


@stores
def test_cancellation_at_every_await_leaks_nothing_and_is_not_swallowed(clean, store):
    clean(store, "await-cancel")


@stores
@pytest.mark.parametrize(("kind", "stride"), [("flip", 1999), ("cut", 401), ("zero", 7)])
def test_damage_is_found_or_harmless(clean, store, kind, stride):
    clean(store, kind, "--nodes", 3, "--stride", stride)


@stores
@pytest.mark.parametrize("options", [(), ("--delete",)], ids=["kept", "deleted"])
def test_of_eight_that_resume_one_runs(clean, store, options):
    clean(store, "race", "--count", 8, "--rounds", 3, *options)


@stores
def test_an_owner_that_was_frozen_and_superseded_cannot_write(clean, store):
    clean(store, "zombie", "--rounds", 1)
