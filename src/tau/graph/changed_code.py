"""Whether a piece of code or a node is what it was, and what of it differs.

Three answers: ``True`` (the same), ``False`` (changed), ``None`` (cannot be known).
"""

from __future__ import annotations

from collections.abc import Mapping

from tau.graph.fingerprint import CodeFingerprint, GraphFingerprint, InnerFingerprint, NodeFingerprint


def same_code(old: CodeFingerprint, new: CodeFingerprint) -> bool | None:
    """Whether two pieces of code are the same; ``None`` when that cannot be known."""
    if old.rule == new.rule:
        return False if _fields_changed(old, new) else _same(old, old.digests, new, new.digests)
    same = _same(old, (old.bytecode, old.ast), new, (new.bytecode, new.ast))
    # Where the rules differ, another digest by the first one may tell of the name of a module only.
    return None if same is False and (old.now or new.now) else same


def _fields_changed(old: CodeFingerprint, new: CodeFingerprint) -> list[str]:
    """The names of what is bound and differs, by the newest rule that made both."""
    if old.rule != new.rule:
        return []
    pairs = [(old.bound, new.bound)]
    if old.later is not None and new.later is not None and old.later.rule == new.later.rule:
        pairs.append((old.later.bound, new.later.bound))
    return sorted({name for a, b in pairs for name in a.keys() | b.keys() if a.get(name) != b.get(name)})


_Digests = tuple[str, str | None]


def _same(old: CodeFingerprint, then: _Digests, new: CodeFingerprint, now: _Digests) -> bool | None:
    if then[1] is not None and then[1] == now[1]:
        return True
    if old.python == new.python and then[0] and now[0]:
        return then[0] == now[0]
    if then[1] is not None and now[1] is not None:
        return False
    if bool(then[0]) != bool(now[0]):
        return False
    return None


def same_node(old: NodeFingerprint, new: NodeFingerprint) -> bool | None:
    """Whether two nodes are the same: by version where both have one, else by code; and by what they depend on."""
    if old.version is not None and new.version is not None:
        answers: list[bool | None] = [old.version == new.version]
    else:
        answers = [same_code(old.code, new.code)]
    for _, before, after in _both(old, new):
        answers.append(same_code(before, after) if before is not None and after is not None else False)
    if False in answers:
        return False
    return None if None in answers else True


def _both(
    old: NodeFingerprint, new: NodeFingerprint
) -> list[tuple[str, CodeFingerprint | None, CodeFingerprint | None]]:
    """What either depends on: the name that it was loaded under, what it was and what it is."""
    before, after = _by_name(old.depends, new.depends), _by_name(new.depends, old.depends)
    return [
        (
            after.get(name, before.get(name, ("", None)))[0],
            before.get(name, ("", None))[1],
            after.get(name, ("", None))[1],
        )
        for name in sorted(before.keys() | after.keys())
    ]


def _by_name(
    depends: Mapping[str, CodeFingerprint], others: Mapping[str, CodeFingerprint]
) -> dict[str, tuple[str, CodeFingerprint]]:
    """By the name that does not depend on how a file was loaded; where the first rule has none, by the others'."""
    names = [code.name for code in others.values() if code.name]
    return {
        code.name or next((name for name in names if f".{key}".endswith(f".{name}")), key): (key, code)
        for key, code in depends.items()
    }


def what_changed(then: NodeFingerprint, now: NodeFingerprint) -> str:
    changes = []
    if then.version is not None and now.version is not None:
        if then.version != now.version:
            changes.append(f"version {then.version!r} -> {now.version!r}")
    elif same_code(then.code, now.code) is False:
        changes += _parts(then.code, now.code)
    for name, before, after in _both(then, now):
        if after is None:
            changes.append(f"it no longer depends on {name}")
        elif before is None:
            changes.append(f"it now depends on {name}")
        elif same_code(before, after) is False:
            changes.append(f"{name}, on which it depends")
    return ", ".join(changes)


def _parts(then: CodeFingerprint, now: CodeFingerprint) -> list[str]:
    """What differs in one piece of code: itself, or the fields of what is bound to it."""
    fields = _fields_changed(then, now)
    if fields and _same(then, then.digests, now, now.digests) is not False:
        code = []
    else:  # what was exchanged with the code is told by that
        code, fields = ["its code"], [name for name in fields if _is_in_both(name, then, now)]
    return code + [f"{name}, which is bound to it" for name in fields]


def _is_in_both(name: str, then: CodeFingerprint, now: CodeFingerprint) -> bool:
    """Whether a field is there before and after, or is one that objects have."""
    later = [code.later.bound if code.later else {} for code in (then, now)]
    return name in then.bound or name in now.bound or all(name in each for each in later)


def cannot_be_known(what: str, then: NodeFingerprint, now: NodeFingerprint) -> str:
    if then.code.python != now.code.python:
        pythons = f"it ran under Python {then.code.python}, this is Python {now.code.python}"
        why = f"{pythons}, and there is no source to compare"
    elif then.code.rule != now.code.rule and now.code.digests[0]:
        why = "its fingerprint was made by another version of tau, which had another rule for what is bound to it"
    else:
        why = "it has no Python code; give it version="
    return f"whether {what} changed cannot be known: {why}"


def inner_changes(then: InnerFingerprint | None, now: InnerFingerprint | None, *, began: bool = False) -> list[str]:
    """What differs in the graphs that a node consists of; where it ``began``, only what no graph of it can be asked:
    branches that are gone, and how they are joined."""
    if then is None or now is None:
        return [] if then is now else ["it consists of graphs now" if then is None else "it consists of no graphs now"]
    before, after = {one.name: one for one in then.branches}, {one.name: one for one in now.branches}
    found = [f"its branch {name!r} is gone" for name in before.keys() - after.keys()]
    if not began:
        found += [f"its branch {name!r} is new" for name in after.keys() - before.keys()]
        for name, old in before.items():
            new = after.get(name)
            if new is not None:
                found += [_in(name, one) for one in _graph_changes(old.graph, new.graph)]
                if old.outputs != new.outputs:
                    found.append(_in(name, "it hands up other keys"))
        if then.merge.keys() != now.merge.keys() or any(
            _same_merge(how, now.merge[key]) is False for key, how in then.merge.items()
        ):
            found.append("its branches are joined in another way")
    return sorted(found)


def _in(branch: str, sentence: str) -> str:
    return f"in branch {branch!r} {sentence}" if branch else f"inside it {sentence}"


def _graph_changes(then: GraphFingerprint, now: GraphFingerprint) -> list[str]:
    """What differs between two graphs, whatever a run has done of them."""
    found = [f"node {name!r} is gone" for name in then.nodes.keys() - now.nodes.keys()]
    found += [f"node {name!r} is new" for name in now.nodes.keys() - then.nodes.keys()]
    for name, node in then.nodes.items():
        if (new := now.nodes.get(name)) is not None and same_node(node, new) is False:
            found.append(f"node {name!r} changed ({what_changed(node, new)})")
        found += [f"node {name!r}: {one}" for one in inner_changes(then.inner.get(name), now.inner.get(name))]
    ends = [{(edge.source, edge.target, edge.name) for edge in graph.edges} for graph in (then, now)]
    if ends[0] != ends[1] or (then.entry, then.exits) != (now.entry, now.exits):
        found.append("its edges, entry point or exit points are others")
    return found


def _same_merge(old: str | CodeFingerprint, new: str | CodeFingerprint) -> bool | None:
    if isinstance(old, str) or isinstance(new, str):
        return old == new
    return same_code(old, new)
