"""Checkpoints with quantised weights: which are measured, and what their weights take.

A config says how its weights are stored. What is measured keeps them packed and multiplies in the
precision of the activations, so that the peak is that of the model's dtype. Other methods multiply
in 8 bits or less, or need kernels that are fetched when a model runs: they are refused.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from mfuscope.core.errors import UserError
from mfuscope.core.records import Quantisation
from mfuscope.models.published import published_architecture

_PACKAGE = "torchao"
# Schemes that leave the arithmetic to the activations' precision, and the bits of a weight.
_WEIGHT_ONLY = {"Int8WeightOnlyConfig": 8}
_MEASURED = f"{_PACKAGE} with {' or '.join(_WEIGHT_ONLY)}"


def read_quantisation(
    config: Mapping[str, Any], name: str, load_format: str
) -> Quantisation | None:
    """How the weights of a model are quantised; None if they are not.

    Raises:
        UserError: in a way that is not measured; the package for it is missing; or the weights are
            to be dummies.
    """
    stated = _stated(config)
    if stated is None:
        return None
    content, method = stated
    scheme = _scheme(content)
    refused = f"model: {name!r} is quantised ({method}{f', {scheme}' if scheme else ''})"
    plain = "name the checkpoint that it was made of"
    own = content is config.get("quantization_config") and not published_architecture(config)
    if method != _PACKAGE or scheme not in _WEIGHT_ONLY or not own:
        raise UserError(
            f"{refused}, and of quantised weights mfuscope measures those of {_MEASURED}", plain
        )
    if load_format == "dummy":
        raise UserError(
            f"{refused}, and `load_format: dummy` would make plain weights",
            f"set `load_format: auto`, or {plain}",
        )
    if find_spec(_PACKAGE) is None:
        raise UserError(
            f"{refused}, which needs the package {_PACKAGE}, and it is not installed",
            f"pip install {_PACKAGE}",
        )
    return Quantisation(method=method, scheme=scheme, bits=_WEIGHT_ONLY[scheme])


def _stated(config: Mapping[str, Any]) -> tuple[Mapping[str, Any], str] | None:
    """What a config, or a part of it, says of quantised weights, and the method's name."""
    for key in ("quantization_config", "compression_config"):
        if own := config.get(key):
            content = own if isinstance(own, Mapping) else {}
            method = content.get("quant_method")
            named = isinstance(method, str) and method.isprintable()
            return content, str(method) if named else key
    parts = (part for part in config.values() if isinstance(part, Mapping))
    return next(filter(None, map(_stated, parts)), None)


def _scheme(content: Mapping[str, Any]) -> str:
    """The one scheme of all weights, as torchao names it; empty where there are more, or none."""
    schemes = content.get("quant_type")
    if not isinstance(schemes, Mapping) or list(schemes) != ["default"]:
        return ""
    default = schemes["default"]
    found = default.get("_type") if isinstance(default, Mapping) else None
    return found if isinstance(found, str) and found.isidentifier() else ""


def storage_bytes(tensor: Any) -> int:
    """Bytes that a tensor takes; of a packed one those of its parts, scales included."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return int(tensor.numel() * tensor.element_size())
    names, _ = tensor.__tensor_flatten__()
    return sum(storage_bytes(getattr(tensor, name)) for name in names)
