"""Command lines as TOML files: ``--config FILE`` reads one, and a run keeps what was asked for as another."""

from __future__ import annotations

import argparse
import difflib
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmark import __version__
from benchmark.errors import BenchmarkError

COMMANDS = "commands"
"""The folder of a run folder that keeps what was asked for."""
NEVER = ("help", "config")
"""Options that no file may hold."""
UNKEPT = (*NEVER, "json", "dry-run")
"""Options that change nothing of what a command makes."""


def config(parser: argparse.ArgumentParser) -> None:
    """Let a verb take its options from a file; called when it has all others."""
    switches = [action for action in parser._actions if isinstance(action, argparse._StoreTrueAction)]
    for action in switches:  # so that the command line can undo what a file says
        flags = [f"--no-{flag.removeprefix('--')}" for flag in action.option_strings]
        parser.add_argument(
            *flags, dest=action.dest, action="store_false", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="take options from a TOML file, under the names that they have here (limit = 20, quiet = true); what the "
        "command line says comes before it, also --no-NAME for an option without a value",
    )


def expanded(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    """Parse a command line together with the file that its ``--config`` names.

    Records then state the command as it would be typed without the file. A verb with :func:`config` finds in
    ``arguments.intent`` what to :meth:`~Intent.keep` once it begins.

    Raises:
        BenchmarkError: the file cannot be read, or holds what the verb does not take; names the file and the key.
    """
    first = parser.parse_args(arguments)
    if not hasattr(first, "config"):
        return first
    file = first.config
    if file is None:
        first.intent = Intent(first)
        return first
    verb, *rest = arguments
    words = list(_words(file, first))
    typed = _without_config(rest)
    # Options before what was typed, since the last of equal ones counts; other words were checked to stand once.
    options, others = ([w for w in words if w.startswith("--") is flag] for flag in (True, False))
    whole = [verb, *options, *typed, *others]
    sys.argv = [sys.argv[0], *whole]
    found = parser.parse_args(whole)
    found.intent = Intent(found)
    return found


def _without_config(words: Sequence[str]) -> list[str]:
    reader = argparse.ArgumentParser(add_help=False)
    reader.add_argument("--config")
    return reader.parse_known_args(words)[1]


def _words(file: Path, typed: argparse.Namespace) -> Iterator[str]:
    """The contents of a file as words of a command line, but for those that the command line replaces."""
    parser = typed.verbs[typed.verb]
    known = _keys(parser)
    for key, value in _read(file).items():
        if key not in known:
            raise BenchmarkError(f"{file}: '{key}' is no option of `{typed.verb}`{_hint(key, known, typed.verbs)}")
        action = known[key]
        try:
            words = _of(action, value)
            parser.parse_args(words)
        except (BenchmarkError, ValueError) as error:
            raise BenchmarkError(f"{file}: {key}: {str(error).removesuffix('.')}.") from None
        given = getattr(typed, action.dest)
        if not action.option_strings:
            yield from [] if given else words
        elif isinstance(action, argparse._AppendAction):
            replaced = {_what(item) for item in given}
            yield from (word for word in words if _what(word.partition("=")[2]) not in replaced)
        else:
            yield from words


def _hint(key: str, known: Mapping[str, Any], verbs: Mapping[str, argparse.ArgumentParser]) -> str:
    """What may be meant by a name that a verb does not take."""
    others = [f"`{name}`" for name, parser in verbs.items() if _takes_files(parser) and key in _keys(parser)]
    if others:
        return f" but of {' and '.join(others)}; leave it out."
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else f"; it takes {', '.join(known)}."


def _takes_files(parser: argparse.ArgumentParser) -> bool:
    return any(action.dest == "config" for action in parser._actions)


def _keys(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The options of a verb by their names in a file; those that ``--help`` hides are ways to undo others."""
    found = {}
    for action in parser._actions:
        key = action.option_strings[-1].removeprefix("--") if action.option_strings else action.dest
        if key not in NEVER and action.help is not argparse.SUPPRESS:
            found[key] = action
    return found


def _read(file: Path) -> dict[str, Any]:
    from benchmark.io.walk import require_file

    try:
        require_file(file)
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))  # some editors begin a file with a mark
    except FileNotFoundError:
        raise BenchmarkError(f"--config {file}: there is no such file.") from None
    except OSError as error:
        raise BenchmarkError(f"--config {file} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise BenchmarkError(f"--config {file} is no TOML ({error}); strings stand in quotation marks.") from None


def _of(action: argparse.Action, value: Any) -> list[str]:
    """A value of a file as the words that give it to an option.

    Raises:
        ValueError: it is of a kind that the option does not take.
    """
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ValueError(f"it is true or false, not {json.dumps(value, default=str)}")
        return action.option_strings[-1:] if value else []
    several = isinstance(action, argparse._AppendAction) or not action.option_strings
    if isinstance(value, Mapping):
        if not several:
            raise ValueError("it takes a value, no table")
        value = [f"{key}={_text(part)}" for key, part in _leaves(value)]
    if not isinstance(value, list):
        value = [value]
    texts = [_text(part) for part in value] if several else [_text(value)]
    if not action.option_strings:
        if dashed := next((text for text in texts if text.startswith("-")), None):
            raise ValueError(f"'{dashed}' would be taken for an option; write './{dashed}'")
        return texts
    return [f"{action.option_strings[-1]}={text}" for text in texts]


def _leaves(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _text(value: Any) -> str:
    """A value as typed: several separated by commas."""
    if isinstance(value, Mapping):
        raise ValueError("it takes values, no tables")
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _what(item: str) -> str:
    """What an option that may be given several times is about: ``segmentation.epochs`` of ``segmentation.epochs=2``."""
    return item.partition("=")[0]


class Intent:
    """What a command was asked for, kept in its run folder in the form that ``--config`` reads.

    Args:
        arguments: of a verb that :func:`config` was called for.
    """

    def __init__(self, arguments: argparse.Namespace) -> None:
        parser, self._verb, self._out = arguments.verbs[arguments.verb], arguments.verb, arguments.out
        usual = parser.parse_args([])
        lines = []
        for key, action in _keys(parser).items():
            value = getattr(arguments, action.dest)
            if key not in UNKEPT and value not in (None, getattr(usual, action.dest)):
                lines.append(f"{key} = {_toml(value)}")
        self.text = "\n".join([*lines, ""])

    @property
    def path(self) -> Path:
        """Where it is kept: the same for the same words, however often they are typed."""
        name = hashlib.sha256(self.text.encode(errors="surrogateescape")).hexdigest()[:8]
        return self._out / COMMANDS / f"{self._verb}-{name}.toml"

    def keep(self) -> None:
        """Write the file.

        Raises:
            BenchmarkError: the folder cannot be written.
        """
        from benchmark.io.jsonfile import write_atomic

        head = (
            f"# What was asked for, with version {__version__}; from the same folder the same again:\n"
            f"#   python -m benchmark {self._verb} --config {self.path}\n\n"
        )
        write_atomic(self.path, (head + self.text).encode(errors="replace").decode())  # a path may be no UTF-8


def _toml(value: Any) -> str:
    """A value as TOML writes it; its strings are JSON's."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False)
