"""One state as a class of each library, and smaller ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NotRequired, TypedDict

import msgspec
import pydantic
import pytest

from tau import ExecutionError, SchemaError, StateGraph


class AsModel(pydantic.BaseModel):
    count: int
    words: list[str] = pydantic.Field(default_factory=list)
    level: float = 0.0
    note: str | None = None


@dataclass
class AsDataclass:
    count: int
    words: list[str] = field(default_factory=list)
    level: float = 0.0
    note: str | None = None


class AsStruct(msgspec.Struct):
    count: int
    words: list[str] = msgspec.field(default_factory=list)
    level: float = 0.0
    note: str | None = None


class AsTypedDict(TypedDict):
    count: int
    words: NotRequired[list[str]]
    level: NotRequired[float]
    note: NotRequired[str | None]


CLASSES: list[Any] = [AsModel, AsDataclass, AsStruct, AsTypedDict]
WITH_ATTRIBUTES: list[Any] = CLASSES[:3]


@dataclass
class Words:
    words: list[str]


@dataclass
class Unknown:
    count: int
    wrods: list[str]


class Percent(pydantic.BaseModel):
    """Validation is not to be done twice: what it makes of its own result is another value."""

    share: float = 0.0
    total: int = 100

    @pydantic.field_validator("share")
    @classmethod
    def of_a_hundred(cls, value: float) -> float:
        return value / 100

    @pydantic.model_validator(mode="after")
    def fits_together(self) -> Percent:
        if self.share > self.total:
            raise ValueError("more than there is")
        return self


def value(state: Any, name: str) -> Any:
    return state[name] if isinstance(state, dict) else getattr(state, name)


STORED = pytest.mark.parametrize("location", [None, "memory:"], ids=["unstored", "stored"])
EVERY = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
OBJECTS = pytest.mark.parametrize("cls", WITH_ATTRIBUTES, ids=lambda cls: cls.__name__)


def graph(cls: Any, *nodes: Any, location: Any = "memory:") -> StateGraph[Any]:
    made: StateGraph[Any] = StateGraph("typed", schema=cls, store=location)
    made.sequence(*nodes)
    return made


def failure(made: StateGraph[Any], given: Any) -> SchemaError:
    with pytest.raises(ExecutionError) as raised:
        made.execute(given)
    assert isinstance(raised.value.__cause__, SchemaError)
    return raised.value.__cause__
