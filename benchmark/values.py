"""What stands on a command line as a value of the type and the range that its owner states; the one border for both.

Owners are the fields of :class:`~benchmark.run.options.Options` and :class:`~benchmark.recipe.Recipe` and the
constructor keywords of plugins. They state a type, with its range where there is one::

    epochs: Annotated[int, Range(1)]
    schedule: Literal["poly", "cosine"]
    crop: Annotated[tuple[Annotated[int, Range(1)], ...], Length(0, 2)]
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import re
import types
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from benchmark.errors import BenchmarkError

LARGEST = 2**63 - 1
"""Of an integer; beyond it, tensors and arrays overflow."""


@dataclass(frozen=True)
class Range:
    """Bounds of a number, which belong to it unless `above`: then `low` does not."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether a number lies within."""
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        low = f" {'above' if self.above else 'from'} {self.low:g}" if self.low > -math.inf else ""
        return low + (f" up to {self.high:.15g}" if self.high < math.inf else "")


@dataclass(frozen=True, init=False)
class Length:
    """The lengths that a tuple may have."""

    allowed: tuple[int, ...]

    def __init__(self, *allowed: int) -> None:
        object.__setattr__(self, "allowed", allowed)


Fraction = Annotated[float, Range(0, 1)]
"""A share, and every metric of a ranking."""
Number = Annotated[int, Range(0, 2**62)]
"""How many of something, perhaps none."""
Amount = Annotated[float, Range(0)]
"""Of time or memory."""
Count = Annotated[int, Range(1, 10**6)]
"""A number of things of which there is at least one."""
Pixels = Annotated[int, Range(8, 1 << 14)]
"""A side of an image; networks halve it three times."""


SYNTHETIC: Literal["synthetic"] = "synthetic"
OutlierData = bool | Literal["synthetic"]
"""What outliers a method saw in training: none (false), invented ones ("synthetic"), or images of real ones (true)."""


def typed(value: Any, hint: Any) -> Any:
    """A value as its hint wants it.

    Text is read: an integer without a fraction, a number that is finite, ``true`` or ``false``, ``none``, several
    values separated by commas. Where a float is wanted an integer stays one, so that names and digests say what was
    typed.

    Args:
        value: text of the command line, or a value from elsewhere.
        hint: a type annotation; one that says nothing lets the text decide (:func:`guess`).
    Raises:
        ValueError: the value is of another kind or out of range; the text says in a few words what is wanted.
    """
    for read in _readings(hint):
        try:
            return read(value)
        except (TypeError, ValueError):
            continue
    raise ValueError(describe(hint))


def guess(text: str) -> Any:
    """A value by its form: an integer, a number, true, false or none, else text."""
    words: Mapping[str, Any] = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for read in (_integer, _number):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def describe(hint: Any) -> str:
    """In a few words, what a hint wants."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        kind, *bounds = arguments
        lengths = next((b.allowed for b in bounds if isinstance(b, Length)), None)
        if lengths:
            counts = " or ".join(map(str, lengths))
            return f"{counts} values separated by commas, each {describe(get_args(kind)[0])}"
        return describe(kind) + "".join(str(b) for b in bounds if isinstance(b, Range))
    if origin is Literal:
        return " or ".join(map(str, arguments))
    if origin is tuple:
        each = describe(arguments[0])
        if arguments[-1] is Ellipsis:
            return f"values separated by commas, each {each}"
        return f"{len(arguments)} values separated by commas, each {each}"
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, arguments))
    names = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "none"}
    return names.get(hint, "another value")


def stated_types(owner: Callable[..., Any]) -> dict[str, Any]:
    """The hint of every keyword of a class or function; where none can be read, the type of the default."""
    function = owner.__init__ if inspect.isclass(owner) and not dataclasses.is_dataclass(owner) else owner
    try:
        hints = get_type_hints(function, include_extras=True)
    except Exception:  # a name that only type checkers import
        hints = {}
    parameters = inspect.signature(owner).parameters.items()
    # A default of 1 may well stand for 0.5, too; one that is true or a word for nothing else.
    plain = {bool: bool, int: float, float: float, str: str}
    return {name: hints.get(name, plain.get(type(p.default), Any)) for name, p in parameters}


def _readings(hint: Any) -> list[Callable[[Any], Any]]:
    """Ways to read a value, the first that succeeds counts."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return [read for member in sorted(arguments, key=lambda a: a is str) for read in _readings(member)]
    if origin is Annotated:
        return [lambda value: _bounded(typed(value, arguments[0]), arguments[1:])]
    if origin is Literal:
        return [lambda value: _one_of(value, arguments)]
    if origin is tuple:
        return [lambda value: _tuple(value, arguments)]
    known = {int: _integer, float: _number, bool: _boolean, str: _text, type(None): _none, Path: Path}
    return [known.get(hint, lambda value: guess(value) if isinstance(value, str) else value)]


def _bounded(value: Any, bounds: tuple[Any, ...]) -> Any:
    for bound in bounds:
        if isinstance(bound, Range) and not bound.holds(value):
            raise ValueError(f"{value} lies outside{bound}")
        if isinstance(bound, Length) and len(value) not in bound.allowed:
            raise ValueError(f"{len(value)} values")
    return value


def _one_of(value: Any, allowed: tuple[Any, ...]) -> Any:
    (found,) = (each for each in allowed if str(each) == str(value))
    return found


def _tuple(value: Any, members: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        value = [] if value.strip().lower() in ("", "none") else value.split(",")
    several = list(value) if isinstance(value, (list, tuple)) else [value]
    kinds = [members[0]] * len(several) if members[-1] is Ellipsis else members
    return tuple(typed(each, kind) for each, kind in zip(several, kinds, strict=True))


def _integer(value: Any) -> int:
    if isinstance(value, str):
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,19}\s*", value):
            raise ValueError(f"{value} is no integer")
        value = int(value)
    if type(value) is not int or abs(value) > LARGEST:
        raise ValueError(f"{value} is no integer")
    return value


def _number(value: Any) -> float:
    if isinstance(value, str):
        try:
            return _integer(value)
        except ValueError:
            if not re.fullmatch(r"\s*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\s*", value):
                raise
            value = float(value)
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(f"{value} is no finite number")
    return value


def _boolean(value: Any) -> bool:
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.strip().lower())
    if type(value) is not bool:
        raise ValueError(f"{value} is neither true nor false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value} is no text")
    return value


def _none(value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value.strip().lower() == "none"):
        raise ValueError(f"{value} is not none")


def checked(
    owner: Callable[..., Any], asked: Mapping[str, Any], who: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """Options of a class or function, read and held against the types and ranges that its signature states.

    Args:
        owner: whose keywords they are.
        asked: text of the command line, or values.
        who: begins a message.
        given: keywords that the harness gives, which are no options.
    Raises:
        BenchmarkError: an option that is not known, is missing, or whose value is of another type or out of range.
    """
    signature = inspect.signature(owner)
    known = [name for name in signature.parameters if name not in given]
    try:
        signature.bind_partial(**asked)
        if reserved := [name for name in asked if name in given]:
            raise TypeError(f"'{reserved[0]}' is no option")
        missing = [n for n in known if n not in asked and _required(signature.parameters[n])]
        if missing:
            raise TypeError(f"missing a required argument: '{missing[0]}'")
    except TypeError as error:
        raise BenchmarkError(
            f"{who}: {error}; it knows {', '.join(known) or 'no options'}{_quotation(asked, known)}."
        ) from None
    kinds, values = stated_types(owner), {}
    for key, value in asked.items():
        try:
            values[key] = typed(value, kinds.get(key, Any))
        except ValueError as error:
            raise BenchmarkError(f"{who}: {key} is {error}, not '{value}'.") from None
    return values


def _quotation(asked: Mapping[str, Any], known: Collection[str]) -> str:
    """How to write an unknown option that may be meant for the value before it, as in ``base=folder:path=DIR``."""
    for (before, value), key in zip(list(asked.items()), list(asked)[1:], strict=False):
        if before in known and key not in known:
            return f'; what belongs to the value of {before} stands in quotation marks: {before}="{value}:{key}=..."'
    return ""


def _required(parameter: inspect.Parameter) -> bool:
    variadic = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not variadic


_OPTION = re.compile(r":(?=[A-Za-z_][\w.-]*=)")
"""Begins an option; any other colon belongs to a value, as in ``folder:path=C:/x``."""


def listed(text: str) -> list[str]:
    """What commas separate, without blanks around it and what is empty; quotation marks keep a comma in a part.

    Raises:
        BenchmarkError: a quotation mark is not closed.
    """
    parts, quoted = [""], False
    for character in text:
        quoted ^= character == '"'
        if character == "," and not quoted:
            parts.append("")
        else:
            parts[-1] += character
    if quoted:
        raise BenchmarkError(f"'{text}': a quotation mark is not closed.")
    return [part.strip() for part in parts if part.strip()]


def parse_call(text: str) -> tuple[str, dict[str, str]]:
    """``"name:key=value:flag=true"`` to the name and its options as text.

    A value that holds a comma, or a colon before what looks like a further option, stands in quotation marks:
    ``pasted:base="bdd-anomaly:variant=2"``.
    """
    hidden = re.sub('"[^"]*"', lambda match: "\0" * len(match[0]), text)
    ends = [match.start() for match in _OPTION.finditer(hidden)]
    name, *parts = (text[a:b] for a, b in zip([0, *(end + 1 for end in ends)], [*ends, len(text)], strict=True))
    name, colon, rest = name.partition(":")
    if colon:
        raise BenchmarkError(f"'{text}': '{rest}' is not key=value.")
    options: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        key = key.replace("-", "_")
        if key in options:
            raise BenchmarkError(f"'{text}' says twice what {key} is.")
        options[key] = value.strip().strip('"')
    return name, options


def format_call(name: str, options: Mapping[str, Any]) -> str:
    """The inverse of :func:`parse_call`, with the options in alphabetical order."""
    return ":".join([name, *(f"{key}={format_value(value)}" for key, value in sorted(options.items()))])


def format_value(value: Any) -> str:
    """A value as :func:`parse_call` reads it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    text = ",".join(map(format_value, value)) if isinstance(value, (tuple, list)) else str(value)
    return f'"{text}"' if "," in text or _OPTION.search(text) else text
