"""The borders of the house: who may import whom, how long a file may be, what a command may load."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parent.parent
FOR_PLUGINS = set(
    "data images network method registry training recipe errors blocks machine progress distributed".split()
)
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


def at_module_level(module: ast.Module):
    """Statements that run at import; what only type checkers see is left out."""
    todo = list(module.body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            todo += node.orelse
            continue
        yield node
        todo += [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)]


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


def test_no_circular_imports():
    graph = {
        name: {t for t in imported(at_module_level(tree(path)), path) if t in MODULES and t != name}
        for name, path in MODULES.items()
    }
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(graph[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in graph:
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


@pytest.mark.parametrize("line", [["--help"], ["run", "--help"], ["table", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(line):
    check = (
        "import sys; from benchmark.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'torchvision', 'timm', 'cv2', 'sklearn', 'scipy', 'pandas', 'matplotlib', 'numpy'}\n"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)\n"
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
