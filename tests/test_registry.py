"""Names to plugins: scanning, entry points, files, and what is said when something is wrong."""

import copy
import importlib
import pickle
import sys
from types import SimpleNamespace
from typing import Literal

import pytest
from harness import METHOD, fresh_registries

from benchmark.errors import BenchmarkError, in_words
from benchmark.registry import DATASETS, METHODS, NETWORKS, load_plugin
from benchmark.values import checked, format_call, listed, parse_call

BASE = """
from benchmark.registry import Plugin, Registry

ZOO = Registry("animal", "zoo", "zoo_base:Animal", "-")

class Animal(Plugin):
    registry = ZOO
    given = frozenset({"home"})

    def __init__(self): ...
"""


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    """A package of plugins: a sound one, one that raises at import, one without and one with two classes."""
    (tmp_path / "zoo_base.py").write_text(BASE)
    folder = tmp_path / "zoo"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_private.py").write_text("raise RuntimeError")
    (folder / "red_fox.py").write_text(
        "from zoo_base import Animal\nclass Fox(Animal):\n"
        "    def __init__(self, home='den', tail: bool = True, speed=2.5):\n"
        "        if speed < 0:\n            raise ValueError('the speed is negative.')\n"
    )
    (folder / "broken.py").write_text("import no_such_library")
    (folder / "empty.py").write_text("from zoo_base import Animal")
    (folder / "twins.py").write_text("from zoo_base import Animal\nclass A(Animal): ...\nclass B(Animal): ...")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield importlib.import_module("zoo_base").ZOO
    for name in [n for n in sys.modules if n.split(".")[0] in ("zoo", "zoo_base")]:
        del sys.modules[name]


def test_scanning_finds_modules_without_importing_them(zoo):
    assert zoo.names() == ["broken", "empty", "red-fox", "twins"]
    assert "zoo.red_fox" not in sys.modules
    assert zoo.source("red_fox") == "built in"


def test_hyphen_and_underscore_are_interchangeable(zoo):
    assert zoo.get("red-fox") is zoo.get("red_fox") is zoo.get(" red-fox ")
    assert zoo.name_of(zoo.get("red_fox")) == "red-fox"


def test_an_unknown_name_suggests_the_nearest(zoo):
    with pytest.raises(BenchmarkError, match=r"no animal 'red_fix'; did you mean red-fox\?"):
        zoo.get("red_fix")
    with pytest.raises(BenchmarkError, match=r"no animal 'Red Fox'; did you mean red-fox\?"):
        zoo.get("Red Fox")
    with pytest.raises(BenchmarkError, match=r"known are broken, empty, red-fox, twins\."):
        zoo.get("xyz")


def test_a_broken_plugin_is_named_and_breaks_no_other(zoo):
    broken = zoo.unavailable()
    assert sorted(broken) == ["broken", "empty", "twins"]
    assert "ModuleNotFoundError" in broken["broken"] and "no_such_library" in broken["broken"]
    assert "it has 0" in broken["empty"]
    assert "it has 2 (A, B)" in broken["twins"]
    assert all("\n" not in sentence for sentence in broken.values())
    assert zoo.get("red-fox")


def test_options_become_config_and_label(zoo):
    fox = zoo.create("red-fox:tail=false")
    assert fox.config == {"tail": False, "speed": 2.5} and fox.label == "red-fox:tail=false"
    assert zoo.create("red_fox").label == "red-fox"
    assert zoo.create("red-fox:speed=2.5").label == "red-fox", "an option at its default is no option"
    assert zoo.create("red-fox:tail=false:speed=3").label == zoo.create("red-fox:speed=3:tail=false").label
    assert "home" not in zoo.create("red-fox", home="hole").config, "what the harness gives is no option"


def test_what_is_made_by_hand_is_called_what_the_registry_calls_it(zoo):
    module = importlib.import_module("zoo.red_fox")  # nobody has asked the registry yet
    by_hand, made = module.Fox("hole", False), zoo.create("red-fox:tail=false")
    assert by_hand.spec == made.spec and by_hand.label == "red-fox:tail=false"
    with pytest.raises(TypeError, match="ears"):
        module.Fox(ears=2)

    class Wolf(module.Fox):
        pass

    assert Wolf(speed=3).label == "wolf:speed=3", "a class of no package has its own name"
    assert copy.deepcopy(Wolf(speed=3)).label == "wolf:speed=3"
    assert pickle.loads(pickle.dumps(by_hand)).spec == by_hand.spec


def test_a_class_has_one_name(zoo):
    fox = zoo.get("red-fox")
    zoo.add("vixen", "a test", fox)
    with pytest.raises(BenchmarkError, match="animals 'red-fox' and 'vixen' are one class"):
        zoo.get("vixen")


def test_options_of_a_dataset_stand_where_the_call_says_nothing(zoo):
    given = {"red-fox": {"tail": False, "speed": 9.0}, "other": {"ears": 2}}
    assert zoo.create("red-fox:speed=1", given).config == {"tail": False, "speed": 1}
    assert zoo.create("red_fox", given).label == "red-fox:speed=9.0:tail=false", "they show in the label"
    assert zoo.create("red-fox:tail=true:speed=2.5", given).label == "red-fox"
    with pytest.raises(BenchmarkError, match=r"'red-fox'.*'ears'"):
        zoo.create("red-fox", {"red-fox": {"ears": 2}})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("red-fox:ears=2", "'red-fox'.*'ears'; it knows tail, speed"),
        ("red-fox:tail", "'tail' is not key=value"),
        ("red-fox:=2", "is not key=value"),
        ("red-fox:tail=no", "'red-fox': tail is true or false, not 'no'"),
        ("red-fox:tail=1", "tail is true or false, not '1'"),
        ("red-fox:speed=fast", "speed is a number, not 'fast'"),
        ("red-fox:speed=nan", "speed is a number, not 'nan'"),
        ("red-fox:speed=1e999", "speed is a number, not '1e999'"),
        ("red-fox:speed=1:speed=2", "says twice what speed is"),
        ("red-fox:speed=-1", "refuses 'red-fox:speed=-1': the speed is negative"),
    ],
)
def test_a_wrong_option_is_one_sentence(zoo, call, words):
    with pytest.raises(BenchmarkError, match=words):
        zoo.create(call)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("m:a=1:some-key=1e-4:path=x=y", dict(a="1", some_key="1e-4", path="x=y")),
        ("m:path=C:/x:k=2", dict(path="C:/x", k="2")),
        ('m:path="a,b:k=1":k=2', dict(path="a,b:k=1", k="2")),
        ("m:path=2024", dict(path="2024")),
        ("m:path=", dict(path="")),
    ],
)
def test_an_option_ends_where_the_next_begins(text, options):
    assert parse_call(text) == ("m", options)


def test_quotation_marks_keep_commas_and_colons_together():
    assert listed('a, b:path="x,y",,c') == ["a", 'b:path="x,y"', "c"]
    with pytest.raises(BenchmarkError, match="a quotation mark is not closed"):
        listed('a:path="x,y')


@pytest.mark.parametrize("value", ["x", "C:/x", "2024", "true", "none", "", "a,b", "a:b=c", "k=v", "ä ö"])
def test_a_label_is_a_call_again(value):
    assert parse_call(format_call("m", {"path": value, "z": 1})) == ("m", {"path": value, "z": "1"})


def make(a: int, b: int | None, c: int | str, d: bool, e: float, f: Literal["x", "y"], g: tuple[int, ...], h: str): ...


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (
            dict(a="3", b="none", c="auto", d="True", e="3", f="y", g="1,2", h="1"),
            [3, None, "auto", True, 3, "y", (1, 2), "1"],
        ),
        (dict(a=-2, b="4", c="4", d=False, e="2.5", f="x", g="7", h="true"), [-2, 4, 4, False, 2.5, "x", (7,), "true"]),
    ],
)
def test_options_are_of_the_types_that_the_signature_states(asked, found):
    read = list(checked(make, asked, "It").values())
    assert read == found and list(map(type, read)) == list(map(type, found))


@pytest.mark.parametrize(
    ("key", "value"), [("a", "1.0"), ("a", "true"), ("a", True), ("a", "9" * 30), ("a", "١"), ("b", "x"), ("d", "1"),
                       ("e", "inf"), ("e", True), ("f", "z"), ("g", "1,x"), ("h", 3)]
)  # fmt: skip
def test_a_value_of_another_type_is_refused(key, value):
    good = dict(a=1, b=1, c=1, d=True, e=1.0, f="x", g=(1,), h="")
    with pytest.raises(BenchmarkError, match=f"It: {key} is .*, not "):
        checked(make, good | {key: value}, "It")


def test_an_entry_point_is_a_plugin(zoo, monkeypatch):
    owl = SimpleNamespace(name="snow_owl", value="owls:Owl", dist=SimpleNamespace(name="owlery"))
    owl.load = lambda: type("Owl", (), {"__module__": "owls"})
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [owl] if group == zoo.group else [])
    assert "snow-owl" in zoo.names()
    assert zoo.source("snow-owl") == "entry point of owlery"
    assert zoo.name_of(zoo.get("snow-owl")) == "snow-owl"


def test_an_entry_point_that_fails_is_unavailable(zoo, monkeypatch):
    def load():
        raise AttributeError("module 'owls' has no attribute 'Owl'")

    owl = SimpleNamespace(name="owl", value="owls:Owl", dist=None, load=load)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [owl])
    assert "(entry point of owls:Owl) cannot be imported: AttributeError" in zoo.unavailable()["owl"]
    assert zoo.get("red-fox")


def test_two_plugins_of_one_name_are_an_error_that_names_both(zoo, monkeypatch):
    fox = SimpleNamespace(name="red_fox", value="foxes:Fox", dist=SimpleNamespace(name="foxes"))
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [fox])
    with pytest.raises(BenchmarkError, match="'red-fox': one built in, one entry point of foxes"):
        zoo.names()


def test_a_file_is_a_plugin_of_its_kind(registries, tmp_path):
    (tmp_path / "my_method.py").write_text(METHOD)
    assert load_plugin(tmp_path / "my_method.py") == "method"
    made = METHODS.create("my-method:gain=2")
    assert (made.name, made.label, made.gain) == ("my_method", "my_method:gain=2", 2)
    assert METHODS.source("my_method") == f"file {tmp_path / 'my_method.py'}"
    (tmp_path / "my_net.py").write_text("def build(variant, classes): ...")
    assert load_plugin(tmp_path / "my_net.py") == "network"
    assert "my-net" in NETWORKS.names()


def test_a_file_that_is_no_plugin_is_an_error(registries, tmp_path):
    with pytest.raises(BenchmarkError, match="no such file"):
        load_plugin(tmp_path / "missing.py")
    (tmp_path / "bad.py").write_text("import no_such_library")
    with pytest.raises(BenchmarkError, match=r"bad.py cannot be imported: ModuleNotFoundError"):
        load_plugin(tmp_path / "bad.py")
    (tmp_path / "syntax.py").write_text("def (")
    with pytest.raises(BenchmarkError, match=r"syntax.py cannot be imported: SyntaxError"):
        load_plugin(tmp_path / "syntax.py")
    (tmp_path / "idle.py").write_text("x = 1")
    with pytest.raises(BenchmarkError, match=r"idle.py defines neither"):
        load_plugin(tmp_path / "idle.py")
    (tmp_path / "msp.py").write_text(METHOD)
    with pytest.raises(BenchmarkError, match=r"Two methods are called 'msp': one built in, one file .*msp.py"):
        load_plugin(tmp_path / "msp.py")


def test_what_a_test_registers_is_gone_afterwards(tmp_path):
    (tmp_path / "visitor.py").write_text(METHOD)
    with fresh_registries():
        load_plugin(tmp_path / "visitor.py")
    assert "visitor" not in METHODS.names()


def test_every_built_in_plugin_can_be_imported():
    assert {r.kind: r.unavailable() for r in (METHODS, DATASETS, NETWORKS)} == {
        "method": {},
        "dataset": {},
        "network": {},
    }


def test_a_plugin_named_from_the_working_directory_shows_its_line_when_it_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frail.py").write_text(METHOD.replace(".amax(dim=1)", ".no_such_thing"))
    with fresh_registries():
        load_plugin("frail.py")
        method = METHODS.get("frail")()
        assert METHODS.source("frail") == "file frail.py"
    line = METHOD.splitlines().index(next(text for text in METHOD.splitlines() if ".amax" in text)) + 1
    with pytest.raises(AttributeError) as stop:
        method.score(None, {"base": lambda batch: SimpleNamespace(logits=lambda: 0)})
    inside = stop.value.with_traceback(stop.tb.tb_next)  # without this file's own frame
    assert in_words(inside).endswith(f"(frail.py, line {line}, in score)")
