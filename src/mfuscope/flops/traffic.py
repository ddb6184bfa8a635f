"""The least bytes of weights that a stage must read, from the model's parameters."""

import inspect
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any, Final

from torch import nn

from mfuscope.flops import components as c
from mfuscope.flops.attribution import label_methods, label_modules
from mfuscope.models.parts import find_decoder, find_parts, is_experts
from mfuscope.models.quantisation import storage_bytes

#: Names in transformers' configs of how many experts take a token.
_ACTIVE: Final = ("num_experts_per_tok", "top_k_experts")
_LAYER: Final = re.compile(r".*\.\d+(?=\.)")


def stage_weight_bytes(model: Any, tokens: int, *, prefill: bool) -> dict[str, int] | None:
    """Bytes of weights by component that a stage reads if it reads each of them once.

    A parameter belongs to the innermost labelled module that holds it. Norms, positions, separators
    and the embeddings of the stage's tokens count as ``other``. Of routed experts the active ones
    are read in a decode step, at most ``tokens x active`` of each layer in prefill.

    Returns:
        None for a model of whose experts it is not known how many run, and for a decode step of a
        model whose decoder is not known.

    Args:
        tokens: tokens that the decoder takes at once: the prompt in prefill, 1 in a decode step.
        prefill: whether the encoders run.
    """
    decoding = _ids(find_decoder(model))
    experts = _routed_experts(model, decoding)
    if experts is None or (not prefill and not decoding):
        return None
    owner = _owners(model)
    table = model.get_input_embeddings().weight
    head = model.get_output_embeddings()
    parts = find_parts(model)
    decoding -= _ids(parts.get("vision", ())) | _ids(parts.get("projector", ()))
    decoding |= _ids([head] if head else [])
    sizes: Counter[str] = Counter()
    for parameter in model.parameters():
        if (parameter is table and table is not head.weight) or (
            not prefill and id(parameter) not in decoding
        ):
            continue
        size = storage_bytes(parameter)
        if id(parameter) in experts:
            active = experts[id(parameter)]
            size = size * min(parameter.shape[0], tokens * active) // parameter.shape[0]
        sizes[owner.get(id(parameter), c.OTHER)] += size
    sizes[c.OTHER] += tokens * storage_bytes(table) // table.shape[0]
    return dict(sizes)


def _routed_experts(model: Any, decoding: set[int]) -> dict[int, int] | None:
    """How many experts take a token, by the parameters of all experts of a layer.

    Their first dimension is the expert. None where that is not known: experts that are not chosen
    by index, that lie outside of the decoder, or of which a layer has two sets, each for other
    tokens.
    """
    text = model.config.get_text_config(decoder=True)
    active = next((n for name in _ACTIVE if (n := getattr(text, name, None))), None)
    found: dict[int, int] = {}
    layers = set()
    for path, module in model.named_modules():
        if not is_experts(module):
            continue
        layer = _LAYER.match(path)
        parameters = list(module.parameters())
        if (
            active is None
            or layer is None
            or layer[0] in layers
            or "top_k_index" not in inspect.signature(type(module).forward).parameters
            or any(id(one) not in decoding for one in parameters)
            or len({one.shape[0] for one in parameters}) > 1
        ):
            return None
        layers.add(layer[0])
        found |= {id(one): active for one in parameters}
    return found


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
