"""Arrays: npy files that other readers take, read as views that nobody can write to."""

from __future__ import annotations

import io
import struct
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec import msgpack

from array_values import ARRAYS, NUMBERS, elements, same_masked
from exactness import same
from tau.errors import CorruptCheckpointError, UnsupportedFormatError
from tau.values import decode, encode, is_view_of
from tau.values.tags import MASKED_ARRAY, ND_ARRAY, ND_DTYPE, ND_SCALAR, ND_VOID

PLAIN_ARRAYS = [value for value in ARRAYS if type(value) is np.ndarray]

dtypes = st.deferred(
    lambda: (
        arrays.scalar_dtypes()
        | arrays.byte_string_dtypes(min_len=1)
        | arrays.unicode_string_dtypes(min_len=1)
        | arrays.array_dtypes(arrays.scalar_dtypes(), max_size=4, allow_subarrays=True)
        | arrays.nested_dtypes(arrays.scalar_dtypes(), max_leaves=6)
    )
).filter(lambda dtype: "g" not in repr_of_kinds(dtype) and dtype.itemsize < 10_000)


def repr_of_kinds(dtype: Any) -> str:
    """The letters of all the types in a dtype, ``g`` for extended precision."""
    if dtype.subdtype:
        return repr_of_kinds(dtype.base)
    if dtype.names is None:
        return dtype.char.lower().replace("g", "g" if np.dtype("g") != np.dtype("d") else "d")
    return "".join(repr_of_kinds(dtype[name]) for name in dtype.names)


@pytest.mark.parametrize("examples", [100, pytest.param(3_000, marks=pytest.mark.deep)])
def test_any_array_is_exact_and_its_bytes_are_the_same_again(examples: int) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]

    @settings(max_examples=examples, deadline=None, derandomize=examples < 1_000, suppress_health_check=slow)
    @given(st.data())
    def holds(data: Any) -> None:
        dtype = data.draw(dtypes)
        shape = data.draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
        value = data.draw(arrays.arrays(dtype, shape, fill=st.nothing()))
        if value.ndim:
            value = value[data.draw(arrays.basic_indices(value.shape, allow_newaxis=True))]
        for whole in (np.asarray(value), np.asfortranarray(value), {"a": (1, np.asarray(value))}):
            encoded = encode(whole)
            assert same(decode(encoded), whole)
            assert encode(decode(encoded)) == encoded

    holds()


@pytest.mark.parametrize("value", PLAIN_ARRAYS, ids=lambda value: str(value.dtype)[:30])
def test_the_body_is_an_npy_file_that_numpy_reads(value: Any) -> None:
    data = encode(value)
    file = io.BytesIO(data[data.index(b"\x93NUMPY") :])
    read = np.load(file, allow_pickle=False)
    assert file.read() == b""
    assert read.dtype == value.dtype
    assert read.shape == value.shape
    assert elements(read) == elements(value)


@pytest.mark.parametrize("value", PLAIN_ARRAYS, ids=lambda value: str(value.dtype)[:30])
def test_an_array_is_an_aligned_view_that_cannot_be_made_writable(value: Any) -> None:
    data = encode(value)
    alone, (inside,) = decode(data), decode(encode([value]))
    for read in (alone, inside):
        assert read.flags.aligned
        assert not read.flags.writeable
        with pytest.raises(ValueError, match="WRITEABLE"):
            read.flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            read.setflags(write=True)
        with pytest.raises(ValueError, match="read-only"):
            read[...] = read
    if value.nbytes:
        assert np.shares_memory(alone, np.frombuffer(data, "u1"))
    assert is_view_of(alone, data)


def test_a_view_that_was_given_another_shape_or_type_is_no_longer_one() -> None:
    data = encode(NUMBERS)

    def reshaped(view: Any) -> None:
        view.shape = (12,)

    def retyped(view: Any) -> None:
        view.dtype = "<i8"

    def swapped(view: Any) -> None:
        view.dtype = view.dtype.newbyteorder()

    for change in (reshaped, retyped, swapped):
        view = decode(data)
        assert is_view_of(view, data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # setting a shape is deprecated, and still done
            change(view)
        assert not is_view_of(view, data)
        assert is_view_of(decode(data), data)
    renamed = decode(encode(ARRAYS[-13]))
    assert not is_view_of(NUMBERS, data)
    assert not is_view_of(decode(data)[1:], data)
    assert not is_view_of(decode(data), encode([NUMBERS]))
    assert not is_view_of(renamed, data)


def test_the_names_of_fields_changed_in_place_are_seen() -> None:
    data = encode(np.zeros(2, [("a", "<i4"), ("b", "<f8")]))
    view = decode(data)
    view.dtype.names = ("a", "c")
    assert not is_view_of(view, data)
    assert decode(data).dtype.names == ("a", "b")


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", "u2", "f2", "m8", "m8[25s]", "M8", "M8[7D]", "U1", "S1", ">i2", "?"]
)
def test_a_masked_array_whose_default_fill_value_does_not_fit(dtype: str) -> None:
    def made() -> Any:
        return np.ma.array(np.zeros(2, dtype), mask=[False, True])

    plain, looked, given = made(), made(), made()
    assert looked.fill_value is not None
    read = decode(encode(plain))
    assert plain._fill_value is read._fill_value is None
    assert same_masked(read, plain)
    assert encode(looked) == encode(plain)  # looking sets it
    if dtype not in ("m8", "M8"):
        given.fill_value = np.ones((), dtype)[()]
        assert same_masked(decode(encode(given)), given)
    if dtype == "f2":
        endless = np.ma.array(np.zeros(2, dtype), fill_value=np.inf)
        assert same_masked(decode(encode(endless)), endless)


def test_a_fill_value_set_after_a_look_keeps_its_type() -> None:
    for dtype in ("i1", "u2", "i4", "f4"):
        value = np.ma.array(np.zeros(2, dtype), mask=[False, True])
        wide = value.fill_value.dtype
        value.fill_value = np.ones((), dtype)[()]
        read = decode(encode(value))
        assert value.fill_value.dtype == read.fill_value.dtype == wide != dtype
        assert read.fill_value == value.fill_value
        read.fill_value = np.zeros((), dtype)[()]  # it is the reader's own


def test_what_lies_between_fields_is_neither_kept_nor_written() -> None:
    dtype = np.dtype([("small", "i1"), ("large", "<f8")], align=True)
    one, two = np.frombuffer(bytes(32), dtype), np.frombuffer(bytearray(b"\xff" * 32), dtype)
    for name in dtype.names or ():
        two[name] = one[name]
    assert one.tobytes() != two.tobytes()
    assert encode(one) == encode(two)


def npy(head: str, content: bytes, flags: int = 0, version: int = 1, pad: int = 0) -> bytes:
    text = head.encode("latin1")
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    payload = bytes((flags, pad)) + bytes(pad) + b"\x93NUMPY" + bytes((version, 0)) + size + text + content
    return msgpack.encode(msgpack.Ext(ND_ARRAY, payload))


def head(descr: str = "'<f8'", fortran: str = "False", shape: str = "(1,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


def test_the_head_is_read_as_it_is_written() -> None:
    assert same(decode(npy(head(), bytes(8))), np.zeros(1))
    assert same(decode(npy(head(), bytes(8), version=2, pad=5)), np.zeros(1))


@pytest.mark.parametrize(
    "data",
    [
        npy("", b""),
        npy(head(), bytes(7)),
        npy(head(), bytes(9)),
        npy(head(), bytes(8), flags=1),
        npy(head(), bytes(8), flags=2 + 4),
        npy(head(), bytes(8), pad=200)[:40],
        npy(head(), bytes(8), version=3),
        npy(head("'|O'"), bytes(8)),
        npy(head("'<f16'"), bytes(16)),
        npy(head("'<f8' "), bytes(8)),
        npy(head("'=f8'"), bytes(8)),
        npy(head("'|f8'"), bytes(8)),
        npy(head("'|V99999999999'"), b""),
        npy(head("'<M8[parsec]'"), bytes(8)),
        npy(head("'<U9999999999'"), bytes(8)),
        npy(head("__import__('os').system('true')"), bytes(8)),
        npy(head("[('a', '<f8'"), bytes(8)),
        npy(head("[('a', '<f8') ('b', '<f8')]"), bytes(16)),
        npy(head("[('a', '<f8', (2,), 3)]"), bytes(16)),
        npy(head("[('a', '<f8', (-2,))]"), bytes(16)),
        npy(head("[('a', '<f8'), ('a', '<f8')]"), bytes(16)),
        npy(head("[(1, '<f8')]"), bytes(8)),
        npy(head("[('a', 8)]"), bytes(8)),
        npy(head("[('a', '<f8')]"), bytes(8), flags=2),
        npy(head("[" * 5000), bytes(8)),
        npy(head("[('a', " * 5000 + "'<f8'" + ")]" * 5000), bytes(8)),
        npy(head(shape="(1)"), bytes(8)),
        npy(head(shape="(-1,)"), bytes(8)),
        npy(head(shape=f"({'1, ' * 200}1)"), bytes(8)),
        npy(head(shape="(9999999999999999999, 0)"), b""),
        npy(head(shape="(4611686018427387904, 4)"), bytes(0)),
        npy(head(fortran="1"), bytes(8)),
        msgpack.encode(msgpack.Ext(ND_ARRAY, b"")),
        msgpack.encode(msgpack.Ext(ND_SCALAR, b"")),
        msgpack.encode(msgpack.Ext(ND_SCALAR, b"<f8\0short")),
        msgpack.encode(msgpack.Ext(ND_SCALAR, b"|V3\0abc")),
        msgpack.encode(msgpack.Ext(ND_SCALAR, b"<f8q\0" + bytes(8))),
        msgpack.encode(msgpack.Ext(ND_SCALAR, b"U\0\xff")),
        msgpack.encode(msgpack.Ext(ND_VOID, b"\0'<f8'\0" + bytes(8))),
        msgpack.encode(msgpack.Ext(ND_VOID, b"\0[('a', '<f8')]\0" + bytes(7))),
        msgpack.encode(msgpack.Ext(ND_DTYPE, b"")),
        msgpack.encode(msgpack.Ext(ND_DTYPE, b"\0'O'")),
        msgpack.encode(msgpack.Ext(MASKED_ARRAY, msgpack.encode([[1], None, None, False]))),
        msgpack.encode(msgpack.Ext(MASKED_ARRAY, msgpack.encode([1]))),
    ],
    ids=lambda data: repr(data[-40:]),
)
def test_malformed_arrays_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptCheckpointError):
        decode(data)


def test_damaged_arrays_give_a_value_or_a_typed_error() -> None:
    for value in PLAIN_ARRAYS:
        data = encode(value)
        if len(data) > 2000:
            continue
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            try:
                decode(bytes(damaged))
            except (CorruptCheckpointError, UnsupportedFormatError):
                continue
