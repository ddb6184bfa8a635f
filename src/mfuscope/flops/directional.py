"""The approximate FLOP formulas of earlier reports, shown with their error for comparison.

Decode, per token: ``layers x [4·d_model·d_ff + 2·d_model² + 2·d_model·(d_k + d_v) + 2·d_model·S]``,
with d_k and d_v the total key and value widths, d_ff the config's ``intermediate_size``, S the
effective KV length. Prefill of an encoder: ``layers x patches x [2·d_model² + 2·d_model·d_mlp +
2·d_model·patches]``; of the language model: the decode formula for every prompt token, S half the
prompt. They have no experts, gates, windows, convolutions or LM head.
"""

from collections import Counter

from mfuscope.core.language import TextWidths
from mfuscope.flops import components as c
from mfuscope.flops.dims import Architecture, QueryEncoder, VisionWidths, downsampled
from mfuscope.models.geometry import Geometry

DEFAULT_CONTEXT = 512

Flops = dict[str, float]


def decode_flops(text: TextWidths, context_tokens: float = DEFAULT_CONTEXT) -> Flops:
    """FLOPs of one token by component, S = `context_tokens`."""
    width = text.hidden
    keys = values = text.kv_heads * text.head_dim
    return {
        c.ATTENTION_PROJECTIONS: text.layers * (2 * width**2 + 2 * width * (keys + values)),
        c.ATTENTION: text.layers * 2 * width * context_tokens,
        c.DENSE_MLP: text.layers * 4 * width * text.mlp,
    }


def prefill_flops(dims: Architecture, geometry: Geometry, prompt_tokens: int) -> Flops:
    """FLOPs of one prefill by component: both encoders view by view, then the language model."""
    total: Counter[str] = Counter()
    for side in dims.views(geometry):
        sam, encoder = dims.sam, dims.encoder
        patches = (side // sam.patch) ** 2
        linear, attention = _encoder(VisionWidths(sam.width, sam.layers, sam.mlp, patches))
        total[c.LINEAR] += linear
        total[c.GLOBAL_ATTENTION] += attention
        features = downsampled(side, sam) ** 2
        if isinstance(encoder, QueryEncoder):
            name, tokens = c.QUERY_ENCODER, features + dims.features(side)
        else:
            name, tokens = c.CLIP, features
        widths = VisionWidths(encoder.width, encoder.layers, encoder.mlp, tokens)
        total[name] += sum(_encoder(widths))
    return dict(total) | _prompt(dims.language.widths, prompt_tokens)


def generic_prefill_flops(
    vision: VisionWidths | None, text: TextWidths, prompt_tokens: int
) -> Flops | None:
    """FLOPs of one prefill of any other model by part; None without the encoder's widths."""
    if vision is None:
        return None
    return {
        "vision": float(sum(_encoder(vision))),
        "language_model": sum(_prompt(text, prompt_tokens).values()),
    }


def _encoder(vision: VisionWidths) -> tuple[int, int]:
    """FLOPs of an encoder on one view: of its linear layers, and of its attention."""
    per_layer = vision.layers * vision.patches
    linear = per_layer * (2 * vision.width**2 + 2 * vision.width * vision.mlp)
    return linear, per_layer * 2 * vision.width * vision.patches


def _prompt(text: TextWidths, prompt_tokens: int) -> Flops:
    per_token = decode_flops(text, prompt_tokens / 2)
    return {name: prompt_tokens * flops for name, flops in per_token.items()}
