"""What a plugin may do wrong: it is dropped by name, its own line is shown, and nobody else's number changes."""

import os
import sys

import cv2
import pytest
import torch
from faulty import Fault
from harness import measured

from benchmark.isolation import seals

IMPORTS = """
import functools, os, random, signal, sys, warnings
import cv2
from dataclasses import replace
import numpy as np
import torch
from torch import nn
from benchmark.method import Method, Need
from benchmark.errors import BenchmarkError
"""
SCORE = """
    def score(self, batch, networks):
        return -networks["base"](batch).logits().amax(dim=1)
"""
_reference = {}


def plugin(*lines, before="", scores='-networks["base"](batch).logits().amax(dim=1)'):
    """Writes a method "bad" whose score() runs these lines first; `before` stands before the class."""
    body = "".join(f"\n        {line}" for line in lines)
    text = (
        f"{IMPORTS}{before}\nclass Bad(Method):\n    def score(self, batch, networks):{body}\n        return {scores}\n"
    )
    return lambda bench: bench.plugin("bad", text) and None


def method(text):
    """Writes a method "bad" with these lines in its class, beside an honest score()."""
    body = "".join(f"    {line}\n" for line in text.splitlines())
    return lambda bench: (
        bench.plugin("bad", f"{IMPORTS}\nclass Bad(Method):\n{body}{'' if 'def score' in text else SCORE}") and None
    )


def others_are_untouched(bench):
    """The method beside it has the record that it has when it runs alone, and the bad one has none."""
    assert bench.records() == {"energy"}
    found = measured(bench.record("energy"))
    if not _reference or bench.device != "cpu":  # of two trainings on a GPU, the weights differ in the last digits
        bench.plugins = [path for path in bench.plugins if path.stem != "bad"]
        assert bench("run", "--methods", "energy", "--force") == 0
        alone = measured(bench.record("energy"))
    else:
        alone = _reference["energy"]
    if bench.device == "cpu":
        _reference["energy"] = alone
    assert found == alone


RUN = ["run", "--methods", "bad,energy"]
NET = 'network = networks["base"].module'
NORM = "next(m for m in network.modules() if isinstance(m, nn.BatchNorm2d))"
WEIGHTS = r"bad: score\(\) changes the network pspnet-small \(.*its weights.*\), which all methods share"
MODULES = r"bad: score\(\) changes the network pspnet-small \(its modules or their attributes"
OUTPUTS = r"bad: score\(\) changes outputs of a network, which all methods share"
OUT = 'out = networks["base"](batch)'

WRITES = [
    ("weights set to zero", [NET, "for p in network.parameters(): p.data.zero_()"], WEIGHTS),
    ("one weight through numpy", [NET, "next(network.parameters()).detach().numpy().flat[0] += 1"], WEIGHTS),
    ("weights in torch, in place", [NET, "next(network.parameters()).mul_(2)"], WEIGHTS),
    ("weights loaded", [NET, "network.load_state_dict({k: v * 0 for k, v in network.state_dict().items()})"], WEIGHTS),
    ("weights in half precision", [NET, "network.half()"], "bad: .*(score|network)"),
    ("weights in double precision", [NET, "network.double()", "network.float()"], MODULES),
    ("two weights swapped", [NET, "p = next(network.parameters())", "p.data.copy_(p.data.flip(0))"], WEIGHTS),
    ("statistics of a normalisation", [NET, f"{NORM}.running_mean.zero_()"], WEIGHTS),
    ("the mean of the pixels", [NET, "network.mean.zero_()"], WEIGHTS),
    ("train mode", [NET, "network.train()"], MODULES),
    ("train mode of a part", [NET, "list(network.modules())[-1].train()"], MODULES),
    ("a submodule replaced", [NET, "network._modules[next(iter(network._modules))] = nn.Identity()"], MODULES),
    ("a hook", [NET, "network.register_forward_hook(lambda m, i, o: None)"], MODULES),
    ("an epsilon", [NET, f"{NORM}.eps = 0.5"], MODULES),
    ("another forward", [NET, "network.forward = lambda *a, **k: None"], MODULES),
    ("gradients of weights", [NET, "network.requires_grad_(True)"], "which of its weights take gradients"),
    ("logits in place", [OUT, "out.logits().zero_()"], OUTPUTS),
    ("logits through data", [OUT, "out.logits().data.mul_(-1)"], OUTPUTS),
    ("logits through numpy", [OUT, "out.logits().numpy()[:] = 0"], OUTPUTS),
    ("one logit through numpy", [OUT, "out.logits().numpy()[0, 0, 5, 5] = 99"], OUTPUTS),
    ("log-probabilities", [OUT, "out.log_probabilities().exp_()"], OUTPUTS),
    ("largest logits", [OUT, "out.max_logits()[0].zero_()"], OUTPUTS),
    ("the prediction", [OUT, "out.prediction().zero_()"], OUTPUTS),
    ("features of a scale", [OUT, "out.scales[0].logits.zero_()"], OUTPUTS),
    ("the list of scales", [OUT, "out.scales.clear()"], "AttributeError.*bad.py, line"),
    ("the images", ["batch.images.zero_()"], r"bad: score\(\) changes the images"),
    ("the images through numpy", ["batch.images.numpy()[:] = 0"], r"bad: score\(\) changes the images"),
    ("the size of the images", ["batch.images.resize_(0)"], r"bad: score\(\) changes the images"),
    ("the labels", ["batch.labels.fill_(1)"], r"bad: score\(\) changes the images or labels"),
]  # fmt: skip
SETTINGS = [
    ("torch.set_default_dtype(torch.float64)", "torch's default dtype"),
    ('torch.set_default_device("meta")', "torch's default device"),
    ("torch.set_num_threads(3)", "torch's number of threads"),
    ("torch.use_deterministic_algorithms(True)", "torch's deterministic algorithms"),
    ("torch.set_flush_denormal(True)", "torch's treatment of denormal numbers"),
    ('torch.set_float32_matmul_precision("medium")', "torch's precision of float32 products"),
    ("torch.backends.cuda.matmul.allow_tf32 = True", "torch's precision of float32 products"),
    ('torch.backends.fp32_precision = "tf32"', "torch's precision of float32 products"),
    ("torch.backends.cudnn.benchmark = True", "cuDNN's benchmark mode"),
    ("torch.backends.cudnn.deterministic = True", "cuDNN's deterministic mode"),
    ("nn.modules.module.register_module_forward_hook(lambda m, i, o: o * 0)", "hooks on every torch module"),
    ('np.seterr(all="raise")', "numpy's error handling"),
    ("cv2.setNumThreads(7)", "OpenCV's number of threads"),
    ("cv2.setUseOptimized(not cv2.useOptimized())", "whether OpenCV is optimised"),
    ('os.environ["COLOUR"] = "blue"', "the environment variables"),
    ("os.environ.clear()", "the environment variables"),
    ("sys.setrecursionlimit(9999)", "the limit of recursion"),
    ("torch.softmax = lambda *a, **k: a[0]", r"torch\.softmax"),
    ("torch.nn.functional.log_softmax = lambda *a, **k: a[0] * 0", r"torch\.nn\.functional\.log_softmax"),
    ("torch.Tensor.amax = lambda *a, **k: a[0][:, 0]", r"torch\.Tensor\.amax"),
    ("nn.Module.__call__ = lambda *a, **k: None", r"torch\.nn\.Module\.__call__"),
    ("nn.Conv2d.forward = lambda self, x: x.new_zeros(len(x), self.out_channels, 1, 1)", r"Conv2d\.forward"),
    ("nn.BatchNorm2d.forward = lambda self, x: x * 0", r"torch\.nn\.BatchNorm2d\.forward"),
    ("torch.linalg.vector_norm = lambda x, *a, **k: x[:, 0]", r"torch\.linalg\.vector_norm"),
    (
        "nn.functional.softmax = functools.wraps(nn.functional.softmax)(lambda x, *a, **k: x * 0)",
        r"torch\.nn\.functional\.softmax",
    ),
    (
        "nn.functional.softmax = torch.no_grad()(functools.wraps(nn.functional.softmax)(lambda x, **k: x))",
        r"functional\.softmax",
    ),
    (
        "nn.functional.softmax = type('C', (), {'__module__': 'torch', '__name__': 'softmax', '__call__': print})()",
        r"functional\.softmax",
    ),
    ("del torch.amax", r"torch\.amax"),
    ("np.asarray = np.zeros_like", r"numpy\.asarray"),
    ("import benchmark.metrics.sorted_image as own; own.keys_of = lambda x: x", r"sorted_image\.keys_of"),
    ("import benchmark.metrics.ranking as own; own.Ranking.auroc = lambda self: 0.99", r"Ranking\.auroc"),
    ('os.chdir("/")', "the working directory"),
    ("signal.signal(signal.SIGINT, lambda *_: None)", "the handler of Ctrl-C"),
    ('sys.stdout = open(os.devnull, "w")', "standard output"),
    ("sys.settrace(lambda *a: None)", "Python's tracing"),
    ("torch.autograd.set_detect_anomaly(True)", "torch's detection of anomalies"),
    ("from torch.overrides import BaseTorchFunctionMode as Mode; Mode().__enter__()", "torch's modes"),
    ("torch.set_default_tensor_type(torch.DoubleTensor)", "torch's default dtype"),
    ("import builtins; builtins.sorted = lambda *a, **k: []", r"builtins\.sorted"),
    ("import time; time.perf_counter = lambda: 0.0", r"time\.perf_counter"),
    (
        "import benchmark.methods.energy as other; other.Energy.score = lambda self, b, n: b.images[:, 0].float()",
        r"benchmark\.methods\.energy\.Energy\.score",
    ),
    (
        "import benchmark.methods.energy as other, benchmark.methods.msp as msp; other.Energy.score = msp.MSP.score",
        r"benchmark\.methods\.energy\.Energy\.score",
    ),
    ("import benchmark.methods.energy as other; other.torch = None", r"benchmark\.methods\.energy\.torch"),
    (
        "import benchmark.networks.pspnet as other; other.PSPNet.forward = lambda self, x, taps=(): None",
        r"benchmark\.networks\.pspnet\.PSPNet\.forward",
    ),
    ("import benchmark.data as own; own.Batch.blind = property(lambda self: self)", r"benchmark\.data\.Batch\.blind"),
]
ZEROS = "torch.nn.functional.interpolate = lambda x, size, **k: torch.zeros(*x.shape[:2], *size)"
"""What the harness enlarges shared maps with, so that they are made with the wrong function."""
WHEN = {
    "score()": lambda line: plugin(line),
    "build()": lambda line: method(f"def build(self, networks):\n    {line}"),
    "fit()": lambda line: method(f"def fit(self, data, networks):\n    {line}"),
    "observe()": lambda line: method(f"def observe(self, batch, networks):\n    {line}"),
}
TOUCHES = [
    *(Fault(title, plugin(*lines), RUN, says, 1, others_are_untouched) for title, lines, says in WRITES),
    *(
        Fault(f"{line} in score", plugin(line), RUN, rf"bad: score\(\) changes .*{name}", 1, others_are_untouched)
        for line, name in SETTINGS
    ),
    *(
        Fault(f"the default dtype in {when}", arrange("torch.set_default_dtype(torch.float64)"), RUN,
              rf"bad: {when[:-2]}\(\) changes torch's default dtype", 1, others_are_untouched)
        for when, arrange in WHEN.items()
    ),
    *(
        Fault(f"the shared weights in {when}", arrange('next(networks["base"].module.parameters()).data.zero_()'), RUN,
              rf"bad: {when[:-2]}\(\) changes the network", 1, others_are_untouched)
        for when, arrange in WHEN.items()
    ),
    Fault("the images that are observed", WHEN["observe()"]("batch.images.zero_()"), RUN, "changes the images", 1,
          others_are_untouched),
    Fault("the labels that are observed", WHEN["observe()"]("batch.labels.zero_()"), RUN, "changes the images", 1,
          others_are_untouched),
    *(
        Fault(f"a function of torch in {when}", arrange(ZEROS),
              RUN, rf"bad: {when[:-2]}\(\) changes torch\.nn\.functional\.interpolate", 1, others_are_untouched)
        for when, arrange in WHEN.items()
    ),
    Fault("a function of torch at a later batch",
          plugin('if batch.ids[0].endswith("2"): torch.logsumexp = lambda *a, **k: a[0][:, 0] * 0'), RUN,
          r"bad: score\(\) changes torch\.logsumexp", 1, others_are_untouched),
    Fault("a function of torch when imported", plugin(before="torch.logsumexp = lambda *a, **k: a[0][:, 0] * 0"), RUN,
          r"bad.py cannot be imported: its import changes torch\.logsumexp", 2, others_are_untouched),
    Fault("the default dtype when imported", plugin(before="torch.set_default_dtype(torch.float64)"), RUN,
          "bad.py cannot be imported: its import changes torch's default dtype", 2, others_are_untouched),
]  # fmt: skip


@pytest.mark.parametrize("fault", TOUCHES, ids=str)
def test_who_touches_what_all_share_is_dropped_by_name(bench, fault):
    fault.meet(bench)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("fault", [fault for fault in TOUCHES if "numpy" not in fault.title], ids=str)
def test_so_it_is_on_a_gpu(bench, fault):
    """What numpy shares with a tensor is memory of the CPU."""
    bench.device = "cuda"
    fault.meet(bench)


def test_what_libraries_set_when_they_are_imported_is_put_back_without_a_word(bench):
    """A plugin cannot help what it imports."""
    threads, recursion, environment = cv2.getNumThreads(), sys.getrecursionlimit(), dict(os.environ)
    lines = 'cv2.setNumThreads(7); sys.setrecursionlimit(9999); os.environ["COLOUR"] = "blue"; del os.environ["PATH"]'
    plugin(before=lines)(bench)
    assert bench(*RUN) == 0
    assert (cv2.getNumThreads(), sys.getrecursionlimit(), dict(os.environ)) == (threads, recursion, environment)


def test_a_library_may_wrap_a_function_of_its_own(bench, monkeypatch):
    """Parts of torch that are imported late do so, with ``functools.wraps``, in a file of torch's."""
    monkeypatch.setattr(torch, "manual_seed", torch.manual_seed)
    wrapped = "functools.wraps(torch.manual_seed)(lambda *a: torch.random.manual_seed(*a))"
    before = f"exec(compile('torch.manual_seed = {wrapped}', torch.__file__, 'exec'))"
    plugin(before=before)(bench)
    assert bench(*RUN) == 0, bench.err


def test_a_small_write_behind_torchs_back_is_found_in_its_turn():
    """Of large maps one part in 32 is looked at in every batch but the first, another one each time."""
    values = torch.zeros(3, 1 << 20)
    found = []
    for turn in range(2 * seals.STEP):
        sealed = seals.TensorSeals(whole=False, turn=turn)
        sealed.add(values)
        values.numpy()[1, 777_777] += 1
        found.append(sealed.broken())
        copy = values.clone()
        copy.numpy()[1, 777_777] += 1
        assert seals.differ(values, copy, turn) is found[-1] and seals.differ(values, copy)
        sealed = seals.TensorSeals(whole=False, turn=turn)
        sealed.add(values)
        values.data[1, : seals.STEP * seals.BLOCK * 2 + 1] += 1  # 128 KiB
        assert sealed.broken()
    assert sum(found) == 2
    sealed = seals.TensorSeals(whole=True)
    sealed.add(values)
    values.numpy()[1, 777_777] += 1
    assert sealed.broken()


STOPS = {
    "sys.exit": ("sys.exit(0)", "SystemExit: 0"),
    "an exception of its own": ('raise type("Stop", (BaseException,), {})("enough")', "Stop: enough"),
    "an exception": ('{}["foo"]', "KeyError: 'foo'"),
    "an unprintable exception": (
        'raise type("Mute", (Exception,), {"__str__": lambda self: 1 / 0})()',
        "Mute: its text cannot be printed",
    ),
    "endless recursion": ("(f := lambda: f())()", "RecursionError"),
}
ENDS = [
    *(
        Fault(f"{title} in {when}", arrange(line), RUN, rf"failed: bad: {says}.*bad.py, line \d+, in {when[:-2]}", 1,
              others_are_untouched)
        for title, (line, says) in STOPS.items()
        for when, arrange in WHEN.items()
    ),
    *(
        Fault(f"{title} when imported", plugin(before=line), RUN,
              rf"bad.py cannot be imported: {says}.*bad.py, line \d+", 2, others_are_untouched)
        for title, (line, says) in STOPS.items()
    ),
    *(
        Fault(f"{title} when made", method(f"def __init__(self):\n    {line}"), RUN, f"failed: bad: .*{says}", 1,
              others_are_untouched)
        for title, (line, says) in STOPS.items()
    ),
    Fault("an error two calls deep", plugin("_deep()", before="def _deep():\n    return [][3]"), RUN,
          r"IndexError: list index out of range \(bench/bad.py, line \d+, in score; line \d+, in _deep\)", 1,
          others_are_untouched),
    Fault("a syntax error", plugin("oh no"), RUN, r"bad.py cannot be imported: SyntaxError: .*line 13", 2,
          others_are_untouched),
    Fault("a broken plugin that nobody asks for", plugin(before="sys.exit(0)"), ["run", "--methods", "energy"],
          "error: --plugin .*bad.py cannot be imported: SystemExit", 2, others_are_untouched),
    Fault("sys.exit while checked", plugin("sys.exit(0)"), ["check", "bad"], "SystemExit: 0 .*bad.py", 1),
    Fault("needs() without a return", method("def needs(self, base):\n    pass"), RUN,
          r"needs\(\) must return a mapping from roles to Need\(network\), not None", 1, others_are_untouched),
    Fault("needs() of nothing", method("def needs(self, base):\n    return {}"), RUN,
          r"needs\(\) names no network; leave it out", 1, others_are_untouched),
    Fault("needs() as a generator", method("def needs(self, base):\n    yield base"), RUN,
          r"needs\(\) must return a mapping .* not a generator", 1, others_are_untouched),
    Fault("needs() of bare specs", method('def needs(self, base):\n    return {"base": base}'), RUN,
          r"needs\(\) must return a mapping", 1, others_are_untouched),
    Fault("an unknown network",
          method('def needs(self, base):\n    return {"base": Need(replace(base, arch="erfnet"))}'),
          RUN, r"needs\(\) asks for the network 'erfnet', which does not exist", 1, others_are_untouched),
    Fault("no super().__init__()", method("def __init__(self, gain=1):\n    self.gain = gain"), RUN,
          r"__init__\(\) must call super\(\).__init__\(\) first", 1, others_are_untouched),
    Fault("a number as title", method("title = 5"), RUN, "title must be text, not 5", 1, others_are_untouched),
    Fault("a version in words", method('version = "two"'), RUN, "version must be a whole number, not 'two'", 1,
          others_are_untouched),
    Fault("some outliers", method("auxiliary_data = 1"), RUN,
          "auxiliary_data must be true, false or SYNTHETIC, not 1", 1, others_are_untouched),
    Fault("a recipe that is none", method('recipes = {"x": {"lr": 1}}'), RUN,
          "recipes must map 'x' to a Recipe, not to a dict", 1, others_are_untouched),
    Fault("score() as a generator", method("def score(self, batch, networks):\n    yield 1"), RUN,
          r"score\(\) must return one value per pixel, .*; it returned generator", 1, others_are_untouched),
    Fault("observe() as a generator", method("def observe(self, batch, networks):\n    yield 1"), RUN,
          r"observe\(\) returned a generator, so that nothing of it ran", 1, others_are_untouched),
    Fault("fit() as a coroutine", method("async def fit(self, data, networks):\n    pass"), RUN,
          r"fit\(\) returned a coroutine", 1, others_are_untouched),
    Fault("a fit that is kept in an attribute",
          method("def __init__(self):\n        super().__init__()\n        self.offset = 0.0\n"
                 "def fit(self, data, networks):\n        self.offset = 1.0"),
          RUN, r"fit\(\) leaves offset in attributes, which are not saved with it", 1, others_are_untouched),
    Fault("a fit that is kept in a module's attribute",
          method("def __init__(self):\n        super().__init__()\n        self.part = nn.Identity()\n"
                 "def fit(self, data, networks):\n        self.part.centres = {'road': np.ones(3)}"),
          RUN, r"fit\(\) leaves part\.centres in attributes", 1, others_are_untouched),
    Fault("a channel too many", plugin(scores='networks["base"](batch).logits()[:, :1]'), RUN,
          r"must return one value per pixel, \(1, 48, 64\); it returned a tensor of shape \(1, 1, 48, 64\)", 1,
          others_are_untouched),
    Fault("scores without values", plugin(scores='networks["base"](batch).logits()[:, 0].to("meta")'), RUN,
          "scores are no array", 1, others_are_untouched),
    Fault("scores made in inference mode",
          plugin("with torch.inference_mode(): made = networks['base'](batch).logits().amax(1)", scores="made"), RUN,
          r"Inference tensors .*bad.py, line \d+, in score", 1, others_are_untouched),
    Fault("complex scores", plugin(scores='networks["base"](batch).logits()[:, 0] * 1j'), RUN,
          r"score\(\) must return real numbers, float32; it returned a complex64 tensor", 1, others_are_untouched),
    Fault("sparse scores", plugin(scores='networks["base"](batch).logits()[:, 0].to_sparse()'), RUN,
          "it returned a sparse tensor", 1, others_are_untouched),
    Fault("scores beyond float32", plugin(scores='networks["base"](batch).logits()[:, 0].double() * 1e300'), RUN,
          "beyond the range of float32", 1, others_are_untouched),
    Fault("scores that float32 makes ties of",
          plugin(scores='1 + 1e-9 * networks["base"](batch).logits()[:, 0].double()'), RUN,
          "the float64 scores lie closer together than float32", 1, others_are_untouched),
    Fault("scores that float32 makes ties of between images",
          plugin('top = networks["base"](batch).logits().double().amax(1)',
                 scores='(top > top.mean()) + 1 + 1e-9 * top.mean()'), RUN,
          "failed: bad: the scores of all images together lie closer than float32", 1, others_are_untouched),
]  # fmt: skip


@pytest.mark.parametrize("fault", ENDS, ids=str)
def test_what_a_plugin_raises_or_lacks_is_its_own_affair(bench, fault):
    fault.meet(bench)


def test_scores_made_of_the_labels_are_worth_nothing(bench):
    plugin(scores="(batch.labels == 254).float()")(bench)
    assert bench("run", "--methods", "bad") == 0
    pooled = bench.record("bad")["metrics"]["pooled"]
    assert pooled["auroc"] == 0.5 and pooled["aupr"] == pytest.approx(pooled["constant_aupr"])


def test_random_numbers_do_not_depend_on_who_was_here_before(bench):
    """Nor do the warnings that a method asks for stop another."""
    bench.plugin("noisy", IMPORTS + "\nclass Noisy(Method):\n" + SCORE + "        \n")
    text = (
        (bench.folder / "noisy.py")
        .read_text()
        .replace(".amax(dim=1)", ".amax(dim=1) + torch.rand(batch.size) + float(np.random.rand()) + random.random()")
    )
    bench.plugin("noisy", text)
    plugin("torch.manual_seed(1)", "np.random.seed(1)", "random.seed(1)", 'warnings.simplefilter("error")')(bench)
    random_state = replace_random_state()
    assert bench("run", "--methods", "noisy") == 0
    alone = measured(bench.record("noisy"))
    random_state()
    assert bench("run", "--methods", "bad,noisy", "--force") == 0
    assert measured(bench.record("noisy")) == alone


def replace_random_state():
    """Seeds the generators of the process; calling what it returns does it again."""
    import random

    import numpy as np
    import torch

    def seed():
        random.seed(7), np.random.seed(7), torch.manual_seed(7)

    seed()
    return seed
