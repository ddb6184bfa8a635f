"""FLOPs in closed form, exact for the architecture, by component.

A multiply-add counts 2. A product of (m, k) by (k, n) is ``2mkn``. Attention of t queries over s
keys with h heads of width d is ``4·t·s·h·d`` (scores and weighted sum), without a causal discount.
"""

from collections import Counter
from math import ceil

from mfuscope.core.language import Language
from mfuscope.flops import components as c
from mfuscope.flops.dims import Architecture, Clip, QueryEncoder, Sam, downsampled
from mfuscope.models.geometry import Geometry

Flops = dict[str, int]


def prefill_flops(dims: Architecture, geometry: Geometry, prompt_tokens: int) -> Flops:
    """FLOPs of one prefill by component.

    Args:
        geometry: the page's views.
        prompt_tokens: length of the prompt, image tokens included.
    """
    total: Counter[str] = Counter()
    for side in dims.views(geometry):
        total.update(_sam(dims.sam, side))
        total.update(_encoder(dims, side))
        total[c.PROJECTOR] += 2 * dims.features(side) * dims.projector_in * dims.language.hidden
    # Windows slide over generated tokens only: in prefill, sliding layers attend to every key.
    total.update(_language(dims.language, prompt_tokens, prompt_tokens, prompt_tokens))
    return dict(total)


def decode_flops(language: Language, context_tokens: int, prompt_tokens: int) -> Flops:
    """FLOPs of one decode step by component.

    Args:
        context_tokens: length of the sequence with the step's own token.
        prompt_tokens: how many of them are the prompt; used for sliding windows only.
    """
    sliding = keys_of_sliding_layers(language, context_tokens, prompt_tokens)
    return _language(language, 1, context_tokens, sliding)


def keys_of_sliding_layers(language: Language, context_tokens: int, prompt_tokens: int) -> int:
    """Keys that a sliding layer attends to: the whole prompt, and a window of generated tokens."""
    if language.window is None:
        return context_tokens
    return prompt_tokens + min(context_tokens - prompt_tokens, language.window)


def kv_bytes(
    language: Language, context_tokens: int, prompt_tokens: int, bytes_per_value: int
) -> int:
    """Bytes of keys and values that a step at this context reads, or that a prefill writes."""
    full = (language.layers - language.sliding_layers) * context_tokens
    sliding = language.sliding_layers * keys_of_sliding_layers(
        language, context_tokens, prompt_tokens
    )
    return 2 * (full + sliding) * language.kv_heads * language.head_dim * bytes_per_value


def _sam(sam: Sam, side: int) -> Flops:
    patches = side // sam.patch
    area = patches * patches
    windows = ceil(patches / sam.window) ** 2
    window_area = sam.window**2
    windowed_layers = sam.layers - sam.global_layers
    # Windows are padded to full size for the projections and attention, not for the MLP.
    attended = windowed_layers * windows * window_area + sam.global_layers * area
    projections = 2 * attended * sam.width * (3 * sam.width + sam.width)
    mlp = 2 * sam.layers * area * 2 * sam.width * sam.mlp
    positions = 0
    if sam.relative_positions:  # each query times the rows and the columns of its window or view
        positions = windowed_layers * windows * 4 * sam.window**3 * sam.width
        positions += sam.global_layers * 4 * patches**3 * sam.width
    half, quarter = ceil(patches / 2), downsampled(side, sam)
    first, second = sam.downsample
    return {
        c.PATCH_EMBEDDING: 2 * area * sam.channels * sam.patch**2 * sam.width,
        c.LINEAR: projections + mlp,
        c.WINDOWED_ATTENTION: windowed_layers * windows * 4 * window_area**2 * sam.width,
        c.GLOBAL_ATTENTION: sam.global_layers * 4 * area**2 * sam.width,
        c.RELATIVE_POSITIONS: positions,
        c.CONVOLUTIONS: 2
        * (
            area * sam.width * sam.neck
            + area * 9 * sam.neck * sam.neck
            + half**2 * 9 * sam.neck * first
            + quarter**2 * 9 * first * second
        ),
    }


def _encoder(dims: Architecture, side: int) -> Flops:
    patches = downsampled(side, dims.sam) ** 2
    encoder = dims.encoder
    if isinstance(encoder, Clip):
        tokens = patches + 1  # the class token
        layer = 2 * tokens * (4 * encoder.width**2 + 2 * encoder.width * encoder.mlp)
        return {c.CLIP: encoder.layers * (layer + 4 * tokens**2 * encoder.width)}
    tokens = patches + dims.features(side)
    return {c.QUERY_ENCODER: encoder.layers * _query_layer(encoder, tokens)}


def _query_layer(encoder: QueryEncoder, tokens: int) -> int:
    own, shared = encoder.heads * encoder.head_dim, encoder.kv_heads * encoder.head_dim
    projections = 2 * tokens * encoder.width * (2 * own + 2 * shared)
    return projections + 4 * tokens**2 * own + 6 * tokens * encoder.width * encoder.mlp


def _language(dims: Language, tokens: int, seen: int, seen_by_sliding: int) -> Flops:
    """The decoder on `tokens` tokens and its head on one.

    Args:
        seen: keys that full layers attend to.
        seen_by_sliding: keys that sliding layers attend to.
    """
    own, shared = dims.heads * dims.head_dim, dims.kv_heads * dims.head_dim
    keys = (dims.layers - dims.sliding_layers) * seen + dims.sliding_layers * seen_by_sliding
    sparse = dims.sparse_layers * tokens
    return {
        c.ATTENTION_PROJECTIONS: dims.layers * 2 * tokens * dims.hidden * (2 * own + 2 * shared),
        c.ATTENTION: 4 * tokens * keys * own,
        c.DENSE_MLP: dims.dense_layers * 6 * tokens * dims.hidden * dims.dense_mlp,
        c.ROUTER: sparse * 2 * dims.hidden * dims.experts,
        c.ROUTED_EXPERTS: sparse * 6 * dims.hidden * dims.expert_mlp * dims.active_experts,
        c.SHARED_EXPERTS: sparse * 6 * dims.hidden * dims.shared_mlp,
        c.LM_HEAD: 2 * dims.hidden * dims.vocabulary,
    }
