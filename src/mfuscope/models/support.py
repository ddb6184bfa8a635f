"""What transformers and the installed packages can do with a generic model, asked at planning.

The real classes answer: the model is built without weights, its processor with its files. That
takes seconds, most of them to import torch. Models of the known families need none of it.
"""

import contextlib
import io
from functools import cache
from typing import Any

from mfuscope.core.errors import UserError
from mfuscope.models.families import Family
from mfuscope.models.generation import left_out
from mfuscope.models.spec import ModelSpec

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
        if (reason := refusal(model_class, config)) is not None:
            raise UserError(
                f"model: {spec.name!r} ({spec.architecture}) {reason}",
                "name a model whose decoder has the image's features in its prompt",
            )
        for one in _AUTOMATIC if asked == "auto" else (asked,):
            if _has(spec, model_class, config, one):
                return one
    others = [one for one in _AUTOMATIC if one != asked and _has(spec, model_class, config, one)]
    raise UserError(
        f"attention: {spec.name!r} ({spec.architecture}) has no {asked} attention",
        f"set `attention: {others[0]}`" if others else "name another model",
    )


def refusal(model_class: Any, config: Any) -> str | None:
    """Why a class is not measured, as the predicate of a sentence about its model; None if it is.

    Args:
        model_class: of transformers.
        config: its config.
    """
    if not model_class.can_generate():
        return "generates no text"
    if config.is_encoder_decoder or config.get_text_config(decoder=True).is_encoder_decoder:
        return "is an encoder-decoder, which mfuscope does not measure"
    return None


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
    if spec.family is Family.GENERIC:
        from mfuscope.models.template import NOTES, prompt_text

        note = NOTES[prompt_text(_processor(spec), prompt, spec.name).source]
        notes += [note] if note else []
    return [f"{spec.name!r}: {note}" for note in notes]


@cache
def _processor(spec: ModelSpec) -> Any:
    from mfuscope.models.processor import load_processor

    return load_processor(spec.path, spec.name)


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
