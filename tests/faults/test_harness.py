"""A harness that cannot fail is worth nothing: it must find every bad writer bad, and the good ones good."""

from __future__ import annotations

import pytest

QUICK = [
    ("line-kill", "--stride", 29),
    ("interrupt", "--stride", 29),
    ("flip", "--stride", 499),
    ("cut", "--stride", 97),
    ("zero",),
]
DEEP = ["before", "after", "torn", "lie", "short"] + [
    f"{error}-{span}" for error in ("eio", "enospc", "eacces", "emfile") for span in ("once", "forever")
]


@pytest.mark.parametrize("fault", QUICK, ids=lambda fault: fault[0])
@pytest.mark.parametrize("toy", ["GoodFile", "GoodSQLite"])
def test_a_careful_writer_passes(clean, toy, fault):
    clean(toy, *fault)


def test_a_careful_coroutine_passes_cancellation_at_every_await(clean):
    assert clean("GoodAsync", "await-cancel")["points"] == 8


@pytest.mark.parametrize(
    ("toy", "fault", "complaints"),
    [
        ("BadEarly", ("line-kill", "--stride", 5), ["lost"]),
        ("BadDeaf", ("interrupt", "--stride", 13), ["the interrupt was swallowed"]),
        ("BadLeak", ("interrupt", "--stride", 3), ["descriptors leaked", "files left behind"]),
        ("BadTrusting", ("flip", "--stride", 499), ["a wrong result, and no word of it", "another error came out"]),
        ("BadAsync", ("await-cancel",), ["the interrupt was swallowed"]),
    ],
)
def test_a_careless_writer_is_caught(sweep, toy, fault, complaints):
    figures, findings = sweep(toy, *fault)
    assert figures["findings"] > 0
    assert all(complaint in findings for complaint in complaints)
    assert f"repeat: PYTHONPATH=src python tests/faults {toy} {fault[0]} --point " in findings


@pytest.mark.deep
@pytest.mark.parametrize("fault", DEEP)
@pytest.mark.parametrize("toy", ["GoodFile", "GoodSQLite"])
def test_a_careful_writer_passes_faults_of_system_calls(clean, toy, fault):
    clean(toy, fault)


@pytest.mark.deep
@pytest.mark.parametrize("mode", ["before", "torn"])
def test_a_careful_writer_passes_a_second_crash_in_every_recovery(clean, mode):
    clean("GoodFile", mode, "--twice")


@pytest.mark.deep
@pytest.mark.parametrize(
    ("toy", "fault", "complaint"),
    [
        ("BadInPlace", "before", "not recovered"),
        ("BadInPlace", "torn", "not recovered"),
        ("BadEarly", "after", "lost"),
        ("BadSwallow", "enospc-forever", "lost or repeated"),
        ("BadSwallow", "emfile-forever", "lost or repeated"),
        ("BadLeak", "eio-once", "descriptors leaked"),
        ("BadLeak", "enospc-once", "files left behind"),
        ("BadLeak", "short", "not recovered"),
        ("BadTrusting", "lie", "not recovered"),
    ],
)
def test_a_careless_writer_is_caught_by_faults_of_system_calls(sweep, toy, fault, complaint):
    figures, findings = sweep(toy, fault)
    assert figures["findings"] > 0
    assert complaint in findings


@pytest.mark.deep
def test_the_library_sees_the_calls_of_python_and_of_sqlite(sweep):
    assert {"create", "write", "fsync", "rename"} <= kinds(sweep("GoodFile", "before", "--list")[1])
    database = kinds(sweep("GoodSQLite", "before", "--list")[1])
    assert {"create", "pwrite", "fdatasync", "unlink"} <= database


def kinds(listing):
    return {line.split()[2] for line in listing.splitlines()}
