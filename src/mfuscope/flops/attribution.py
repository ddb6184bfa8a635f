"""Labels that assign a model's modules, and some methods, to components."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import nn

from mfuscope.flops import components as c
from mfuscope.models.parts import find_parts

# Names of submodules in transformers' unlimited_ocr and deepseek_ocr2.
_SAM_LINEAR = ("attn.qkv", "attn.proj", "mlp")
_PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
_EXPERTS = {"gate": c.ROUTER, "experts": c.ROUTED_EXPERTS, "shared_experts": c.SHARED_EXPERTS}

Labels = list[tuple[str, nn.Module]]
MethodLabels = list[tuple[str, nn.Module, str]]


@contextmanager
def notified(
    modules: Sequence[tuple[str, nn.Module]],
    methods: Sequence[tuple[str, nn.Module, str]],
    enter: Callable[[str], object],
    leave: Callable[[], object],
) -> Iterator[Callable[[], None]]:
    """Call functions when labelled modules and methods begin and end, in the body.

    Args:
        modules: (label, module).
        methods: (label, module, name of its method).
        enter: gets the label.

    Yields:
        A function that removes the hooks of the modules before the body ends.
    """
    handles = []
    for label, module in modules:

        def before(*_: object, label: str = label) -> None:
            enter(label)

        def after(*_: object) -> None:
            leave()

        handles += [module.register_forward_pre_hook(before), module.register_forward_hook(after)]
    for label, module, name in methods:
        setattr(module, name, _notifying(label, getattr(module, name), enter, leave))

    def remove() -> None:
        while handles:
            handles.pop().remove()

    try:
        yield remove
    finally:
        remove()
        for _, module, name in methods:
            delattr(module, name)  # uncovers the class's method


def _notifying(
    label: str,
    method: Callable[..., Any],
    enter: Callable[[str], object],
    leave: Callable[[], object],
) -> Callable[..., Any]:
    def notifying(*args: Any, **kwargs: Any) -> Any:
        enter(label)
        try:
            return method(*args, **kwargs)
        finally:
            leave()

    return notifying


def label_modules(model: nn.Module) -> Labels:
    """(component, module) of a model; of nested labelled modules, the innermost counts.

    Known architectures are labelled by component, others by part: vision, projector,
    language_model, lm_head.
    """
    base = getattr(model, "model", None)
    head = model.get_output_embeddings()  # type: ignore[operator]
    if not is_known(model):
        names = {"language_prefill": "language_model"}
        labels = [
            (names.get(part, part), module)
            for part, modules in find_parts(model).items()
            for module in modules
        ]
        return [*labels, (c.LM_HEAD, head)] if head is not None else labels
    assert isinstance(base, nn.Module)
    labels = _label_sam(base.vision_tower.sam_encoder)  # type: ignore[union-attr,arg-type]
    second = c.CLIP if model.config.model_type == "unlimited_ocr" else c.QUERY_ENCODER  # type: ignore[union-attr]
    labels.append((second, base.vision_tower.vision_encoder))  # type: ignore[union-attr,arg-type]
    labels.append((c.PROJECTOR, base.multi_modal_projector))  # type: ignore[arg-type]
    for layer in base.language_model.layers:  # type: ignore[union-attr]
        labels += _label_decoder(layer)
    return [*labels, (c.LM_HEAD, head)]


def label_methods(model: nn.Module) -> MethodLabels:
    """(component, module, method) of components that are no module: SAM's relative positions."""
    if not is_known(model):
        return []
    return [
        (c.RELATIVE_POSITIONS, module, "get_decomposed_rel_pos")
        for module in model.modules()
        if hasattr(module, "get_decomposed_rel_pos")
    ]


def is_known(model: nn.Module) -> bool:
    """Whether the model's architecture is labelled by component."""
    return getattr(model.config, "model_type", "") in ("unlimited_ocr", "deepseek_ocr2")


def _label_sam(sam: nn.Module) -> Labels:
    labels: Labels = [(c.PATCH_EMBEDDING, sam.patch_embed)]  # type: ignore[list-item]
    for layer in sam.layers:  # type: ignore[union-attr]
        attention = c.WINDOWED_ATTENTION if layer.window_size else c.GLOBAL_ATTENTION
        labels.append((attention, layer.attn))
        labels += [(c.LINEAR, layer.get_submodule(name)) for name in _SAM_LINEAR]
    return [*labels, (c.CONVOLUTIONS, sam.neck), (c.CONVOLUTIONS, sam.proj)]  # type: ignore[list-item]


def _label_decoder(layer: nn.Module) -> Labels:
    attention = layer.get_submodule("self_attn")
    labels: Labels = [(c.ATTENTION, attention)]
    labels += [(c.ATTENTION_PROJECTIONS, attention.get_submodule(name)) for name in _PROJECTIONS]
    mlp = layer.get_submodule("mlp")
    if not hasattr(mlp, "experts"):
        return [*labels, (c.DENSE_MLP, mlp)]
    return labels + [(part, mlp.get_submodule(name)) for name, part in _EXPERTS.items()]
