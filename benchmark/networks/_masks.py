"""What mask-classification networks share: the class map, and how the package transformers reads one from a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.blocks import MASKS, QUERIES, Masks, over_windows
from benchmark.encoders import brief
from benchmark.errors import BenchmarkError

LOSS = "criterion."
"""How the tensors of the library's loss are called, which a folder may lack or have: no inference reads them."""
CONSTANT = "relative_position_index"
"""How the tensors end that early files hold although the configuration says all of them."""


def outputs(masks: Tensor, queries: Tensor, size: tuple[int, int], taps: Collection[str]) -> dict[str, Tensor]:
    """What the forward of a mask-classification network returns: "logits" are the class map ``S`` at every pixel.

    Args:
        masks: as the tap MASKS.
        queries: as the tap QUERIES.
        size: of the input in pixels.
        taps: those that are asked for.
    """
    found = {MASKS: masks, QUERIES: queries}
    return {"logits": over_windows(masks, queries, size, Masks.marginal), **{tap: found[tap] for tap in taps}}


def from_folder(architecture: str, kind: str, folder: Path | None, classes: int) -> Any:
    """A network of the package transformers as a folder holds it; on the meta device without its values.

    Nothing is downloaded and no code of the folder is run. Every tensor of the network must be in the folder, and every
    tensor of the folder in the network, since the library would draw what is missing at random.

    Args:
        architecture: its class.
        kind: its ``model_type``.
        folder: with ``config.json`` and ``*.safetensors``, as ``save_pretrained`` writes it.
        classes: K, the number of outputs that is wanted.
    Raises:
        BenchmarkError: the package is missing, or the folder does not hold such a network.
    """
    if folder is None:
        raise BenchmarkError(
            f"'{kind}' is not trained here; give `--weights FOLDER` with its config.json and *.safetensors, which "
            f"`python -m benchmark weights import` downloads."
        )
    stated = _stated(folder / "config.json", needed=True)
    if stated.get("model_type") != kind:
        raise BenchmarkError(f"{folder} holds a network of the type '{stated.get('model_type')}' and not '{kind}'.")
    environment = dict(os.environ)
    try:
        import transformers

        cls = getattr(transformers, architecture)
    except ImportError as error:
        raise BenchmarkError(
            f"'{kind}' is a network of the package transformers; `pip install -e '.[masks]'` brings it ({error})."
        ) from error
    finally:  # what it imports sets variables, and a method that happens to come first would be blamed for them
        for name in set(os.environ) - set(environment):
            del os.environ[name]
    with _quiet(transformers.utils.logging):
        try:
            config = cls.config_class.from_pretrained(folder, local_files_only=True)
            if config.num_labels != classes:
                raise BenchmarkError(
                    f"{folder} tells {config.num_labels} classes apart where {classes} are wanted; say by --classes "
                    f"what its outputs are."
                )
            if torch.get_default_device().type == "meta":
                return cls(config)
            made, report = cls.from_pretrained(
                folder,
                config=config,
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are reported, and refused below
                output_loading_info=True,
            )
        except BenchmarkError:
            raise
        except Exception as error:  # the library raises whatever its parts raise
            raise BenchmarkError(f"{folder} cannot be read as a {architecture} ({brief(error)}).") from error
    _whole(folder, architecture, report)
    return made.float()


def normalisation(folder: Path) -> dict[str, Sequence[float]]:
    """Mean and standard deviation of values in 0..1 that a folder states, else ImageNet's, as keywords of a Network.

    Raises:
        BenchmarkError: it asks for other values than those.
    """
    file = folder / "preprocessor_config.json"
    stated = _stated(file)
    if not stated.get("do_rescale", True) or abs(255 * stated.get("rescale_factor", 1 / 255) - 1) > 1e-3:
        raise BenchmarkError(f"{file} does not scale pixels to 0..1, and no other input is known here; mend it.")
    if not stated.get("do_normalize", True):
        return {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return {key: stated[f"image_{key}"] for key in ("mean", "std") if f"image_{key}" in stated}


def class_names(model: Any) -> tuple[str, ...]:
    """What the configuration calls the outputs; empty where it only numbers them."""
    names = tuple(str(model.config.id2label[index]) for index in range(model.config.num_labels))
    return () if any(name.startswith("LABEL_") for name in names) else names


def preparation(network: nn.Module, **more: Any) -> dict[str, Any]:
    """What a record says of the preprocessing and of the library."""
    import transformers

    values = {key: [round(v, 6) for v in (getattr(network, key) / 255).flatten().tolist()] for key in ("mean", "std")}
    return {**values, **more, "transformers": transformers.__version__}


def last(value: Any) -> Tensor:
    """The answer of the last layer, where a version of the library gives those of all layers."""
    return value[-1] if isinstance(value, (tuple, list)) else value


def _whole(folder: Path, architecture: str, report: Mapping[str, Any]) -> None:
    """Refuse what was not loaded tensor by tensor."""
    for kind, words in (("missing", "lacks"), ("mismatched", "has of another size"), ("unexpected", "has unexpected")):
        found = (key if isinstance(key, str) else key[0] for key in report.get(f"{kind}_keys", ()))
        names = sorted(name for name in found if not name.startswith(LOSS) and not name.endswith(CONSTANT))
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise BenchmarkError(
                f"{folder} does not fit a {architecture} of its config.json: it {words} {', '.join(names[:3])}{more}; "
                f"get it again."
            )


def _stated(file: Path, needed: bool = False) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not needed:
            return {}
        raise BenchmarkError(f"{file} is missing; give the folder that `save_pretrained` has written.") from None
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"{file} cannot be read ({error}); get it again.") from error
    if not isinstance(found, dict):
        raise BenchmarkError(f"{file} is no configuration; get it again.")
    return found


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """Inside, the library shows no progress bars and no reports of its own."""
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
