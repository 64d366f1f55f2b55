"""NumPy: arrays as npy files, scalars, masked arrays, dtypes.

An array is read as a view over the stored bytes: nothing is copied, and as those bytes cannot change, writing to it
raises and cannot be allowed. Only an array whose bytes do not lie as its elements want to (inside another value, that
is a matter of chance) is copied once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np
from msgspec import msgpack

from tau.signals import pass_on
from tau.values import tags
from tau.values.encoding import MAX_BYTES
from tau.values.refusal import Step, refuse
from tau.values.registry import Kind, singleton
from tau.values.types.npy_header import LONG_LONG, Unstorable, build, describe, head, read_head, same_dtype

Array = np.ndarray[Any, Any]

_ALIGNMENT = 16  # more than any element wants; where bytes objects begin, too
_NUMBERS = "biufcmM"


def _described(value: Any, dtype: np.dtype[Any]) -> tuple[int, str]:
    try:
        return describe(dtype)
    except Unstorable as error:
        raise refuse(value, str(error)) from None


def _pack_array(value: Array) -> bytes:
    flags, text = _described(value, value.dtype)
    if value.nbytes > MAX_BYTES:
        reason = f"it takes {value.nbytes:,} bytes; at most {MAX_BYTES:,} are stored. Keep it in a file"
        raise refuse(value, reason, MAX_BYTES)
    fortran = value.flags.f_contiguous and not value.flags.c_contiguous
    begin = head(text, fortran, value.shape)
    # The extension's own header has 3, 4 or 6 bytes; with it, the elements begin at a multiple of the alignment.
    size = 2 + _ALIGNMENT + len(begin) + value.nbytes
    pad = -(2 + (6 if size > 0xFFFF else 4 if size > 0xFF else 3)) % _ALIGNMENT
    return b"".join((bytes((flags, pad)), bytes(pad), begin, _elements(value.T if fortran else value)))


def _elements(value: Array) -> Any:
    """The bytes of the elements in C order, as an object that shows them where they lie if it can."""
    if not value.nbytes:
        return b""
    if value.dtype.names is not None and _has_gaps(value.dtype):
        value = _cleaned(value)
    if value.flags.c_contiguous:
        return value.reshape(-1).view(np.uint8)
    return value.tobytes()


def _has_gaps(dtype: np.dtype[Any]) -> bool:
    if dtype.subdtype is not None:
        return _has_gaps(dtype.subdtype[0])
    if dtype.names is None:
        return False
    inside: Any = dtype.fields
    fields = [inside[name][0] for name in dtype.names]
    return sum(field.itemsize for field in fields) < dtype.itemsize or any(map(_has_gaps, fields))


def _cleaned(value: Array) -> Array:
    """A copy with zeros between the fields: what lies there is no part of the value, and chance."""
    clean = np.zeros(value.shape, value.dtype)
    _copy_fields(value, clean)
    return clean


def _copy_fields(source: Array, target: Array) -> None:
    for name in source.dtype.names or ():
        inner = source[name]
        if inner.dtype.names is not None:
            _copy_fields(inner, target[name])
        else:
            target[name] = inner


def _unpack_array(data: memoryview) -> Array:
    flags, pad = data[0], data[1]
    npy = data[2 + pad :]
    text, fortran, shape, begin = read_head(npy)
    dtype = build(flags, text)
    if prod(shape) * dtype.itemsize != len(npy) - begin:
        raise ValueError("an array whose size does not match its shape")
    elements = npy[begin:]
    value = _view(shape, dtype, elements, fortran)
    return value if value.flags.aligned else _view(shape, dtype, bytes(elements), fortran)


def _view(shape: tuple[int, ...], dtype: np.dtype[Any], elements: memoryview | bytes, fortran: bool) -> Array:
    return np.ndarray(shape, dtype, elements, order="F" if fortran else "C")


def _shows_the_same(one: Array, two: Array) -> bool:
    return (
        not one.flags.writeable
        and one.__array_interface__["data"] == two.__array_interface__["data"]
        and (one.shape, one.strides) == (two.shape, two.strides)
        and same_dtype(one.dtype, two.dtype)
    )


def _pack_scalar(value: Any) -> bytes:
    cls = type(value)
    head: bytes | None = _HEADS.get(cls)
    if head is not None:
        return b"%b%b" % (head, cls.tobytes(value))
    if cls is np.str_:
        return b"U\0" + str.encode(value, "utf-8", "surrogatepass")
    if cls is np.bytes_:
        return b"S\0" + bytes.join(b"", (value,))
    return b"%b%b" % (_head(value, value.dtype), cls.tobytes(value))


def _head(owner: Any, dtype: np.dtype[Any]) -> bytes:
    """What lies before the bytes of a scalar."""
    flags, text = _described(owner, dtype)
    return b"%b%b\0" % (text[1:-1].encode(), b"q" if flags else b"")


def _unpack_scalar(data: bytes) -> Any:
    text, _, content = data.partition(b"\0")
    if text == b"U":
        return np.str_(content.decode("utf-8", "surrogatepass"))
    if text == b"S":
        return np.bytes_(content)
    dtype = _scalar_dtype(text)
    if len(content) != dtype.itemsize:
        raise ValueError("no scalar")
    return np.frombuffer(content, dtype)[0]


@lru_cache(256)
def _scalar_dtype(text: bytes) -> np.dtype[Any]:
    flags = LONG_LONG if text.endswith(b"q") else 0
    dtype = build(flags, f"'{text[: len(text) - bool(flags)].decode('ascii')}'")
    if dtype.kind not in _NUMBERS:
        raise ValueError("no scalar")
    return dtype


def _token(dtype: np.dtype[Any]) -> bytes:
    """The beginning of the encoding of a scalar in a list: the header of the extension, and what says its dtype."""
    head = _HEADS.get(dtype.type) or _head(None, dtype)
    whole = msgpack.encode(msgpack.Ext(tags.ND_SCALAR, head + bytes(dtype.itemsize)))
    return whole[: len(whole) - dtype.itemsize]


def _pack_many(values: Sequence[Any], _: Any) -> bytes | None:
    cls = type(values[0])
    if cls in _HEADS:
        dtype = np.dtype(cls)
    elif cls in (np.datetime64, np.timedelta64):
        dtype = values[0].dtype
        if {one.dtype for one in values} != {dtype}:
            return None
    else:
        return None
    token = _token(dtype)
    lined_up = np.empty(len(values), [("token", f"S{len(token)}"), ("value", dtype)])
    lined_up["token"] = token
    lined_up["value"] = np.fromiter(values, dtype, len(values))
    return lined_up.tobytes()


def _unpack_many(data: memoryview, count: int, _: Any) -> list[Any] | None:
    size, rest = divmod(len(data), count)
    head = bytes(data[: min(size, 64)])
    start = {0xC7: 3, 0xC8: 4}.get(head[0], 2) if head else 0  # behind the header of an extension
    end = head.find(b"\0", start)
    if rest or not 0 < start < end or head[start] in b"US":
        return None
    dtype = _scalar_dtype(head[start:end])
    token = _token(dtype)
    if len(token) + dtype.itemsize != size:
        return None
    lined_up = np.frombuffer(data, [("token", f"V{len(token)}"), ("value", dtype)])
    if not (lined_up["token"] == np.void(token)).all():
        return None
    return list(lined_up["value"])


def _pack_void(value: np.void) -> bytes:
    flags, text = _described(value, value.dtype)
    return b"%c%b\0%b" % (flags, text.encode("ascii"), bytes(_elements(np.array(value))))


def _unpack_void(data: bytes) -> Any:
    text, _, content = data[1:].partition(b"\0")
    dtype = build(data[0], text.decode("ascii"))
    if dtype.kind != "V" or len(content) != dtype.itemsize:
        raise ValueError("not an element of a structured array")
    return np.ndarray((), dtype, content)[()]


def _pack_dtype(value: np.dtype[Any]) -> bytes:
    if value.metadata and value.names is None:
        raise refuse(value, "it carries metadata, which would be lost; store numpy.dtype(value.str)")
    flags, text = _described(value, value)
    return b"%c%b" % (flags, text.encode("ascii"))


def _unpack_dtype(data: bytes) -> np.dtype[Any]:
    return build(data[0], data[1:].decode("ascii"))


_MASKED_PARTS = ("data", "mask", "fill_value", "hardmask")
_MASKED_STATE = {"_mask", "_fill_value", "_hardmask", "_sharedmask", "_isfield", "_baseclass", "_optinfo", "_basedict"}


def _pack_masked(value: Any) -> list[Any]:
    extra = vars(value).keys() - _MASKED_STATE
    if extra or value._optinfo or value._baseclass is not np.ndarray:
        raise refuse(
            value, "it holds more than data, mask and fill value; store np.ma.array(value.data, mask=value.mask)"
        )
    mask = value._mask
    fill = value._fill_value
    if fill is not None and not value.dtype.hasobject and _is_default(fill, value.dtype):
        fill = None  # looking at it sets it
    return [value.data, None if mask is np.ma.nomask else mask, fill, bool(value.hardmask)]


def _is_default(fill: Any, dtype: np.dtype[Any]) -> bool:
    """Whether a fill value is what NumPy sets by itself, which need not fit the dtype: 999999 for int8."""
    try:
        with np.errstate(over="raise"):
            default = np.array(np.ma.default_fill_value(dtype), dtype)
            return default.tobytes() == np.array(fill, dtype).tobytes()
    except (ArithmeticError, TypeError, ValueError) as error:
        pass_on(error)
    set_by_itself = np.asarray(np.ma.MaskedArray(np.zeros((), dtype)).fill_value)
    given = np.asarray(fill)
    return set_by_itself.dtype == given.dtype and set_by_itself.tobytes() == given.tobytes()


def _unpack_masked(body: Any) -> Any:
    data, mask, fill, hard = body
    if type(data) is not np.ndarray or type(hard) is not bool:
        raise ValueError("a masked array needs an array")
    if mask is not None and (
        type(mask) is not np.ndarray or mask.shape != data.shape or mask.dtype != np.ma.make_mask_descr(data.dtype)
    ):
        raise ValueError("a masked array needs a mask of its own shape")
    given: Any = np.ma.nomask if mask is None else mask
    made: Any = np.ma.MaskedArray(data, given, fill_value=fill, hard_mask=hard, shrink=mask is None, keep_mask=False)
    if type(fill) is np.ndarray and fill.ndim == 0 and fill.dtype != made._fill_value.dtype:
        made._fill_value = fill.copy()  # it was set on one that NumPy had set, of a wider dtype
    return made


def _masked_trail(_: Any, steps: list[Step]) -> list[Step]:
    return [Step("attr", _MASKED_PARTS[steps[0].value]), *steps[1:]]


def _dtype_classes() -> tuple[type, ...]:
    return tuple(getattr(np.dtypes, name) for name in np.dtypes.__all__)


_SCALARS: tuple[type, ...] = tuple({np.dtype(char).type for char in np.typecodes["All"] if char not in "OV"})
_HEADS = {cls: _head(None, np.dtype(cls)) for cls in _SCALARS if np.dtype(cls).char in "?bBhHiIlLqQefdFD"}

KINDS = (
    Kind(
        tag=tags.ND_ARRAY,
        types=(np.ndarray,),
        pack=_pack_array,
        unpack=_unpack_array,
        raw=True,
        shows=_shows_the_same,
    ),
    Kind(
        tag=tags.ND_SCALAR,
        types=_SCALARS,
        pack=_pack_scalar,
        unpack=_unpack_scalar,
        raw=True,
        atom=True,
        pack_many=_pack_many,
        unpack_many=_unpack_many,
    ),
    Kind(tag=tags.ND_VOID, types=(np.void,), pack=_pack_void, unpack=_unpack_void, raw=True),
    Kind(tag=tags.ND_DTYPE, types=_dtype_classes(), pack=_pack_dtype, unpack=_unpack_dtype, raw=True),
    Kind(
        tag=tags.MASKED_ARRAY,
        types=(np.ma.MaskedArray,),
        pack=_pack_masked,
        unpack=_unpack_masked,
        trail=_masked_trail,
    ),
    singleton(tags.MASKED_CONSTANT, np.ma.masked),
)
