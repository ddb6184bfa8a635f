"""The resolution of a generic model's page: what its processor makes of it, less the pixels.

Two pages whose tensors have the same shapes, and the same numbers but for the pixels, cost the same
FLOPs; two page sizes often give the same.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import torch

from mfuscope.models.geometry import NATIVE

_PIXELS: Final = "pixel_values"  # numbers of a picture, whatever type a processor gives them
_DIGITS: Final = 6


def native_resolution(tensors: Mapping[str, Any]) -> str:
    """A name for the shapes of a page, such as ``native-3x1024x1024-5c1f09``.

    It begins with the shape of the largest tensor of floating-point numbers, the pixels, without
    leading ones; the digest stands for every shape, and for whole numbers such as a grid of
    patches or the tokens of the prompt.

    Args:
        tensors: what a processor makes of one page and a prompt, by name.
    """
    digest = hashlib.sha256()
    largest: tuple[int, ...] = ()
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        if not isinstance(value, torch.Tensor):
            digest.update(json.dumps(value).encode())
            continue
        digest.update(json.dumps(list(value.shape)).encode())
        if value.is_floating_point() or name.startswith(_PIXELS):
            largest = max(largest, tuple(value.shape), key=_product)
        else:
            digest.update(value.to(torch.int64).cpu().numpy().tobytes())
    sides = list(largest)
    while len(sides) > 1 and sides[0] == 1:
        del sides[0]
    return f"{NATIVE}{'x'.join(map(str, sides))}-{digest.hexdigest()[:_DIGITS]}"


def _product(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel() if shape else 0
