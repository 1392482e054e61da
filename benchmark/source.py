"""Digests of the source that a plugin is made of: its file, and what it imports from its own folder or package."""

from __future__ import annotations

import ast
import hashlib
import io
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

IMPORTED: dict[str, bytes] = {}
"""Module -> the bytes that were run, of modules that were imported by the path of their file."""


@cache
def source_of(plugin: Any) -> dict[str, str]:
    """Digests of the files behind a class, a function or a module, by path; empty where it was made in no file, as in a
    notebook.

    Comments, docstrings and blank lines do not count, since nothing is computed by them. A path is relative to the
    folder of the plugin, of an installed or built-in one to that of its package.
    """
    own = _Folder.of(plugin)
    if own is None:
        return {}
    found: dict[Path, str] = {}
    todo = [(own.file, IMPORTED.get(_module_of(plugin))), *((file, None) for file in own.packages())]
    while todo:
        file, data = todo.pop()
        if file in found:
            continue
        data = file.read_bytes() if data is None else data
        found[file] = hashlib.sha256(essence(data).encode()).hexdigest()
        todo += [(each, None) for each in own.imports(file, data)]
    return {file.relative_to(own.shown).as_posix(): found[file] for file in sorted(found)}


def _module_of(plugin: Any) -> str:
    return plugin.__name__ if isinstance(plugin, ModuleType) else plugin.__module__


def essence(data: bytes) -> str:
    """The lines of a Python file without what computes nothing: comments, docstrings, blank lines."""
    try:
        tree = ast.parse(data)
        lines = io.TextIOWrapper(io.BytesIO(data), tokenize.detect_encoding(io.BytesIO(data).readline)[0]).readlines()
        for token in tokenize.tokenize(io.BytesIO(data).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column]
    except (SyntaxError, ValueError, tokenize.TokenError):  # it was imported, so that this is no Python file
        return data.hex()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body:
            first, begins = node.body[0], getattr(node, "lineno", 0)
            is_text = isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str)
            if is_text and first.lineno > begins:
                end = first.end_lineno or first.lineno
                lines[first.lineno - 1 : end] = [""] * (end - first.lineno + 1)
    return "\n".join(text for line in lines if (text := line.rstrip()))


@dataclass(frozen=True)
class _Folder:
    """Where the code of a plugin lies.

    Attributes:
        file: of the class.
        package: dotted name that `root` has when it is imported; empty for a folder of single files.
        root: folder of that package.
        shown: folder to which paths are relative.
    """

    file: Path
    package: str
    root: Path
    shown: Path

    @classmethod
    def of(cls, plugin: Any) -> _Folder | None:
        name = _module_of(plugin)
        file = getattr(sys.modules.get(name), "__file__", None)
        if not file or not Path(file).is_file():
            return None
        file = Path(file).resolve()
        parts = name.split(".")
        if name in IMPORTED or (len(parts) == 1 and file.name != "__init__.py"):
            return cls(file, "", file.parent, file.parent)
        # What comes along is one package a kind, below the harness, which is not part of a plugin.
        package = ".".join(parts[: 2 if parts[0] == __package__ else 1])
        root = Path(next(iter(sys.modules[package].__path__))).resolve()
        return cls(file, package, root, root.parent)

    def packages(self) -> Iterator[Path]:
        """What is run before the file: the ``__init__.py`` of every package that it is in."""
        inside = [self.root, *(self.root / part for part in self.file.relative_to(self.root).parents)]
        yield from {path for folder in inside if self.package and (path := folder / "__init__.py").is_file()}

    def imports(self, file: Path, data: bytes) -> Iterator[Path]:
        """Files of this folder that a file of it imports, now or when a function is called."""
        inside = (*self.package.split("."), *file.relative_to(self.root).parent.parts) if self.package else ()
        for node in ast.walk(ast.parse(data)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._files(alias.name.split("."))
            elif isinstance(node, ast.ImportFrom):
                base = list(inside[: len(inside) - node.level + 1]) if node.level else []
                base += node.module.split(".") if node.module else []
                for alias in node.names:
                    yield from self._files([*base, alias.name])

    def _files(self, parts: list[str]) -> Iterator[Path]:
        """The files that are run for a dotted name: packages', then the module's or that of which it is a part."""
        if self.package:
            top = self.package.split(".")
            if parts[: len(top)] != top:
                return
            parts = parts[len(top) :]
        place = self.root
        for part in parts:
            place = place / part
            for candidate in (place / "__init__.py", place.with_name(f"{part}.py")):
                if candidate.is_file():
                    yield candidate
                    break
            else:
                return
