"""The dimensions that decide an architecture's FLOPs, read from a transformers config."""

from dataclasses import dataclass
from math import ceil
from typing import Any

from mfuscope.core.language import Language, TextWidths
from mfuscope.models.geometry import Geometry
from mfuscope.models.language import read_language


@dataclass(frozen=True, slots=True)
class Sam:
    """The SAM-like encoder: windowed and global blocks, then convolutions that downsample by 4."""

    patch: int
    channels: int
    width: int
    layers: int
    global_layers: int
    window: int
    mlp: int
    relative_positions: bool
    neck: int
    downsample: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Clip:
    """The CLIP-like encoder over SAM's features and a class token."""

    width: int
    layers: int
    mlp: int


@dataclass(frozen=True, slots=True)
class QueryEncoder:
    """DeepSeek-OCR-2's second encoder: a gated decoder stack over SAM's features and queries."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int


@dataclass(frozen=True, slots=True)
class VisionWidths:
    """Widths of a ViT-like encoder on views of one size, for the directional formulas."""

    width: int
    layers: int
    mlp: int
    patches: int


@dataclass(frozen=True, slots=True)
class Architecture:
    """DeepSeek-OCR, DeepSeek-OCR-2 or Unlimited-OCR, of any size."""

    sam: Sam
    encoder: Clip | QueryEncoder
    projector_in: int
    language: Language

    def features(self, side: int) -> int:
        """Number of features of a square view of `side` pixels."""
        patches = downsampled(side, self.sam) ** 2
        if isinstance(self.encoder, QueryEncoder):
            return queries(patches)
        return patches

    def views(self, geometry: Geometry) -> list[int]:
        """Sides of all views of a page, in pixels."""
        return [geometry.base_size] + [geometry.tile_size] * geometry.tiles


def downsampled(side: int, sam: Sam) -> int:
    """Side of SAM's feature map: patches, halved twice by convolutions of stride 2, padding 1."""
    return ceil(ceil(side // sam.patch / 2) / 2)


def queries(patches: int) -> int:
    """Queries that DeepSeek-OCR-2 adds to a view of `patches` features: 12² or 16²."""
    return 144 if patches <= 144 else 256


def read_dims(config: Any) -> Architecture | None:
    """Dimensions of a known architecture, None for any other config.

    Args:
        config: an ``UnlimitedOcrConfig`` or a ``DeepseekOcr2Config``.
    """
    model_type = getattr(config, "model_type", "")
    if model_type not in ("unlimited_ocr", "deepseek_ocr2"):
        return None
    sam, encoder = config.vision_config.sam_config, config.vision_config.encoder_config
    text = config.text_config
    second: Clip | QueryEncoder
    if model_type == "unlimited_ocr":
        second = Clip(encoder.hidden_size, encoder.num_hidden_layers, encoder.intermediate_size)
        projector_in = encoder.hidden_size + sam.downsample_channels[-1]
        sliding = sum(kind != "full_attention" for kind in text.layer_types)
    else:
        second = QueryEncoder(
            width=encoder.hidden_size,
            layers=encoder.num_hidden_layers,
            heads=encoder.num_attention_heads,
            kv_heads=encoder.num_key_value_heads,
            head_dim=encoder.hidden_size // encoder.num_attention_heads,
            mlp=encoder.intermediate_size,
        )
        projector_in = encoder.hidden_size
        sliding = 0
    return Architecture(
        sam=Sam(
            patch=sam.patch_size,
            channels=sam.num_channels,
            width=sam.hidden_size,
            layers=sam.num_hidden_layers,
            global_layers=len(set(sam.global_attn_indexes) & set(range(sam.num_hidden_layers))),
            window=sam.window_size,
            mlp=sam.mlp_dim,
            relative_positions=sam.use_rel_pos,
            neck=sam.output_channels,
            downsample=(sam.downsample_channels[0], sam.downsample_channels[1]),
        ),
        encoder=second,
        projector_in=projector_in,
        language=read_language(text, sliding),
    )


def read_text_widths(config: Any) -> TextWidths | None:
    """Widths of a model's decoder, None if its config lacks one."""
    text: Any = config.get_text_config()
    heads: Any = getattr(text, "num_attention_heads", None)
    hidden: Any = getattr(text, "hidden_size", None)
    layers: Any = getattr(text, "num_hidden_layers", None)
    mlp: Any = getattr(text, "intermediate_size", None)
    if not (_whole(hidden) and _whole(layers) and _whole(mlp) and _whole(heads)):
        return None
    kv_heads = getattr(text, "num_key_value_heads", None) or heads
    head_dim = getattr(text, "head_dim", None) or hidden // heads
    return TextWidths(hidden, layers, kv_heads, head_dim, mlp)


def read_vision_widths(config: Any) -> VisionWidths | None:
    """Widths of a model's ViT-like encoder, None if its config lacks one."""
    vision: Any = getattr(config, "vision_config", None)
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "image_size", "patch_size")
    values: list[Any] = [getattr(vision, name, None) for name in names]
    if not all(map(_whole, values)):
        return None
    width, layers, mlp, side, patch = values
    return VisionWidths(width, layers, mlp, (side // patch) ** 2)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and value > 0
