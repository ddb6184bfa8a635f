"""The parts of a model: vision encoder, projector, language model; and whether it has experts.

They are found by what they do, which shows in the tree of modules and in what their ``forward``
takes; the names of modules differ from model to model:

- *language model*: takes token ids or their embeddings, and holds layers; the innermost such
  module. An encoder-decoder may have two, of which one encodes text beside the page.
- *vision encoder*: holds what takes pixels, and no language model; the outermost such module.
- *projector*: what lies between the two. Beside them: what is neither of them, nor a table of
  embeddings, nor the LM head, nor an encoder of another input. If nothing is there, what comes
  after the vision encoder's layers.

Parts may lie within parts: a projector within the vision encoder, a vision encoder within the
language model.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

from torch import nn

Parts = dict[str, tuple[nn.Module, ...]]

# Arguments of forward, which are the names that processors give to a model's inputs.
_PIXELS = frozenset({"pixel_values", "flattened_patches"})
_TOKENS = frozenset({"input_ids", "inputs_embeds"})
_NO_IMAGES = frozenset({"input_ids", "input_features", "input_values", "audio_input_ids"})

_COLOURS = 3


def find_parts(model: nn.Module) -> Parts:
    """The modules of each part that a model has: vision, projector, language_prefill.

    A part that is not found is left out. The modules of a part are those whose ``forward`` is
    called: in place of one that is entered by another method, such as ``encode``, its children.
    """
    tree = _Tree(model)
    found = {
        "vision": tree.vision,
        "projector": tree.projectors_beside() or tree.projectors_within(),
        "language_prefill": tree.language,
    }
    parts = {name: _called(tree.modules[path] for path in paths) for name, paths in found.items()}
    return {name: modules for name, modules in parts.items() if modules}


def hookable_parts(model: nn.Module) -> Parts:
    """The parts without the modules that run within compiled code, which must not see a hook.

    What is compiled is a module's ``forward``, set on the module itself: its own hooks are outside.
    """
    within = {
        inner
        for module in model.modules()
        if "forward" in vars(module)
        for inner in module.modules()
        if inner is not module
    }
    parts = {
        name: tuple(module for module in modules if module not in within)
        for name, modules in find_parts(model).items()
    }
    return {name: modules for name, modules in parts.items() if modules}


def find_decoder(model: nn.Module) -> tuple[nn.Module, ...]:
    """The language model's modules that run in a decode step: those that take a KV cache."""
    language = find_parts(model).get("language_prefill", ())
    return tuple(module for module in language if "past_key_values" in _takes(module))


def has_experts(model: nn.Module) -> bool:
    """Whether a model has mixture-of-experts layers."""
    return any(map(is_experts, model.modules()))


def is_experts(module: nn.Module) -> bool:
    """Whether a module holds the experts of a layer, which transformers names ``...Experts``."""
    return type(module).__name__.endswith("Experts")


class _Tree:
    """A model's modules by path, and the paths of its parts."""

    def __init__(self, model: nn.Module) -> None:
        self.model: Any = model
        self.modules = dict(model.named_modules())
        texts = [path for path, module in self.modules.items() if _is_language_model(module)]
        self.language = [
            path for path in texts if not any(_lies_in(o, path) for o in texts if o != path)
        ]
        pixels = [path for path, config in self._configs() if self._sees_patches(path, config)]
        if not pixels:
            pixels = [path for path, one in self.modules.items() if _takes(one) & _PIXELS]
        self.vision = list(self._outermost("", pixels))

    def projectors_beside(self) -> list[str]:
        """Modules beside the vision encoder, where a language model is beside it too."""
        parents = dict.fromkeys(_parent(path) for path in self.vision)
        beside = [
            path
            for parent in parents
            if parent not in self.language
            for path in self._children(parent)
        ]
        return [path for path in beside if path not in self.vision and self._projects(path)]

    def projectors_within(self) -> list[str]:
        """What comes after the layers within the vision encoder.

        An encoder-decoder has none: its decoder attends to what the encoder puts out.
        """
        if getattr(getattr(self.model, "config", None), "is_encoder_decoder", False):
            return []
        alone = [
            path
            for path in self.vision
            if _has_forward(self.modules[path])
            and not any(_lies_in(path, other) for other in self.language)
        ]
        return [path for vision in alone for path in self._after_layers(vision)]

    def _after_layers(self, path: str) -> list[str]:
        children = [c for c in self._children(path) if _size(self.modules[c])]
        if len(children) == 1:
            return self._after_layers(children[0])
        most = [_most_layers(self.modules[child]) for child in children]
        after = children[most.index(max(most)) + 1 :] if any(most) else []
        return [child for child in after if _has_matrix(self.modules[child])]

    def _configs(self) -> Iterator[tuple[str, Any]]:
        """Paths with the config of the innermost module around that has one."""
        configs: dict[str, Any] = {}
        for path, module in self.modules.items():
            outer = configs[_parent(path)] if path else None
            configs[path] = getattr(module, "config", outer)
            yield path, configs[path]

    def _sees_patches(self, path: str, config: Any) -> bool:
        """Whether it makes features of colours, or of flattened patches."""
        module = self.modules[path]
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return module.in_channels == _COLOURS
        return isinstance(module, nn.Linear) and module.in_features in _patch_sizes(config)

    def _outermost(self, path: str, pixels: list[str]) -> Iterator[str]:
        """The outermost modules from a path on that hold pixels and no language model."""
        if not any(_lies_in(one, path) for one in pixels):
            return
        if not any(_lies_in(text, path) for text in self.language):
            yield path
            return
        for child in self._children(path):
            yield from self._outermost(child, pixels)

    def _projects(self, path: str) -> bool:
        """Whether it computes with matrices, is no language model, and makes no logits."""
        module = self.modules[path]
        head = getattr(self.model, "get_output_embeddings", lambda: None)()
        return (
            _has_matrix(module)
            and type(module) is not nn.Embedding
            and not _takes(module) & _NO_IMAGES
            and not any(_lies_in(language, path) for language in self.language)
            and all(inner is not head for inner in module.modules())
        )

    def _children(self, path: str) -> list[str]:
        prefix = f"{path}." if path else ""
        names = (f"{prefix}{name}" for name, _ in self.modules[path].named_children())
        return [name for name in names if name in self.modules]  # a shared one has another path


def _is_language_model(module: nn.Module) -> bool:
    return _takes(module) >= _TOKENS and _most_layers(module) > 0


def _patch_sizes(config: Any) -> set[int]:
    """Values of a flattened patch, of one frame or as many as a patch has."""
    side = getattr(config, "patch_size", None)
    frames = getattr(config, "temporal_patch_size", None) or 1
    return {_COLOURS * side**2, _COLOURS * side**2 * frames} if isinstance(side, int) else set()


def _called(modules: Iterable[nn.Module]) -> tuple[nn.Module, ...]:
    """The modules, with their children in place of those that have no forward."""
    found: list[nn.Module] = []
    for module in modules:
        found += [module] if _has_forward(module) else _called(module.children())
    return tuple(found)


def _takes(module: nn.Module) -> frozenset[str]:
    """Names of the arguments of its forward."""
    return _arguments(type(module).forward)


@cache
def _arguments(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward


def _most_layers(module: nn.Module) -> int:
    """Length of the longest list of modules within."""
    lists = (len(one) for one in module.modules() if isinstance(one, nn.ModuleList))
    return max(lists, default=0)


def _has_matrix(module: nn.Module) -> bool:
    return any(parameter.dim() > 1 for parameter in module.parameters())


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _lies_in(path: str, other: str) -> bool:
    """Whether a module is another one or lies within it."""
    return not other or path == other or path.startswith(f"{other}.")


def _parent(path: str) -> str:
    return path.rpartition(".")[0]
