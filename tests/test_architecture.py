"""The borders of the house: who may import whom, how long a file may be, what a command may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmark.registry import DATASETS, METHODS, NETWORKS
from benchmark.weights.released import importables

HOME = Path(__file__).resolve().parent.parent
FOR_PLUGINS = {
    "data",
    "images",
    "network",
    "method",
    "registry",
    "training",
    "recipe",
    "encoders",
    "released",
    "errors",
    "values",
    "blocks",
    "machine",
    "progress",
    "distributed",
}
"""What of the harness a method, a dataset or a network may use."""
PLUGINS = ("methods", "datasets")
SOURCES = sorted(p for package in ("benchmark", *PLUGINS) for p in (HOME / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(HOME).with_suffix("").parts
    parts = ("benchmark", *parts) if parts[0] in PLUGINS else parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(p): p for p in SOURCES}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes, path: Path):
    """Full names of the modules that import statements name; ``from a import b`` is a.b where that is a module."""
    package = name_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield full if full in MODULES or full in map("benchmark.{}".format, PLUGINS) else source


def at_run_time(module: ast.Module):
    """All nodes, inside functions, too, but for imports that only type checkers see: they bind nobody."""
    todo: list[ast.AST] = [module]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        yield node
        todo += ast.iter_child_nodes(node)


def graph() -> dict[str, set[str]]:
    """Module -> the modules of this project that it imports, now or when a function is called."""
    found = {name: {t for t in imported(at_run_time(tree(p)), p) if t in MODULES} for name, p in MODULES.items()}
    return {name: targets - {name} for name, targets in found.items()}


def is_plugin(path: Path) -> bool:
    top = path.relative_to(HOME).parts
    inside = top[0] in PLUGINS or top[:2] == ("benchmark", "networks")
    return inside and top != ("benchmark", "networks", "__init__.py")


@pytest.mark.parametrize("path", [p for p in SOURCES if is_plugin(p)], ids=name_of)
def test_plugins_use_only_the_part_of_the_harness_that_is_for_them(path):
    own = name_of(path).split(".")[1]
    for name in imported(ast.walk(tree(path)), path):
        parts = name.split(".")
        if parts[0] == "benchmark":
            assert len(parts) > 1 and parts[1] in FOR_PLUGINS | {own}, f"{path} imports {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if p.is_relative_to(HOME / "benchmark")], ids=name_of)
def test_the_harness_knows_no_plugin(path):
    for name in imported(ast.walk(tree(path)), path):
        assert not set(name.split(".")[:2]) & {*PLUGINS, "tests"}, f"{path} imports {name}"


@pytest.mark.parametrize("path", [*SOURCES, *sorted((HOME / "tests").rglob("*.py"))], ids=lambda p: p.name)
def test_plugins_are_imported_below_benchmark(path):
    """``methods.msp`` would be a second copy of ``benchmark.methods.msp``, whose classes are others."""
    for name in imported(ast.walk(tree(path)), path):
        assert name.split(".")[0] not in PLUGINS, f"{path} imports {name}, not benchmark.{name}"


EVERYDAY = {"folder", "frozen", "pasted", "energy", "void", "scale"}
"""Plugins' names that are words of the language: only a call by one counts, that is the name alone or "name:key="."""
EXCEPTIONS = {
    ("benchmark.metrics.pixel_protocols", "streethazards"): "the protocol of that dataset's papers bears its name",
    ("benchmark.metrics.bootstrap", "streethazards"): "that protocol as a default",
    ("benchmark.metrics.evaluate", "streethazards"): "that protocol as a default",
    ("benchmark.metrics.pixel_protocols", "dicnet"): "the source of a protocol, that paper's evaluation",
    ("benchmark.metrics.pixel_protocols", "densehybrid"): "the protocol of that paper's evaluation, and its source",
    ("benchmark.metrics.openset", "densehybrid"): "the source of open-set IoU, that paper's evaluation",
    ("benchmark.encoders", "frozen"): "the family of which that file makes specs, for every method",
    ("benchmark.derived", "void"): "the class that VoidAsClass adds: the field's word for pixels without a label",
}
"""(module, name) -> why the harness may say it."""


def spoken(module: ast.Module):
    """String literals that the program works with or prints.

    Left out is what only a reader sees: docstrings, which are statements of their own (those of attributes, too), the
    example commands of a verb's ``--help``, which are the last argument of ``verb(...)`` and ``family(...)``, and those
    of the program's, ``EPILOG``.
    """
    silent = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Expr):
            silent.add(node.value)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("verb", "family"):
            silent.add(node.args[-1])
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EPILOG":
            silent.add(node.value)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in silent:
            yield node


def plugin_names() -> set[str]:
    """Names of all registered methods, datasets, families of networks and releases of weights."""
    return {*METHODS.names(), *DATASETS.names(), *NETWORKS.names(), *importables()}


def says(text: str, name: str) -> bool:
    """Whether a literal has a plugin's name in it, however it is spelt ("camvid_ood", "CamVid-OOD")."""
    spelling = r"[-_ ]?".join(re.split(r"[-_]", name))
    if name in EVERYDAY:
        return bool(re.fullmatch(spelling, text) or re.search(rf"\b{spelling}:\w+=", text))
    return bool(re.search(rf"(?<![^\W_]){spelling}(?![^\W_])", text, re.IGNORECASE))


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("take StreetHazards.", "streethazards", True),
        ("pspnet-small", "pspnet", True),
        ("camvid_ood", "camvid-ood", True),
        ("CamVid-OOD", "camvid-ood", True),
        ("knn+k=5", "knn", True),
        ("unknown", "knn", False),
        ("bands", "pans", False),
        ("free energy", "energy", False),
        ("as in void:index=3", "void", True),
        ("void", "void", True),
    ],
)
def test_what_counts_as_a_name(text, name, found):
    assert says(text, name) is found


def test_no_string_of_the_harness_names_a_plugin():
    """What a plugin is called, how its files are named and what it was released with is known to the plugin alone."""
    names, used, found = plugin_names(), set(), []
    assert {"dicnet", "streethazards", "pspnet", "csail"} <= names
    for path in SOURCES:
        if is_plugin(path):
            continue
        own = set(NETWORKS.names()) if path.parent.name == "networks" else set()
        for node in spoken(tree(path)):
            for name in (n for n in names - own if says(node.value, n)):
                used.add((name_of(path), name))
                if (name_of(path), name) not in EXCEPTIONS:
                    found.append(f"{path.relative_to(HOME)}:{node.lineno} names {name} in {node.value[:60]!r}")
    assert not found, "\n".join(found)
    assert EXCEPTIONS.keys() <= used, "exceptions that nothing needs any more"


ROOMS = """
    errors source values io isolation recipe released distributed machine cost_meter progress blocks registry data
    images network encoders networks derived pool method
    metrics training weights records fetch
    run
    leaderboard pictures maps report bench
    api
    cli __main__
"""
"""Rooms of benchmark/ (a file or a folder at its top) from the ground up: each builds on what stands before it."""
RANKS = ROOMS.split()


def test_rooms_import_downwards_only():
    upwards = []
    for name, targets in graph().items():
        if name.startswith("benchmark.") and name.split(".")[1] not in PLUGINS:
            rank = RANKS.index(name.split(".")[1])
            # The package itself holds the version and imports nothing.
            rooms = {t: t.split(".")[1] for t in targets if t.startswith("benchmark.")}
            upwards += [f"{name} imports {t}" for t, room in rooms.items() if RANKS.index(room) > rank]
    assert not upwards, "\n".join(upwards)
    assert not graph()["benchmark"]


def test_every_room_has_its_rank_and_a_newcomer_finds_the_files_that_matter():
    top = [p for p in (HOME / "benchmark").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()]
    assert {p.stem for p in top} - {"__init__"} == set(RANKS) and len(RANKS) == len(set(RANKS))
    assert sum(p.suffix == ".py" for p in top) <= 20


def test_no_circular_imports():
    """Not even between functions: what two modules need of each other belongs into a third."""
    imports, done = graph(), set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(imports[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in imports:
        visit(name, ())


def test_no_file_is_long():
    files = [*SOURCES, *(HOME / "tests").rglob("*.py")]
    long = {str(p.relative_to(HOME)): n for p in files if (n := len(p.read_text(encoding="utf-8").splitlines())) > 400}
    assert not long, "split by concept"


def test_pickles_are_never_trusted():
    for path in SOURCES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "load"):
                safe = [k for k in node.keywords if k.arg == "weights_only" and getattr(k.value, "value", None) is True]
                assert safe, f"{path}:{node.lineno}: torch.load without weights_only=True"


HEAVY = {"torch", "torchvision", "timm", "cv2", "sklearn", "scipy", "pandas", "matplotlib", "numpy", "transformers"}


@pytest.mark.parametrize(
    ("line", "heavy"),
    [
        (["--help"], HEAVY),
        (["run", "--help"], HEAVY),
        (["table", "--help"], HEAVY),
        (["--version"], HEAVY),
        (
            ["list", "methods"],
            {"torchvision", "timm", "triton", "sklearn", "scipy", "pandas", "matplotlib", "transformers"},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_quick_command_loads_nothing_heavy(line, heavy):
    """Importing torch takes a second and a half, torchvision and timm as long again; the plugins are made of torch."""
    check = (
        "import sys; from benchmark.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code\n"
        f"sys.exit(', '.join(sorted({heavy!r} & set(sys.modules))) or None)\n"
    )
    done = subprocess.run([sys.executable, "-c", check, *line], cwd=HOME, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_no_path_of_one_machine_in_any_tracked_file():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=HOME, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    private = re.compile(
        r"(?<![\w./$}~-])/(home/(?!joe|somebody)|(Users|root|work|tmp|mnt|media|scratch)/)\w", re.ASCII
    )
    for name in filter(None, listed.stdout.split("\0")):
        path = HOME / name
        if path.suffix in (".gz", ".png", ".jpg", ".npz", ".safetensors") or not path.is_file():
            continue
        found = private.search(path.read_text(encoding="utf-8", errors="ignore"))
        assert not found, f"{name} names {found[0]}..."
