"""NumPy values of every kind that is stored, and of the kinds that are refused; how each is compared."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

NUMBERS = np.arange(12, dtype="<f8").reshape(3, 4)
NESTED = np.dtype(
    [("id", "<i4"), ("at", "<M8[s]"), ("it's \\ \u20ac \U0001f600", [("x", "<U3"), ("y", ">f4", (2, 2))])]
)
GAPS = np.dtype([("small", "i1"), ("large", "<f8")], align=True)

SCALARS: list[Any] = [
    np.bool_(True),
    np.int8(-5),
    np.uint16(65_535),
    np.int64(-(2**63)),
    np.uint64(2**64 - 1),
    np.longlong(7),
    np.ulonglong(7),
    np.float16(0.1),
    np.float32("nan"),
    np.float64(-0.0),
    np.frombuffer(bytes.fromhex("230100000000f8ff"), "<f8")[0],
    np.complex64(1 - 2j),
    np.complex128(complex(float("nan"), float("-inf"))),
    np.str_("nul\0inside \ud800\0"),
    np.bytes_(b"\xff\0"),
    np.datetime64("2024-02-29T12:00", "s"),
    np.datetime64("NaT"),
    np.datetime64(7, "25D"),
    np.timedelta64(-3, "ns"),
]

ARRAYS: list[Any] = [
    NUMBERS,
    np.asfortranarray(NUMBERS),
    NUMBERS[:, ::2],
    NUMBERS[::-1],
    NUMBERS.T,
    np.array(3.5),
    np.zeros((0, 3), "f4"),
    np.zeros((2, 0, 5)),
    np.array([True, False]),
    np.arange(5, dtype=">i4"),
    np.arange(300, dtype="u1"),
    np.array([1], "q"),
    np.array([2**64 - 1], "Q"),
    np.array([0.1, np.inf], "f2"),
    np.frombuffer(bytes.fromhex("230100000000f8ff"), "<f8"),
    np.array([1 + 2j, np.nan], "c8"),
    np.array(["a", "\u20ac\U0001f600", "\ud800"]),
    np.array([b"a\xff", b""]),
    np.array([b"raw", b""], "V3"),
    np.array(["2024-01-01", "NaT"], "M8[ns]"),
    np.array(["2024-01-01"], ">M8[25s]"),
    np.array([1, 2], "m8[D]"),
    np.array([3], "m8"),
    np.zeros(2, NESTED),
    np.asfortranarray(np.zeros((2, 3), NESTED)),
    np.ones(3, GAPS),
    np.zeros(2, [(("the title", "name"), "<i4"), ("other", "S2")]),
    np.zeros(1, [("a", "<i4", (2,)), ("b", "?")]),
    np.broadcast_to(np.float32(2.5), (3, 4)),
    np.random.default_rng(1).normal(size=(50, 40)),
    np.timedelta64(5),
    np.ma.masked,
    np.zeros(2, NESTED)[0],
    np.void(b"raw\0"),
    np.ma.array([1, 2, 3], mask=[False, True, False]),
    np.ma.array([1.5, 2.5], fill_value=-9.0, hard_mask=True),
    np.ma.array(np.zeros(2, NESTED), mask=np.ma.nomask),
    np.dtype("f8"),
    np.dtype("q"),
    np.dtype(">U5"),
    NESTED,
    GAPS,
]


class Tagged(np.ndarray):
    pass


def in_a_file() -> Any:
    with TemporaryDirectory() as folder:
        return np.memmap(Path(folder) / "a", shape=(2,), mode="w+")


REFUSED: list[tuple[Any, str]] = [
    (np.array([None, {}]), "Python objects"),
    (np.zeros(1, [("a", "O")]), "Python objects"),
    (np.dtype("O"), "Python objects"),
    (np.longdouble(1), "extended precision"),
    (np.zeros(2, "G"), "extended precision"),
    (np.array(["a"], np.dtypes.StringDType()), "variable length"),
    (np.zeros(1, np.dtype("i4", metadata={"unit": "K"})), "metadata"),
    (np.zeros(1, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0]}), "overlap"),
    (np.zeros(1, {"names": ["a"], "formats": ["i4"], "titles": [1]}), "title"),
    (np.zeros(1, [("a", "q")]), "not one that comes back exactly"),
    (np.zeros(2).view(Tagged), "subclass of ndarray"),
    (np.rec.array([(1,)], dtype=[("a", "i4")]), "subclass of ndarray"),
    (in_a_file(), "numpy.array(value)"),
    (np.random.default_rng(1), "bit_generator.state"),
    (np.polynomial.Polynomial([1.0]), "value.coef"),
]


def same_dtype(one: Any, two: Any) -> bool:
    if (one.str, one.char, one.itemsize, one.isalignedstruct) != (two.str, two.char, two.itemsize, two.isalignedstruct):
        return False
    if one.subdtype:
        return two.subdtype is not None and one.shape == two.shape and same_dtype(one.base, two.base)
    if one.names is None:
        return two.names is None
    fields = [(one.fields[name], two.fields[name]) for name in one.fields if name in two.fields]
    return list(one.fields) == list(two.fields) and all(a[1:] == b[1:] and same_dtype(a[0], b[0]) for a, b in fields)


def layout(value: Any) -> str:
    """How it comes back: in Fortran order if it is in that and not in C order, else in C order."""
    return "F" if value.flags.f_contiguous and not value.flags.c_contiguous else "C"


def elements(value: Any) -> bytes:
    """Without what lies between the fields of a structured array."""
    if value.dtype.names is None:
        return value.tobytes()
    return b"|".join(elements(value[name]) for name in value.dtype.names)


def same_array(one: Any, two: Any) -> bool:
    return (
        same_dtype(one.dtype, two.dtype)
        and one.shape == two.shape
        and layout(one) == layout(two)
        and elements(one) == elements(two)
    )


def same_masked(one: Any, two: Any) -> bool:
    masks = (one.mask is np.ma.nomask, two.mask is np.ma.nomask)
    return (
        same_array(one.data, two.data)
        and masks[0] == masks[1]
        and (masks[0] or same_array(one.mask, two.mask))
        and same_array(np.asarray(one.fill_value), np.asarray(two.fill_value))
        and one.hardmask == two.hardmask
    )


def same_scalar(one: Any, two: Any) -> bool:
    if isinstance(one, np.character):
        return len(one) == len(two) and one == two
    return same_dtype(one.dtype, two.dtype) and one.tobytes() == two.tobytes()


CHECKS: dict[type, Any] = {
    np.ndarray: same_array,
    np.void: lambda one, two: same_array(np.array(one), np.array(two)),
    np.ma.MaskedArray: same_masked,
    type(np.ma.masked): lambda one, two: one is two,
    **{type(value): same_scalar for value in SCALARS},
    **{type(value): same_dtype for value in ARRAYS if isinstance(value, np.dtype)},
}
