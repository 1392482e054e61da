"""Dataclasses to JSON text and back, and text to files."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from benchmark.io.atomic import replacing
from benchmark.io.walk import require_file
from benchmark.values import Length, Range

DEEPEST = 64
"""Lists and objects within each other that a file may hold."""
_TOO_DEEP = "lists within lists without end"
Kind = TypeVar("Kind")

OMITTED = {"omitted": True}
"""Metadata of a field that is left out of a file where it is empty."""


def dumps(value: Any) -> str:
    """JSON text of a dataclass: fields and keys in their order, a list of plain values on one line.

    A float that is not finite becomes null; NumPy and torch scalars become numbers.
    """
    text = json.dumps(to_plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    # A raw newline never stands inside a JSON string, so only the layout is touched.
    return re.sub(r"\[\n[^\[\]{}]*?\n\s*\]", _one_line, text) + "\n"


def _one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r"\n\s*", " ", match[0][1:-1]).strip() + "]"


def to_plain(value: Any) -> Any:
    """The value in JSON's own types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: (f, getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {
            name: to_plain(part) for name, (f, part) in fields.items() if part or OMITTED.items() - f.metadata.items()
        }
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    return to_plain(value.item()) if hasattr(value, "item") else str(value)


def loads(text: str) -> Any:
    """The value of a JSON text, for everything that is read from a file.

    Raises:
        ValueError: no JSON, or lists and objects within each other deeper than any file of this project.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level, depth = [value], 1
    while level := [part for each in level for part in _parts(each)]:
        depth += 1
        if depth > DEEPEST:
            raise ValueError(_TOO_DEEP)
    return value


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        BenchmarkError: a folder, a pipe or a device.
        OSError: it cannot be read.
        ValueError: as :func:`loads`, or no UTF-8.
    """
    require_file(path)
    return loads(path.read_text(encoding="utf-8"))


def read_as(kind: type[Kind], path: Path, schema: int) -> Kind:
    """The dataclass, with a field `schema`, of which :func:`dumps` made a file.

    Raises:
        BenchmarkError, OSError, ValueError: as :func:`read_json`; ValueError also for another schema.
        TypeError: as :func:`build`.
    """
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema") != schema:
        raise ValueError(f"its schema is not {schema}")
    return build(kind, data)


def _parts(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def build(kind: Any, data: Any, where: str = "") -> Any:
    """The inverse of :func:`to_plain` for a dataclass (or a type made of dataclasses, dicts, lists and scalars).

    Raises:
        TypeError: a field is missing, unknown or of another type; the text names it.
    """
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, data, where)
    if kind is Any:
        return data
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        value = build(arguments[0], data, where)
        for bound in arguments[1:]:
            if isinstance(bound, Range):
                _expect(bound.holds(value), where, f"a number{bound}")
            elif isinstance(bound, Length):
                _expect(len(value) in bound.allowed, where, f"a list of {' or '.join(map(str, bound.allowed))}")
        return value
    if origin in (Union, types.UnionType):
        if data is None and type(None) in arguments:
            return None
        kinds = [a for a in arguments if a is not type(None)]
        # A word in the place of a value of another type: only texts are compared with it.
        words = {word for a in kinds if get_origin(a) is Literal for word in get_args(a)}
        if isinstance(data, str) and data in words:
            return data
        return build(kinds[0], data, where)
    if origin is dict:
        _expect(isinstance(data, dict), where, "an object")
        return {k: build(arguments[1], v, f"{where}.{k}") for k, v in data.items()}
    if origin is list:
        _expect(isinstance(data, list), where, "a list")
        return [build(arguments[0], v, where) for v in data]
    if kind is float:
        _expect(isinstance(data, (int, float)) and not isinstance(data, bool), where, "a number")
        _expect(math.isfinite(data), where, "a finite number")
        return float(data)
    _expect(type(data) is kind, where, {str: "text", int: "an integer", bool: "true or false"}.get(kind, str(kind)))
    return data


def _build_dataclass(kind: Any, data: Any, where: str) -> Any:
    _expect(isinstance(data, dict), where or "the file", "an object")
    hints, required = _stated_fields(kind)
    prefix = f"{where}." if where else ""
    for name in data:
        if name not in hints:
            raise TypeError(f"unknown field '{prefix}{name}'")
    for name in required:
        if name not in data:
            raise TypeError(f"field '{prefix}{name}' is missing")
    return kind(**{name: build(hints[name], value, prefix + name) for name, value in data.items()})


@cache
def _stated_fields(kind: Any) -> tuple[dict[str, Any], list[str]]:
    """Name -> type of a dataclass's fields, and the names of those without a default; half the time of a record."""
    hints, fields = get_type_hints(kind, include_extras=True), dataclasses.fields(kind)
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    return {f.name: hints[f.name] for f in fields}, required


def _expect(holds: bool, where: str, what: str) -> None:
    if not holds:
        raise TypeError(f"'{where}' is not {what}")


def write_atomic(path: Path, text: str) -> None:
    """Write a text file so that a reader, a crash or a full disk never leaves half of it.

    Raises:
        BenchmarkError: the file cannot be written; an older one stays as it was.
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
