"""How what the graphs inside a node did becomes what the node did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from tau.engine.effects import Outcome
from tau.errors import BranchError, ConfigError, MergeError, RunInterruptedError
from tau.events import text_of
from tau.graph.inner import MERGES, Merge
from tau.node.current import RunNode
from tau.node.paused import Paused
from tau.schema.fields import same_rule
from tau.spelling import did_you_mean
from tau.state import view
from tau.state_changes import Fitted
from tau.values.equality import equal
from tau.values.stored import StoredValue, make

if TYPE_CHECKING:
    from tau.engine.visits import Inside

_GONE = object()


def together(
    effect: RunNode, values: Mapping[str, Any], branches: Sequence[Inside], outcomes: Sequence[Outcome], *, stored: bool
) -> Outcome:
    """The outcome of a node that consists of these; ``values`` is the state that it was given."""
    before = effect.state.timestamp.timestamp()
    ended = max(one.progress.updated or before for one in branches)
    began = min((one.began for one in outcomes if one.began), default=ended)  # nothing was left to be done but this
    seconds = max(0.0, ended - began)
    stop = next((one.stop for one in outcomes if one.stop), "")
    waits = tuple(wait for one in outcomes for wait in one.waits)
    made = Outcome(began=began, seconds=seconds, stop=stop)
    made.error = _error(branches, outcomes)
    if isinstance(made.error, Paused):
        made.waits, made.error = waits, _asked_twice(waits) or made.error
    if made.error is not None:
        made.waits = made.waits if isinstance(made.error, Paused) else ()
        return made
    try:
        changed, removed = _merged(effect, values, branches)
        if stored and effect.node.schema is None:
            made.result, made.changes = {}, (_cells(effect, values, changed), removed)
        elif not removed and effect.node.schema is not None:
            made.result = Fitted({key: _opened(value) for key, value in changed.items()})
            made.result.done = _fitted_inside(effect, branches)
        else:
            left = {key: value for key, value in values.items() if key not in removed}
            opened = {key: _opened(value) for key, value in changed.items()}
            made.result = view({**left, **opened}, effect.state.run_id, effect.state.checkpoint_node, before)
    except Exception as error:
        made.error = error
    return made


def _fitted_inside(effect: RunNode, branches: Sequence[Inside]) -> frozenset[str]:
    """The keys that a branch set and validated by the rule that its node has for them."""
    rules = effect.node.schema.fields if effect.node.schema is not None else {}
    merge = effect.node.inside.merge if effect.node.inside is not None else {}
    found: set[str] = set()
    for one in branches:
        known = one.branch.graph.schema.fields if one.branch.graph.schema is not None else {}
        found |= {
            key
            for key in one.handed_up()[0]
            if key not in merge and key in known and key in rules and same_rule(known[key], rules[key])
        }
    return frozenset(found)


def _error(branches: Sequence[Inside], outcomes: Sequence[Outcome]) -> BaseException | None:
    """What the node ends with, if not all came to their exit points: an interrupt before a stop, before a failure,
    before a question."""
    errors = {one.branch.name: outcome.error for one, outcome in zip(branches, outcomes, strict=True) if outcome.error}
    if not branches[0].branch.name:  # a single graph
        return next(iter(errors.values()), None)
    for error in errors.values():
        if not isinstance(error, (Exception, Paused)):
            return error
    for error in errors.values():
        if isinstance(error, RunInterruptedError):
            return error
    failed = {name: error for name, error in errors.items() if isinstance(error, Exception)}
    if not failed:
        return next(iter(errors.values()), None)
    name, first = next(iter(failed.items()))
    which = f"branch {name!r} failed" if len(failed) == 1 else f"{len(failed)} of {len(branches)} branches failed"
    error = BranchError(f"{which}: {'; '.join(map(text_of, failed.values()))}", errors=failed)
    error.__cause__ = first
    return error


def _asked_twice(waits: Sequence[tuple[Any, Any]]) -> ConfigError | None:
    names = [record.name for record, _ in waits]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is None:
        return None
    return ConfigError(f"two branches ask {twice!r}, and the answer to the one would be given to the other; name each")


def _merged(effect: RunNode, values: Mapping[str, Any], branches: Sequence[Inside]) -> tuple[dict[str, Any], list[str]]:
    """What was changed, as a cell or a value, and the keys that were removed."""
    merge = effect.node.inside.merge if effect.node.inside is not None else {}
    set_by: dict[str, list[tuple[str, Any]]] = {}
    for one in branches:
        changed, removed = one.handed_up()
        for key, value in (*changed.items(), *((key, _GONE) for key in removed)):
            set_by.setdefault(key, []).append((one.branch.name, value))
    found: dict[str, Any] = {}
    gone: list[str] = []
    for key, changes in set_by.items():
        how = merge.get(key)
        if how is None and len(changes) > 1:
            raise _conflict(effect, key, changes, "nothing says what becomes of it", _say_how(key, merge, set_by))
        value = changes[-1][1]
        if how is not None and how != "replace" and (len(changes) > 1 or callable(how)):
            if any(change is _GONE for _, change in changes):
                do = f"let one of them do it, or have the last of them count, with merge={{{key!r}: 'replace'}}"
                raise _conflict(effect, key, changes, "one of them removes it", do)
            before = _opened(values[key]) if key in values else None
            value = _as_one(effect, key, how, before, changes)
        if value is _GONE:
            gone.append(key)
        else:
            found[key] = value
    return found, gone


def _conflict(effect: RunNode, key: str, changes: Sequence[tuple[str, Any]], why: str, do: str) -> MergeError:
    names = tuple(name for name, _ in changes)
    all_change = f"the branches {', '.join(map(repr, names))} all change"
    which = all_change if len(names) > 1 else f"branch {names[0]!r} changes"
    text = f"node {effect.node.name!r}: {which} {key!r}, and {why}; {do}"
    return MergeError(text, key=key, branches=names)


def _say_how(key: str, merge: Mapping[str, Merge], set_by: Mapping[str, Any]) -> str:
    """What to do where nothing says what becomes of a key; a name in ``merge`` that no branch sets may mean it."""
    how = f"branches_node(..., merge={{{key!r}: 'append'}}), or 'add', 'union', 'replace' or a function"
    unused = [name for name in merge if name not in set_by]
    near = next((f"; merge is given for {name!r}{one}" for name in unused if (one := did_you_mean(name, [key]))), "")
    return f"let one of them do it, or say how with {how}{near}"


def _opened(value: Any) -> Any:
    return value.open()[0] if type(value) is StoredValue else value


def _as_one(effect: RunNode, key: str, how: Merge, before: Any, changes: Sequence[tuple[str, Any]]) -> Any:
    given = [_opened(change) for _, change in changes]
    if callable(how):
        try:
            return how(before, given)
        except Exception as error:
            failed = f"the function that merges it failed ({type(error).__name__}: {text_of(error)})"
            do = "it is given the value before (None if there was none) and the list of the new ones; mend it"
            raise _conflict(effect, key, changes, failed, do) from error
    try:
        return {"append": _appended, "add": _added, "union": _union}[how](before, given)
    except (TypeError, ValueError) as error:
        others = ", ".join(repr(one) for one in MERGES if one != how)
        do = f"let one of them do it, or join them otherwise: merge={{{key!r}: ...}} with {others} or a function"
        raise _conflict(effect, key, changes, f"{how!r} cannot join them ({text_of(error)})", do) from error


def _appended(before: Any, given: Sequence[Any]) -> Any:
    kind = type(given[0])
    if kind not in (list, tuple, str, bytes) or any(type(one) is not kind for one in (*given, before or given[0])):
        raise TypeError("only lists, tuples and texts of one type can be joined")
    found = kind() if before is None else before
    beginning = len(found)
    for one in given:
        if before is not None and not equal(one[:beginning], before):
            raise ValueError("a branch changed what was there before, instead of adding behind it")
        found = found + one[beginning:]
    return found


def _added(before: Any, given: Sequence[Any]) -> Any:
    if any(isinstance(one, bool) for one in (*given, before)):
        raise TypeError("truth values cannot be added")
    found, *more = given
    for one in more:
        found = found + (one if before is None else one - before)
    return found


def _union(before: Any, given: Sequence[Any]) -> Any:
    if all(isinstance(one, AbstractSet) for one in given):
        return type(given[0])().union(*given)
    if not all(isinstance(one, dict) for one in given):
        raise TypeError("only sets, or only mappings, have a union")
    old = before if isinstance(before, dict) else {}
    found: dict[Any, Any] = {}
    fresh: dict[Any, Any] = {}
    for one in given:
        for key, value in one.items():
            if key in old and equal(old[key], value):
                found.setdefault(key, value)
            elif key in fresh and not equal(fresh[key], value):
                raise ValueError(f"they set {key!r} in it to different values")
            else:
                found[key] = fresh[key] = value
    return found


def _cells(effect: RunNode, values: Mapping[str, Any], changed: Mapping[str, Any]) -> dict[str, StoredValue]:
    """What the node's checkpoint says of them: what is stored already is named."""
    found = {}
    for key, value in changed.items():
        if type(value) is StoredValue:
            # The record of the node says where all of it lies; the blobs are those of a record inside.
            found[key] = StoredValue(value.whole, value.encoded, value.atom, change=value.whole, fetch=value.fetch)
        elif (cell := make(key, value, values.get(key), effect.node.name)) is not None:
            found[key] = cell
    return found
