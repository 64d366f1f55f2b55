"""The path of a run: its visits in order, and below each those of the graphs inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tau.cli.reading import Account, Unfinished, Visit

Step = Visit | Unfinished


Inside = dict[tuple[object, ...], list[Step]]
"""What is inside of a visit, by what is around its scope."""


def steps_of(account: Account) -> Iterator[Step]:
    """Every visit, directly above what is inside it; last those that are not finished, where something is inside."""
    for visit in account.visits:
        yield from _below(visit, _grouped(visit.inside))
    if account.unfinished and (account.inside or account.unfinished[1:]):
        yield from _below(account.unfinished[0], _grouped([*account.inside, *account.unfinished[1:]]))


def _grouped(steps: Iterable[Step]) -> Inside:
    found: Inside = {}
    for step in steps:
        *around, (node, visit, _) = step.scope
        found.setdefault((*around, (node, visit)), []).append(step)
    return found


def _below(step: Step, inside: Inside) -> Iterator[Step]:
    """A visit, and those inside it, branch by branch as they began: what is finished, then what is not."""
    yield step
    mine = inside.get((*step.scope, (step.name, step.visit)), [])
    for branch in dict.fromkeys(one.scope[-1][2] for one in mine):
        for one in mine:
            if one.scope[-1][2] == branch:
                yield from _below(one, inside)
