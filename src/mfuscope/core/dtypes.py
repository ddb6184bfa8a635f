"""Precisions: our short names, torch's, and their sizes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # whoever only needs names and sizes must not pay for the import
    import torch

TORCH_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
SHORT_NAMES = {long: short for short, long in TORCH_NAMES.items()}
BYTES_PER_VALUE = {"bf16": 2, "fp16": 2, "fp32": 4}


def torch_dtype(name: str) -> "torch.dtype":
    """torch's dtype of a short name."""
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES[name])
    return dtype
