"""What errors hold: whoever logs one may show all of it."""

from __future__ import annotations

from collections.abc import Iterator


def held_by(error: BaseException) -> Iterator[str]:
    """All that an error and those behind it say and hold, and what the objects say that they hold."""
    behind: list[BaseException | None] = [error]
    seen: list[BaseException] = []
    while behind:
        one = behind.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        behind += [one.__cause__, one.__context__]
        yield from (str(one), repr(one), *map(repr, one.args), *getattr(one, "__notes__", ()))
        for name, value in vars(one).items():
            yield f"{name} {value!r}"
            if isinstance(value, BaseException):
                behind.append(value)
            yield from (repr(getattr(value, each, "")) for each in dir(value) if not each.startswith("__"))
