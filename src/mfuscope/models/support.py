"""What transformers and the installed packages can do with a generic model, asked at planning.

The real classes answer: the model is built without weights, its processor with its files. That
takes seconds, most of them to import torch. Models of the known families need none of it.
"""

import contextlib
import io
from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

from mfuscope.core.errors import UserError
from mfuscope.core.text import reason
from mfuscope.models.families import Family
from mfuscope.models.generation import left_out
from mfuscope.models.spec import ModelSpec

if TYPE_CHECKING:
    from mfuscope.models.inputs import PageInputs, ProcessorInputs

# Of a page to try a processor with, and what processors were observed to raise.
_SIZE = (256, 256)
_PROCESSING = (AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError)
_FONT = "hf download ybelkada/fonts Arial.TTF"  # Pix2Struct's, the only file that is fetched so

# In the order of preference.
_AUTOMATIC = ("sdpa", "eager")


@cache
def pick_attention(spec: ModelSpec, asked: str) -> str:
    """The attention that a model runs with.

    Args:
        asked: ``sdpa``, ``eager`` or ``flash``; or ``auto``, which is sdpa where the model has it.

    Raises:
        UserError: the model has not what was asked for, or cannot be built at all.
    """
    if spec.family is not Family.GENERIC:
        return _AUTOMATIC[0] if asked == "auto" else asked
    # Imports torch, which planning does without otherwise.
    from mfuscope.models.loader import model_class_and_config

    with contextlib.redirect_stderr(io.StringIO()):  # tracebacks, for the logs of jobs
        model_class, config = model_class_and_config(spec, spec.path)
        if (refused := refusal(model_class)) is not None:
            raise UserError(
                f"model: {spec.name!r} ({spec.architecture}) {refused}",
                "name another model; docs/models.md lists what is measured",
            )
        for one in _AUTOMATIC if asked == "auto" else (asked,):
            if _has(spec, model_class, config, one):
                return one
    others = [one for one in _AUTOMATIC if one != asked and _has(spec, model_class, config, one)]
    raise UserError(
        f"attention: {spec.name!r} ({spec.architecture}) has no {asked} attention",
        f"set `attention: {others[0]}`" if others else "name another model",
    )


def refusal(model_class: Any) -> str | None:
    """Why a class is not measured, as the predicate of a sentence about its model; None if it is.

    Args:
        model_class: of transformers.
    """
    from transformers import GenerationMixin

    if not model_class.can_generate():
        return "generates no text"
    if "image" not in model_class.input_modalities:
        return "takes no images"
    if model_class.generate is not GenerationMixin.generate:
        # It hands on to an inner model with other settings, or drops what marks the steps.
        return "has a generate() of its own, which mfuscope does not measure"
    return None


def check_cache(spec: ModelSpec, cache: str) -> None:
    """Check that a model's KV cache can be of the kind that is asked for.

    Raises:
        UserError: it is an encoder-decoder, and the cache is to be static.
    """
    if spec.family is not Family.GENERIC or cache == "dynamic":
        return
    from mfuscope.models.loader import model_class_and_config

    _, config = model_class_and_config(spec, spec.path)
    if config.is_encoder_decoder:
        raise UserError(
            f"cache: {spec.name!r} ({spec.architecture}) is an encoder-decoder, for whose two "
            f"caches mfuscope has no {cache} kind",
            "set `cache: dynamic` and `compile: none`",
        )


def model_notes(spec: ModelSpec, prompt: str) -> list[str]:
    """What a user should know of a model, a line each; checks its processor and its prompt.

    Args:
        prompt: the instruction.

    Raises:
        UserError: a package is missing, or the files do not make a processor or a prompt.
    """
    notes = []
    if names := left_out(spec.path):
        notes.append(f"left out of its generation_config.json: {', '.join(names)}")
    if spec.family is Family.GENERIC and (note := _prompt_note(spec, prompt)) is not None:
        notes.append(note)
    return [f"{spec.name!r}: {note}" for note in notes]


def empty_page(spec: ModelSpec, prompt: str, size: tuple[int, int]) -> "PageInputs":
    """What a generic model's processor makes of an empty page.

    Args:
        prompt: the instruction.
        size: width and height of the page in pixels.

    Raises:
        UserError: it cannot use such a page, or a file is missing.
    """
    import torch
    from huggingface_hub.errors import LocalEntryNotFoundError

    page = Image.new("RGB", size, "white")
    try:
        return _maker(spec, prompt).make(page, "auto", torch.device("cpu"), torch.float32)
    except LocalEntryNotFoundError as error:
        raise UserError(
            f"model: {spec.name!r} ({spec.architecture}) draws `prompt` above the page with a font "
            "that is not in the hub's cache",
            _FONT,
        ) from error
    except _PROCESSING as error:
        raise UserError(
            f"model: the processor of {spec.name!r} ({spec.architecture}) fails on a page of "
            f"{size[0]}x{size[1]} pixels and `prompt` ({reason(error)})",
            "correct or restore its processor's files, or set another `prompt`",
        ) from error


@cache
def _maker(spec: ModelSpec, prompt: str) -> "ProcessorInputs":
    from mfuscope.models.inputs import ProcessorInputs
    from mfuscope.models.loader import model_class_and_config

    _, config = model_class_and_config(spec, spec.path)
    return ProcessorInputs(spec, spec.path, prompt, config)


@cache
def _prompt_note(spec: ModelSpec, prompt: str) -> str | None:
    """How the prompt is made, found out with an empty page."""
    page, maker = empty_page(spec, prompt, _SIZE), _maker(spec, prompt)
    if not maker.has_place_for_page(page):
        raise UserError(
            f"model: the prompt of {spec.name!r} ({spec.architecture}) has no place for the page",
            "add the model's chat_template.jinja, or name another model",
        )
    return maker.note(page)


def _has(spec: ModelSpec, model_class: Any, config: Any, attention: str) -> bool:
    """Whether a model can be built with an attention.

    Raises:
        UserError: it cannot be built with the plain one.
    """
    from mfuscope.models.loader import check_builds

    if attention == "flash":  # a build would look for its kernels
        return bool(model_class._supports_flash_attn)
    try:
        check_builds(spec, model_class, config, attention)
    except UserError:
        if attention == "eager":
            raise
        return False
    return True
