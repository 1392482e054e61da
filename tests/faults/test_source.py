"""A number belongs to the code that made it: what was edited is measured again, what is the same is not."""

import hashlib
import importlib
import json
import sys

import pytest
from faulty import Fault
from harness import METHOD, fresh_registries, measured

from benchmark.registry import NETWORKS, load_plugin
from benchmark.run.given_network import resolve
from benchmark.source import source_of

FITTED = """
import torch
from benchmark.method import Method

class Plain(Method):
    def build(self, networks):
        self.register_buffer("offset", torch.zeros(()))

    def fit(self, data, networks):
        self.offset.fill_(1.0)

    def score(self, batch, networks):
        return -networks["base"](batch).logits().amax(dim=1) + self.offset * (batch.images[:, 0] > 128)
"""
RUN = ["run", "--methods", "plain"]
STALE = r"plain: its source changed \(plain.py\)"


def edited(text, *change):
    """Measures a method, then edits its file."""

    def arrange(bench):
        bench.plugin("plain", text)
        assert bench(*RUN) == 0
        bench.before = measured(bench.record("plain"))
        assert text.count(change[0]) == 1
        bench.plugin("plain", text.replace(*change))

    return arrange


def other_number(bench):
    assert measured(bench.record("plain")) != bench.before
    assert bench(*RUN) == 0 and "plain: current" in bench.out


def same_record(bench):
    assert measured(bench.record("plain")) == bench.before


FAULTS = [
    Fault("a negated score", edited(METHOD, "-self.gain", "self.gain"), RUN, STALE, 0, other_number),
    Fault("another constant in fit", edited(FITTED, "fill_(1.0)", "fill_(9.0)"), RUN, STALE, 0, other_number),
    Fault("one comment more", edited(METHOD, "\nimport torch", "\nimport torch  # for nothing"), RUN,
          "plain: current", 0, same_record),
    Fault("a docstring", edited(METHOD, "(Method):", '(Method):\n    """Plain.\n\n    And simple.\n    """\n'), RUN,
          "plain: current", 0, same_record),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_an_edited_method_is_measured_again(bench, fault):
    fault.meet(bench)


def test_a_record_that_states_no_source_stays_current_and_says_so(bench):
    bench.plugin("plain", METHOD)
    assert bench(*RUN) == 0
    (path,) = (bench.runs / "records").rglob("plain.json")
    record = json.loads(path.read_text())
    assert list(record["method"].pop("source")) == ["plain.py"]
    path.write_text(json.dumps(record))
    assert bench(*RUN) == 0
    assert "plain: current" in bench.out and "does not state the source of its method" in bench.out


def test_a_fit_of_another_source_is_made_again(bench):
    bench.plugin("plain", FITTED)
    assert bench("train", "--methods", "plain") == 0
    (path,) = (path for path in (bench.runs / "weights").rglob("plain*.json"))
    made = path.read_bytes()
    assert bench("train", "--methods", "plain") == 0 and path.read_bytes() == made
    bench.plugin("plain", FITTED.replace("1.0", "2.0"))
    assert bench("train", "--methods", "plain") == 0 and path.read_bytes() != made


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a method that imports a module of its own, which imports another."""
    files = {
        "__init__": "",
        "method": "from . import one\nclass Theirs:\n    pass\n",
        "one": "def f():\n    from theirs.two import g\n    import json\n    return g()\n",
        "two": "def g():\n    return 1\n",
        "three": "nobody = 'imports this'\n",
    }
    (tmp_path / "theirs").mkdir()
    for name, text in files.items():
        (tmp_path / "theirs" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path / "theirs"
    for name in [n for n in sys.modules if n.partition(".")[0] == "theirs"]:
        del sys.modules[name]


def test_the_source_is_what_a_plugin_imports_from_its_own_package(package):
    found = source_of(importlib.import_module("theirs.method").Theirs)
    assert list(found) == [f"theirs/{name}.py" for name in ("__init__", "method", "one", "two")]
    for name in [n for n in sys.modules if n.partition(".")[0] == "theirs"]:
        del sys.modules[name]
    (package / "two.py").write_text("def g():\n    # for the second time\n    return 2\n")
    again = source_of(importlib.import_module("theirs.method").Theirs)
    assert [name for name in found if again[name] != found[name]] == ["theirs/two.py"]


def test_a_class_that_was_made_in_no_file_states_nothing():
    assert source_of(type("Notebook", (), {"__module__": "nowhere"})) == {}


def test_the_code_of_a_network_is_what_was_imported(tmp_path):
    """Not what has become of the file since, and never bytecode that an earlier state of the file has left."""
    file = tmp_path / "net.py"
    file.write_text("def build(classes):\n    return 1\n")
    with fresh_registries():
        before = resolve(str(file))[2].code
        file.write_text("def build(classes):\n    return 2\n")
        assert resolve(str(file))[2].code == before and NETWORKS.get("net")(4) == 1
    with fresh_registries():
        assert resolve(str(file))[2].code != before and NETWORKS.get("net")(4) == 2


@pytest.mark.parametrize("as_plugin", [False, True])
@pytest.mark.parametrize("text", ["import json, layers_of_mine\nbuild = print\n", "from layers_of_mine import build\n"])
def test_the_code_of_a_network_is_also_what_it_imports_from_its_folder(tmp_path, monkeypatch, text, as_plugin):
    monkeypatch.syspath_prepend(tmp_path)
    file, layers = tmp_path / "net.py", tmp_path / "layers_of_mine.py"
    file.write_text(text)

    def code(text):
        layers.write_text(text)
        sys.modules.pop(layers.stem, None)
        importlib.invalidate_caches()
        with fresh_registries():
            if as_plugin:
                load_plugin(file)
            return NETWORKS.code("net") if as_plugin else resolve(str(file))[2].code

    one, other = (f"def build(classes):\n    return {value}\n" for value in (1, 22))
    assert code(one) != code(other) and code(one) == code("# a comment\n" + one)
    file.write_text("def build(classes):\n    return 3\n")
    assert code(one) == code(other) == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_plugin_may_define_a_function_that_is_called_load(tmp_path):
    (tmp_path / "plain.py").write_text(METHOD + "\ndef load():\n    return 3\n")
    with fresh_registries():
        assert load_plugin(tmp_path / "plain.py") == "method"
