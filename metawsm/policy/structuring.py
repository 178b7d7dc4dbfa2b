"""From plain JSON values to the policy's classes, with every fault collected under the path of its key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from metawsm.domain.names import text_fault
from metawsm.policy.knobs import Check, check_of
from metawsm.policy.sections import Faults, Policy

MOST_UNKNOWN = 20
"""Unknown keys of one section that are named; the others are counted."""
KINDS = {bool: "true or false", int: "a whole number", str: "a text"}


class Fault(ValueError):
    """One value is wrong; the text goes on after the path of the key."""


class SectionFaults(ValueError):
    """Values that are right alone and wrong together: `faults` by paths relative to their section."""

    def __init__(self, faults: Faults) -> None:
        super().__init__(str(faults))
        self.faults = faults


def structure(raw: object) -> Policy | Faults:
    """The policy that `raw` describes, or all its faults by path."""
    try:
        return _converter().structure(raw, Policy)
    except (BaseValidationError, ValueError) as error:
        return collect(error)


def value_faults(setting: attrs.Attribute[Any], value: object) -> list[str]:
    """What is wrong with a value for one setting, whatever the others are."""
    try:
        _checked(check_of(setting) or _anything, _converter())(value, setting.type)
    except (BaseValidationError, ValueError) as error:
        return [text for texts in collect(error).values() for text in texts]
    return []


def _anything(_: Any) -> None:
    return None


def collect(error: BaseException) -> Faults:
    """All faults inside an error of cattrs, by the path of the key."""
    faults: Faults = {}
    for path, text in _walk(error, ""):
        faults.setdefault(path.lstrip(".") or "policy", []).append(text)
    return faults


def unstructure(policy: Policy) -> dict[str, Any]:
    """The policy as plain JSON values, lists and objects, in the order of the definitions."""
    plain: dict[str, Any] = attrs.asdict(policy)
    return plain


def _converter() -> Converter:
    """A converter that takes nothing for anything else: no numbers from texts, no unknown keys."""
    converter = Converter(forbid_extra_keys=True)
    for kind in KINDS:
        converter.register_structure_hook(kind, _exact)
    converter.register_structure_hook_func(_is_literal, _choice)
    converter.register_structure_hook_factory(attrs.has, lambda kind: _section_hook(kind, converter))
    converter.register_structure_hook_func(_is_list, _list_hook(converter))
    return converter


def _is_literal(kind: Any) -> bool:
    """Whether a type is a choice of given values."""
    origin: Any = get_origin(kind)
    return origin is Literal


def _is_list(kind: Any) -> bool:
    """Whether a type is written as a JSON array."""
    origin: Any = get_origin(kind)
    return origin is tuple


def _exact(value: object, kind: type) -> object:
    """A value of exactly this type (true is no number)."""
    if type(value) is not kind:
        raise Fault(f"must be {KINDS[kind]}, not {shown(value)}")
    if isinstance(value, str) and (fault := text_fault(value)):
        raise Fault(fault)
    return value


def _choice(value: object, kind: Any) -> object:
    """One of the values that a Literal names."""
    choices = get_args(kind)
    if value in choices and type(value) is type(choices[choices.index(value)]):
        return value
    near = difflib.get_close_matches(str(value), [str(choice) for choice in choices], 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise Fault(f"must be {' or '.join(str(choice) for choice in choices)}, not {shown(value)}{hint}")


def _list_hook(converter: Converter) -> Callable[[Any, Any], Any]:
    """Structures a JSON array; cattrs alone would take a text for a list of letters."""

    def hook(value: object, kind: Any) -> object:
        if not isinstance(value, list):
            raise Fault(f"must be a list, not {shown(value)}")
        items: Any = list[get_args(kind)[0]]  # type: ignore[misc] # a type made at run time
        return tuple(converter.structure(value, items))

    return hook


def _section_hook(kind: type, converter: Converter) -> Callable[[Any, Any], Any]:
    """Structures one section: its keys, each with its check, then the section's own `faults`."""
    attrs.resolve_types(kind)
    checked: dict[str, Any] = {
        each.name: override(struct_hook=_checked(check, converter))
        for each in attrs.fields(kind)
        if (check := check_of(each)) is not None
    }
    build: Callable[[Any, Any], Any] = make_dict_structure_fn(
        kind, converter, _cattrs_forbid_extra_keys=True, **checked
    )

    def hook(value: object, wanted: Any) -> object:
        if not isinstance(value, Mapping):
            raise Fault(f"must be an object, not {shown(value)}")
        section = build(value, wanted)
        faults = section.faults() if hasattr(section, "faults") else {}
        if faults:
            raise SectionFaults(faults)
        return section

    return hook


def _checked(check: Check, converter: Converter) -> Callable[[Any, Any], Any]:
    """Structures one value and then asks the setting's own check."""

    def hook(value: object, kind: Any) -> object:
        built = converter.structure(value, kind)
        text = check(built)
        if text is not None:
            raise Fault(text)
        return built

    return hook


def shown(value: object) -> str:
    """A value as it may stand in a message: short, and objects only by their kind."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    names = {True: "true", False: "false", None: "null"}
    text = names[value] if value is None or isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _walk(error: BaseException, path: str) -> Iterator[tuple[str, str]]:
    """Pairs of path and text for every leaf of an error tree."""
    if isinstance(error, BaseValidationError):
        for inner in error.exceptions:
            yield from _walk(inner, path + _step(inner))
    elif isinstance(error, ForbiddenExtraKeysError):
        keys = sorted(error.extra_fields)
        for key in keys[:MOST_UNKNOWN]:
            yield f"{path}.{key}", f"unknown key{_suggestion(key, error.cl, path)}"
        if len(keys) > MOST_UNKNOWN:
            yield path, f"{len(keys) - MOST_UNKNOWN} more unknown keys"
    elif isinstance(error, SectionFaults):
        for relative, texts in error.faults.items():
            yield from ((f"{path}.{relative}", text) for text in texts)
    else:
        yield path, "is required" if isinstance(error, KeyError) else str(error)


def _step(error: BaseException) -> str:
    """The part of the path that cattrs noted on the error."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            return f".{note.name}"
        if isinstance(note, IterableValidationNote):
            return f"[{note.index}]"
    return ""


def _suggestion(key: str, section: type, path: str) -> str:
    """The key that was probably meant: a near one beside it, or the same one in another section."""
    siblings = [each.name for each in attrs.fields(section)]
    near = difflib.get_close_matches(key.lower().replace("-", "_"), siblings, 1)
    if near:
        return f"; did you mean {f'{path}.{near[0]}'.lstrip('.')!r}?"
    elsewhere = [known for known, _ in leaves(Policy) if known.rpartition(".")[2] == key or known == key]
    return f"; did you mean {elsewhere[0]!r}?" if elsewhere else f" (known here: {', '.join(siblings)})"


def leaves(section: type, path: str = "") -> Iterator[tuple[str, attrs.Attribute[Any]]]:
    """Every setting below a section as (path, attrs field), in the order of the definitions; lists are leaves."""
    attrs.resolve_types(section)
    for each in attrs.fields(section):
        here = f"{path}.{each.name}".lstrip(".")
        if each.type is not None and attrs.has(each.type):
            yield from leaves(each.type, here)
        else:
            yield here, each
