"""Why a value cannot be stored, and what to do instead."""

from __future__ import annotations

import io
import types
from collections.abc import Awaitable
from typing import Any

from tau.values import tags
from tau.values.registered_classes import was_redefined
from tau.values.registry import kind_of

_BUILTINS = (int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset)

_REASONS: tuple[tuple[tuple[type, ...], str], ...] = (
    (
        (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.MethodWrapperType),
        "functions are code, not data; store a name and look the function up, or pass it as a resource",
    ),
    ((type,), "classes are code, not data; store a name and look the class up"),
    ((types.ModuleType,), "modules are code, not data"),
    ((BaseException,), "exceptions are not stored; store what you need of it, such as str(error)"),
    ((memoryview,), "a memoryview shows memory of another object; store bytes(value)"),
    ((io.IOBase,), "an open file cannot be stored; store its path, or pass it as a resource"),
    (
        (Awaitable,),
        "what has yet to be awaited cannot be stored; await it first, as in: value = await ctx.step(name, fetch)",
    ),
    (
        (types.AsyncGeneratorType,),
        "a running computation cannot be stored; store its results, as in [item async for item in value]",
    ),
    (
        (types.GeneratorType,),
        "a running computation cannot be stored; store its results, as in list(value)",
    ),
)

_OPEN_FILE = "an open file cannot be stored; store its path, or the data it holds"
_SHARED = "it works in one process only; make it in the node that uses it, or pass it as a resource"
_PLAN = "it is a plan of a computation, not data"

_REASONS_OF_MODULES = {
    "numpy.random.": (
        "a random generator is not stored; store its state, value.bit_generator.state of a Generator, or better a seed "
        "for every node"
    ),
    "numpy.polynomial.": "polynomials are not stored; store value.coef, with value.domain and value.window",
    "pandas._libs.tslibs.offsets.": "a frequency is not stored; store its name, value.freqstr",
    "polars.lazyframe.": f"{_PLAN}; store value.collect()",
    "xarray.core.datatree.": "a tree is not stored; store value.to_dict() (xarray.DataTree.from_dict reads it)",
    "dask.": f"{_PLAN}; store value.compute()",
    "_thread.": _SHARED,
    "threading.": _SHARED,
    "netCDF4.": _OPEN_FILE,
    "h5py.": _OPEN_FILE,
    "zarr.": _OPEN_FILE,
    "torch.": "tensors are not stored; store value.numpy(force=True)",
    "jax": "arrays of JAX are not stored; store numpy.asarray(value)",
    "tau.agents.records.Response": "an answer is more than data; store its .text, or .value where it has a schema",
    "tau.agents.records.ToolCall": "a wish of a model is not stored; store its .name and .arguments",
    "tau.agents.agent.Agent": _SHARED,
    "tau.state.State": "a state is not a value; store dict(state)",
    "tau.workflows.outcomes.Outcome": (
        "it tells what became of an item; store what you need of it, as in "
        "[one.value for one in outcomes if one.status == 'done']"
    ),
    "tau.workflows.outcomes.ParallelResult": "it tells what a map came to; store what you need of it: result.results",
    "tau.workflows.chain.ChainResult": "it tells what a chain came to; store what you need of it: result.final",
}
"""By the beginning of the full name of the class: most by that of its module."""


def why_unknown(value: Any) -> str:
    """Why there is no kind for this value, and what to do about it."""
    cls = type(value)
    for bases, reason in _REASONS:
        if issubclass(cls, bases):
            return reason
    for module, reason in _REASONS_OF_MODULES.items():
        if f"{cls.__module__}.{cls.__qualname__}".startswith(module):
            return reason
    if cls.__name__ == "memmap" and cls.__module__.partition(".")[0] == "numpy":
        return "it shows a file, which may change; store what it holds, numpy.array(value), or the path of the file"
    if was_redefined(cls):
        return "its class was registered and then defined again; make the value anew from the present class"
    if hasattr(cls, "__iter__") and hasattr(cls, "__next__"):
        return "an iterator cannot be stored; store its items, as in list(value)"
    return f"{_what(cls)}; register the class with tau.register_type, store the data it holds, or pass it as a resource"


def _what(cls: type) -> str:
    if hasattr(cls, "__members__"):
        return "its enum is not registered"
    if issubclass(cls, tuple) and hasattr(cls, "_fields"):
        return "its named tuple is not registered"
    for base in cls.__mro__[1:]:
        kind = kind_of(base)
        if base in _BUILTINS or (kind is not None and kind.tag != tags.REGISTERED):
            return f"it is of a subclass of {base.__name__} and would come back as a plain {base.__name__}"
    return "its class is not one that is stored as it is"
