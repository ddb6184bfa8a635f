"""Precisions: short names, torch's names, and sizes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # names and sizes must not cost the import of torch
    import torch

TORCH_NAMES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
SHORT_NAMES = {long: short for short, long in TORCH_NAMES.items()}
BYTES_PER_VALUE = {"bf16": 2, "fp16": 2, "fp32": 4}


def torch_dtype(name: str) -> "torch.dtype":
    """torch's dtype for a short name."""
    import torch

    dtype: torch.dtype = getattr(torch, TORCH_NAMES[name])
    return dtype
