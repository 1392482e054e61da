"""Names to plugins: built-ins found by scanning, third parties by entry point, a single file by ``--plugin``.

Nothing is imported before somebody asks for it by name, a plugin that fails to import breaks no other, and no list
of names is kept by hand anywhere.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, TypeVar

from benchmark.errors import BenchmarkError, PluginError, in_words
from benchmark.source import IMPORTED, source_of
from benchmark.values import checked, format_call, parse_call

if TYPE_CHECKING:
    from benchmark.data import Dataset
    from benchmark.method import Method

T = TypeVar("T")
P = TypeVar("P", bound="Plugin")


@dataclass(frozen=True)
class PluginSpec:
    """Under which name and with which options a plugin was made, as a value.

    Attributes:
        name: the plugin's name in its registry.
        config: every option (constructor keyword that the harness does not give) with its value, in order.
        defaults: every option that has a default with it.
    """

    name: str
    config: Mapping[str, Any]
    defaults: Mapping[str, Any]

    @property
    def label(self) -> str:
        """What records and tables call it: the name with the options that differ from their defaults."""
        changed = {k: v for k, v in self.config.items() if k not in self.defaults or v != self.defaults[k]}
        return format_call(self.name, changed)


class Plugin:
    """What methods and datasets share: an instance knows its name and its options, whoever made it.

    The constructor call is kept in :attr:`spec` before ``__init__`` runs, so that ``MSP(double_softmax=True)``
    in a notebook is labelled like ``msp:double_softmax=true`` on the command line.
    """

    registry: ClassVar[Registry[Any]]
    """Where plugins of this kind have their names."""
    given: ClassVar[frozenset[str]] = frozenset()
    """Constructor keywords that the harness gives: no options."""
    spec: PluginSpec
    """Name and options of this instance."""
    stated: frozenset[str]
    """The options that the user gave, be it with their default; those that a dataset chooses are not among them."""

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        instance = super().__new__(cls)
        # Partial, since copying and unpickling call this without arguments; what is missing __init__ says.
        bound = inspect.signature(cls).bind_partial(*arguments, **keywords)
        instance.stated = frozenset(bound.arguments)
        bound.apply_defaults()
        config = {k: v for k, v in bound.arguments.items() if k not in cls.given}
        instance.spec = cls.specify(cls.registry.name_of(cls), config)
        return instance

    @classmethod
    def specify(cls, name: str, config: Mapping[str, Any]) -> PluginSpec:
        """The spec of an instance with this name and these options."""
        return PluginSpec(name, config, cls.defaults())

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The options that have a default, with it."""
        parameters = inspect.signature(cls).parameters.items()
        return {k: p.default for k, p in parameters if k not in cls.given and p.default is not p.empty}

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.spec.name

    @property
    def label(self) -> str:
        """The name with the options that differ from their defaults."""
        return self.spec.label

    @property
    def config(self) -> Mapping[str, Any]:
        """Every option with its value."""
        return self.spec.config


class Registry(Generic[T]):
    """The plugins of one kind: classes, or functions of the type T.

    A plugin is a module that defines exactly one public subclass of the kind's base class (or, for networks, a
    function ``build``); its name is the module's. An entry point of the group, or a file, does the same from outside.

    Args:
        kind: "method", "dataset" or "network"; the word used in messages.
        package: package scanned for built-ins.
        wanted: "module:Class" that a plugin subclasses, or the name of the function that it defines.
        separator: how names are printed; "-" and "_" are interchangeable when asking.
    """

    def __init__(self, kind: str, package: str, wanted: str, separator: str) -> None:
        self.kind = kind
        self.package = package
        self.group = f"anomaly_benchmark.{kind}s"
        self._wanted = wanted
        self._separator = separator
        self._sources: dict[str, tuple[str, Any]] | None = None
        self._loaded: dict[str, T] = {}

    def canonical(self, name: str) -> str:
        """The name as it is printed and stored."""
        other = "_" if self._separator == "-" else "-"
        return name.strip().replace(other, self._separator)

    def names(self) -> list[str]:
        """Every registered name, sorted, whether or not it can be imported."""
        return sorted(self._find())

    def source(self, name: str) -> str:
        """Where a plugin comes from, in words."""
        return self._find()[self.canonical(name)][0]

    def available(self) -> list[str]:
        """The names whose plugin can be imported, sorted. Imports all of them."""
        broken = self.unavailable()
        return [name for name in self.names() if name not in broken]

    def unavailable(self) -> dict[str, str]:
        """Name -> error of every plugin that cannot be imported. Imports all of them."""
        errors = {}
        for name in self.names():
            try:
                self.get(name)
            except BenchmarkError as error:
                errors[name] = str(error)
        return errors

    def name_of(self, plugin: type) -> str:
        """The name of a plugin's class: as it was registered, or as scanning will register it.

        A class from elsewhere, for instance a notebook, is called by its own name in lower case.
        """
        for name, loaded in self._loaded.items():
            if loaded is plugin:
                return name
        inside = f"{self.package}."
        if plugin.__module__.startswith(inside):
            return self.canonical(plugin.__module__.removeprefix(inside).partition(".")[0])
        return self.canonical(plugin.__name__.lower())

    def get(self, name: str) -> T:
        """The plugin's class (or build function).

        Raises:
            BenchmarkError: unknown name (with the nearest known ones), a plugin that cannot be imported, or a class
                that has another name already.
        """
        key = self.canonical(name)
        if key in self._loaded:
            return self._loaded[key]
        if key.replace("-", "_") in BROKEN:
            raise PluginError(BROKEN[key.replace("-", "_")])
        sources = self._find()
        if key not in sources:
            near = difflib.get_close_matches(key.lower(), sources, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(sorted(sources))}."
            raise BenchmarkError(f"There is no {self.kind} '{name}'; {hint}")
        where, target = sources[key]
        try:
            with _alone():
                plugin = self._pick(_imported(target))
        except BaseException as error:  # whatever a plugin raises
            raise PluginError(f"The {self.kind} '{key}' ({where}) cannot be imported: {in_words(error)}") from error
        if inspect.isclass(plugin):
            for other, loaded in self._loaded.items():
                if loaded is plugin:
                    raise BenchmarkError(f"The {self.kind}s '{other}' and '{key}' are one class; remove one name.")
        self._loaded[key] = plugin
        return plugin

    def create(
        self: Registry[type[P]], call: str, options: Mapping[str, Mapping[str, Any]] | None = None, **keywords: Any
    ) -> P:
        """Make an instance from ``name[:key=value[:key=value...]]``.

        Args:
            call: what the user typed.
            options: by plugin, options that stand where the call says nothing.
            keywords: what the harness gives (:attr:`Plugin.given`).
        Raises:
            BenchmarkError: as :meth:`get`; an option that the plugin does not know or a value that it refuses.
        """
        name, stated = parse_call(call)
        cls, key = self.get(name), self.canonical(name)
        asked = {**(options or {}).get(key, {}), **stated}
        chosen = {**keywords, **checked(cls, asked, f"The {self.kind} '{key}'", cls.given)}
        try:
            made = cls(**chosen)
            made.stated = frozenset(stated)
            return made
        except BenchmarkError:
            raise
        except (TypeError, ValueError) as error:
            raise BenchmarkError(f"The {self.kind} '{key}' refuses {call!r}: {error}") from error

    def add(self, name: str, where: str, plugin: Any) -> None:
        """Register a plugin that is already imported: a module, or the class or function itself."""
        self._add(self._find(), self.canonical(name), where, plugin)

    def code(self, name: str) -> str:
        """Digest of the file that a plugin was imported from by its path; else empty.

        SHA-256 of the bytes that were run or, where the file imports others of its folder, of that digest and theirs.
        """
        where, _ = self._find()[self.canonical(name)]
        file = where.removeprefix("file ")
        module = _module_name(Path(file))
        if file == where or module not in IMPORTED:
            return ""
        own = hashlib.sha256(IMPORTED[module]).hexdigest()
        source = source_of(sys.modules[module])
        return own if len(source) < 2 else hashlib.sha256(repr((own, source)).encode()).hexdigest()

    def claims(self, module: ModuleType) -> bool:
        """Whether a module defines a plugin of this kind."""
        return bool(self._candidates(module))

    def _find(self) -> dict[str, tuple[str, Any]]:
        if self._sources is None:
            found: dict[str, tuple[str, Any]] = {}
            package = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(package.__path__):
                if not module.name.startswith("_"):
                    self._add(found, self.canonical(module.name), "built in", f"{self.package}.{module.name}")
            for point in importlib.metadata.entry_points(group=self.group):
                owner = point.dist.name if point.dist else point.value
                self._add(found, self.canonical(point.name), f"entry point of {owner}", point)
            self._sources = found
        return self._sources

    def _add(self, found: dict[str, tuple[str, Any]], name: str, where: str, target: Any) -> None:
        if name in found:
            raise BenchmarkError(
                f"Two {self.kind}s are called '{name}': one {found[name][0]}, one {where}; rename one."
            )
        found[name] = (where, target)

    def _candidates(self, module: ModuleType) -> list[Any]:
        if ":" not in self._wanted:
            found = getattr(module, self._wanted, None)
            return [found] if callable(found) else []
        home, _, base_name = self._wanted.partition(":")
        base = getattr(importlib.import_module(home), base_name)
        return [
            value
            for key, value in vars(module).items()
            if inspect.isclass(value)
            and issubclass(value, base)
            and not inspect.isabstract(value)
            and not key.startswith("_")
            and (value.__module__ == module.__name__ or value.__module__.startswith(module.__name__ + "."))
        ]

    def _pick(self, module: Any) -> Any:
        if not isinstance(module, ModuleType):  # an entry point may name the class itself
            return module
        found = self._candidates(module)
        if len(found) != 1:
            wanted = self._wanted if ":" not in self._wanted else f"subclass of {self._wanted.split(':')[1]}"
            names = f" ({', '.join(c.__name__ for c in found)})" if found else ""
            raise BenchmarkError(
                f"{module.__name__} must define exactly one public {wanted}; it has {len(found)}{names}."
            )
        return found[0]


METHODS: Registry[type[Method]] = Registry("method", "benchmark.methods", "benchmark.method:Method", "_")
DATASETS: Registry[type[Dataset]] = Registry("dataset", "benchmark.datasets", "benchmark.data:Dataset", "-")
NETWORKS: Registry[Callable[..., Any]] = Registry("network", "benchmark.networks", "build", "-")


BROKEN: dict[str, str] = {}
"""Files given by ``--plugin`` that cannot be imported, by the name that they would have -> the sentence that says why.

They are left out, and what else was asked for goes on.
"""


def load_plugin(path: str | Path) -> str:
    """Register the plugin in a Python file under the file's name, whatever kind it is, and return that kind.

    Raises:
        BenchmarkError: there is no such file, or no plugin in it.
        PluginError: it cannot be imported; it then stands in :data:`BROKEN`, for whoever asks for it by its name.
    """
    file = Path(path)
    BROKEN.pop(file.stem.replace("-", "_"), None)
    try:
        module = import_file(file, "--plugin")
    except PluginError as error:
        BROKEN[file.stem.replace("-", "_")] = str(error)
        raise
    for registry in (METHODS, DATASETS, NETWORKS):
        if registry.claims(module):
            registry.add(file.stem, f"file {file}", module)
            return registry.kind
    raise BenchmarkError(f"--plugin {file} defines neither a Method nor a Dataset subclass nor a function build().")


def import_file(file: Path, option: str) -> ModuleType:
    """Import a Python file by its path.

    What is run is what is read here, never bytecode of an earlier state, so that its digest is that of what was run.

    Args:
        file: the file.
        option: what named it, for messages.
    Raises:
        BenchmarkError: there is no such file.
        PluginError: its code fails, or changes what is set for the whole process.
    """
    if not file.is_file():
        raise BenchmarkError(f"{option} {file}: there is no such file.")
    spec = importlib.util.spec_from_file_location(_module_name(file), file)
    if spec is None or spec.loader is None:
        raise BenchmarkError(f"{option} {file}: not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        data = IMPORTED[spec.name] = file.read_bytes()
        with _alone():
            exec(compile(data, str(file.absolute()), "exec", dont_inherit=True), vars(module))
    except BaseException as error:  # whatever a plugin raises
        del sys.modules[spec.name]
        raise PluginError(f"{option} {file} cannot be imported: {in_words(error)}") from error
    return module


def _module_name(file: Path) -> str:
    """What the module of a file that is imported by its path is called."""
    return f"plugin_{file.stem}"


def _imported(target: Any) -> Any:
    """The module (or class) of a built-in plugin's name, of an entry point, or of what is imported already."""
    if isinstance(target, str):
        return importlib.import_module(target)
    return target.load() if not isinstance(target, ModuleType) and hasattr(target, "load") else target


def _alone() -> AbstractContextManager[None]:
    """Around the import of a plugin: what it sets for the whole process is set back, and the plugin refused."""
    from benchmark.isolation.settings import settings_kept  # torch is imported by a plugin, not before

    return settings_kept("its import", importing=True)
