"""The fields of pydantic's classes, validated by pydantic one by one, and instances made of what was validated before.

A class says by its core schema how its fields are validated, and which functions run over several of them. One field is
validated by the part that belongs to it. An instance is made by the whole in which each field takes anything: so the
rules over several fields run, and the values stay the objects that they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tau.errors import ConfigError
from tau.late_imports import load_module
from tau.schema.fields import ClassFields, Field, Misfit, name_of, rule_of

Core = dict[str, Any]
_NO_RULES: Final = frozenset(
    {"title", "frozen", "extra_fields_behavior", "loc_by_alias", "hide_input_in_errors", "populate_by_name",
     "validate_by_name", "validate_by_alias", "serialize_by_alias"}
)  # fmt: skip


def fields_of_model(cls: Any) -> ClassFields:
    """The fields of a model or of a dataclass of pydantic's. Raises `ConfigError` for one that is not complete."""
    core, definitions = _core_of(cls)
    leaf = _leaf(core)
    if leaf["type"] == "model-fields":
        parts: dict[str, Core] = dict(leaf["fields"])
    elif leaf["type"] == "dataclass-args":
        parts = {one["name"]: one for one in leaf["fields"] if one.get("init", True)}
        _refuse_init_only(cls, leaf["fields"])
    else:
        raise ConfigError(f"{name_of(cls)} has no fields of its own, so it cannot say what a state holds")
    config = _config_of(core)
    fields = {name: _field(cls, name, part, config, definitions) for name, part in parts.items()}
    maker = _validator(_put(core, _open(leaf)), definitions, config)
    extra = config.get("extra_fields_behavior", leaf.get("extra_behavior"))
    return ClassFields(cls, fields, make=maker, held=_held(tuple(fields)), is_open=extra == "allow", validates=True)


def _core_of(cls: Any) -> tuple[Core, list[Core]]:
    """What pydantic made of a class, without the reference to it, and what it refers to."""
    if not getattr(cls, "__pydantic_complete__", True):
        rebuild = getattr(cls, "model_rebuild", None)
        if rebuild is None or not rebuild(raise_errors=False):
            raise ConfigError(
                f"{name_of(cls)} is not complete: names in its annotations cannot be found; call "
                f"{name_of(cls)}.model_rebuild() where they are"
            )
    core, definitions = cls.__pydantic_core_schema__, []
    if core["type"] == "definitions":
        core, definitions = core["schema"], core["definitions"]
    if core["type"] == "definition-ref":
        core = next(one for one in definitions if one.get("ref") == core["schema_ref"])
    return {key: value for key, value in core.items() if key != "ref"}, definitions


def _leaf(core: Core) -> Core:
    """The part that has the fields, inside of what runs over several of them."""
    while core["type"] not in ("model-fields", "dataclass-args") and isinstance(core.get("schema"), dict):
        core = core["schema"]
    return core


def _put(core: Core, leaf: Core) -> Core:
    if core["type"] in ("model-fields", "dataclass-args"):
        return leaf
    return {**core, "schema": _put(core["schema"], leaf)}


def _config_of(core: Core) -> Mapping[str, Any]:
    while core["type"] not in ("model", "dataclass"):
        core = core["schema"]
    return core.get("config") or {}


def _open(leaf: Core) -> Core:
    """The same fields, by their names, each of which takes anything."""
    if leaf["type"] == "model-fields":
        return {**leaf, "fields": {name: _by_name(part, _anything(part)) for name, part in leaf["fields"].items()}}
    return {**leaf, "fields": [_by_name(part, _anything(part)) for part in leaf["fields"]]}


def _by_name(part: Core, schema: Core) -> Core:
    return {**{key: value for key, value in part.items() if key != "validation_alias"}, "schema": schema}


def _anything(part: Core) -> Core:
    """Anything, with the default where there is one."""
    inner = part["schema"]
    while isinstance(inner, dict):
        if inner["type"] == "default":
            return inner if inner.get("validate_default") else {**inner, "schema": {"type": "any"}}
        inner = inner.get("schema")
    return {"type": "any"}


def _validator(core: Core, definitions: list[Core], config: Mapping[str, Any]) -> Callable[[Any], Any]:
    load_module("pydantic_core")
    from pydantic_core import SchemaValidator

    whole: Any = {"type": "definitions", "schema": core, "definitions": definitions} if definitions else core
    make: Any = SchemaValidator
    try:
        validator = make(whole, dict(config), _use_prebuilt=False)  # else the class's own would take its place
    except TypeError:  # of a version that has no such shortcut
        validator = make(whole, dict(config))
    validate: Callable[[Any], Any] = validator.validate_python
    return validate


def _field(cls: Any, name: str, part: Core, config: Mapping[str, Any], definitions: list[Core]) -> Field:
    info = cls.__pydantic_fields__[name]
    required = info.is_required()
    alias = next((one for one in (info.alias, info.validation_alias) if isinstance(one, str)), "")
    core: Core = {"type": "model-fields", "model_name": name_of(cls), "fields": {}}
    core["fields"][name] = {**_by_name(part, part["schema"]), "type": "model-field"}
    for key in ("name", "init", "kw_only", "init_only"):
        core["fields"][name].pop(key, None)
    rule = " ".join(map(rule_of, (info.annotation, info.metadata, _rules(config))))
    has_default = not required and not getattr(info, "default_factory_takes_validated_data", False)
    default = (lambda: info.get_default(call_default_factory=True)) if has_default else None
    validate = _validator(core, definitions, {**config, "extra_fields_behavior": "ignore"})
    check, code = _check(name, cls.__pydantic_fields__, validate), tuple(_functions(part["schema"]))
    return Field(name, rule, check, required, default, "" if alias == name else alias, code)


def _rules(config: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What of a configuration decides whether a value fits."""
    return sorted(((key, value) for key, value in config.items() if key not in _NO_RULES), key=str)


def _check(name: str, fields: Mapping[str, Any], validate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        try:
            return validate({name: value})[0][name]
        except KeyError as error:
            if error.args and error.args[0] in fields:
                raise Misfit(
                    f"its validator looks at {error.args[0]!r} in info.data, and a key is validated alone; make it a "
                    "model_validator, which runs where all fields are read"
                ) from error
            raise
        except ValueError as error:
            raise Misfit(_without_name(error, name)) from error

    return check


def _without_name(error: Any, name: str) -> str:
    """What is wrong, the place within the value first, without the value."""
    tell = getattr(error, "errors", None)
    if tell is None:
        return str(error)
    said = []
    for one in tell(include_input=False, include_url=False, include_context=False):
        place = ".".join(map(str, one["loc"][1:] if one["loc"][:1] == (name,) else one["loc"]))
        said.append(f"{place}: {one['msg']}" if place else str(one["msg"]))
    return "; ".join(said)


def _functions(core: Any) -> Iterator[Callable[..., Any]]:
    """What a field is validated with beside pydantic's own rules."""
    if isinstance(core, dict):
        for key, value in core.items():
            function: Any = value.get("function") if key == "function" and isinstance(value, dict) else None
            if callable(function):
                yield getattr(function, "__func__", function)  # whatever class it is bound to
            elif key != "metadata":
                yield from _functions(value)
    elif isinstance(core, list | tuple):
        for one in core:
            yield from _functions(one)


def _held(names: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    def held(instance: Any) -> dict[str, Any]:
        found = {name: getattr(instance, name) for name in names if hasattr(instance, name)}
        return {**found, **(getattr(instance, "__pydantic_extra__", None) or {})}

    return held


def _refuse_init_only(cls: Any, parts: list[Core]) -> None:
    for part in parts:
        if part.get("init_only"):
            raise ConfigError(
                f"{name_of(cls)}.{part['name']} is an InitVar, which no state could hold; make it a field"
            )
