"""The least bytes of weights that a stage must read, from the model's parameters."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import nn

from mfuscope.core.language import Language
from mfuscope.flops import components as c
from mfuscope.flops.attribution import label_methods, label_modules
from mfuscope.models.parts import find_decoder, find_parts, has_experts
from mfuscope.models.quantisation import storage_bytes


def stage_weight_bytes(
    model: Any, language: Language | None, tokens: int, *, prefill: bool
) -> dict[str, int] | None:
    """Bytes of weights by component that a stage reads if it reads each of them once.

    A parameter belongs to the innermost labelled module that holds it. Norms, positions, separators
    and the embeddings of the stage's tokens count as ``other``.

    Returns:
        None for a model with experts whose `language` is not known, and for a decode step of a
        model whose decoder is not known.

    Args:
        language: the decoder's dimensions, None if not known. They give the number of experts that
            run: the active ones in a decode step, at most ``tokens x active`` in prefill.
        tokens: tokens that the decoder takes at once: the prompt in prefill, 1 in a decode step.
        prefill: whether the encoders run.
    """
    if language is None and has_experts(model):
        return None
    owner = _owners(model)
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    decoding = _ids(find_decoder(model))
    if not prefill and not decoding:
        return None
    parts = find_parts(model)
    decoding -= _ids(parts.get("vision", ())) | _ids(parts.get("projector", ()))
    decoding |= _ids([head] if head else [])
    sizes: Counter[str] = Counter()
    for parameter in model.parameters():
        if (parameter is table and table is not head.weight) or (
            not prefill and id(parameter) not in decoding
        ):
            continue
        sizes[owner.get(id(parameter), c.OTHER)] += storage_bytes(parameter)
    if language is not None and language.sparse_layers:
        used = min(language.experts, tokens * language.active_experts)
        sizes[c.ROUTED_EXPERTS] = sizes[c.ROUTED_EXPERTS] * used // language.experts
    sizes[c.OTHER] += tokens * storage_bytes(table) // table.shape[0]
    return dict(sizes)


def _ids(modules: Iterable[nn.Module]) -> set[int]:
    return {id(parameter) for module in modules for parameter in module.parameters()}


def _owners(model: Any) -> dict[int, str]:
    """Label of the innermost labelled module, by the parameter's identity."""
    labels = label_modules(model)
    outermost_first = sorted(labels, key=lambda item: -sum(p.numel() for p in item[1].parameters()))
    owner = {id(p): label for label, module in outermost_first for p in module.parameters()}
    for label, module, _ in label_methods(model):
        # A method's parameters are the module's own, not those of the modules within it.
        owner |= {id(p): label for p in module.parameters(recurse=False)}
    return owner
