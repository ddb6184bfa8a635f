"""The closed form against the model's own code, operator by operator, on the meta device."""

from functools import cache
from typing import Any

import pytest
from configs import ocr_2, published, small_ocr_2, small_unlimited
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    DeepseekOcr2ForConditionalGeneration,
    LlavaConfig,
    UnlimitedOcrConfig,
    UnlimitedOcrForConditionalGeneration,
)

from mfuscope.core.language import TextWidths
from mfuscope.flops import architecture, directional
from mfuscope.flops.components import COMPONENTS
from mfuscope.flops.dims import (
    Architecture,
    QueryEncoder,
    read_dims,
    read_text_widths,
    read_vision_widths,
)
from mfuscope.flops.meta import build_on_meta, count_prefill, count_steps
from mfuscope.flops.traffic import stage_weight_bytes
from mfuscope.models.geometry import Geometry, image_tokens, parse_resolution, query_image_tokens

TEXT_TOKENS = 5  # begin of sequence, line break, "Free", " OCR", "."

CONFIGS = {
    "deepseek-ocr": lambda: published("deepseek-ocr"),
    "deepseek-ocr-nano": lambda: published("deepseek-ocr-nano"),
    "unlimited-ocr": UnlimitedOcrConfig,
    "unlimited-ocr-small": small_unlimited,
    "deepseek-ocr-2": ocr_2,
    "deepseek-ocr-2-small": small_ocr_2,
}


def build(config: Any, attention: str = "sdpa") -> Any:
    known = {
        "unlimited_ocr": UnlimitedOcrForConditionalGeneration,
        "deepseek_ocr2": DeepseekOcr2ForConditionalGeneration,
    }
    return build_on_meta(known[config.model_type], config, attention)


@cache
def model_of(name: str, attention: str = "sdpa") -> Any:
    return build(CONFIGS[name](), attention)


def dims_of(model: Any) -> Architecture:
    dims = read_dims(model.config)
    assert dims is not None
    return dims


def tokens_of(dims: Architecture, geometry: Geometry) -> int:
    queries = isinstance(dims.encoder, QueryEncoder)
    return (query_image_tokens(geometry) if queries else image_tokens(geometry)) + TEXT_TOKENS


def assert_equal(counted: dict[str, int], closed: dict[str, int]) -> None:
    """Component by component; a closed form may say 0 of what a model does not have."""
    assert counted == {name: flops for name, flops in closed.items() if flops}
    assert set(counted) <= set(COMPONENTS)


RESOLUTIONS = ["512", "640", "1024", "1280", "1024+640x2x3"]
GRIDS = ["1024+640x1x2", "1024+640x3x3", "1024+768x2x3", "1024+640x9x1", "768", "1040"]


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_prefill_is_what_is_counted(name: str, resolution: str) -> None:
    model, geometry = model_of(name), parse_resolution(resolution)
    dims = dims_of(model)
    tokens = tokens_of(dims, geometry)
    counter = count_prefill(model, geometry, tokens)
    assert_equal(dict(counter.counts), architecture.prefill_flops(dims, geometry, tokens))
    assert not counter.uncounted


@pytest.mark.parametrize("name", [name for name in CONFIGS if "small" in name or "nano" in name])
@pytest.mark.parametrize("resolution", GRIDS)
@pytest.mark.parametrize("more", [0, 137])
def test_other_grids_and_prompts(name: str, resolution: str, more: int) -> None:
    model, geometry = model_of(name), parse_resolution(resolution)
    dims = dims_of(model)
    tokens = tokens_of(dims, geometry) + more
    counter = count_prefill(model, geometry, tokens)
    assert_equal(dict(counter.counts), architecture.prefill_flops(dims, geometry, tokens))


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("prompt", "steps"), [(78, 3), (278, 6), (908, 2)])
def test_decode_is_what_is_counted(name: str, prompt: int, steps: int) -> None:
    model = model_of(name)
    for number, counter in enumerate(count_steps(model, prompt, steps)):
        closed = architecture.decode_flops(dims_of(model).language, prompt + 1 + number, prompt)
        assert_equal(dict(counter.counts), closed)


def test_a_sliding_window_stops_growing() -> None:
    full = read_dims(UnlimitedOcrConfig())
    assert full is not None
    assert (full.language.window, full.language.sliding_layers) == (128, 12)
    model = model_of("unlimited-ocr-small")
    language = dims_of(model).language
    window = language.window
    assert window == 4
    counters = count_steps(model, 20, window + 4)
    for number, counter in enumerate(counters):
        closed = architecture.decode_flops(language, 21 + number, 20)
        assert_equal(dict(counter.counts), closed)
    totals = [counter.total for counter in counters]
    assert totals[window - 2] < totals[window - 1] == totals[window] == totals[window + 3]


@pytest.mark.parametrize("name", ["deepseek-ocr", "deepseek-ocr-2-small", "unlimited-ocr-small"])
def test_eager_attention_counts_the_same(name: str) -> None:
    geometry = parse_resolution("1024+640x1x2")
    counts = [
        dict(count_prefill(model_of(name, attention), geometry, 700).counts)
        for attention in ("sdpa", "eager")
    ]
    assert counts[0] == counts[1]


def test_the_reference_figures() -> None:
    dims = dims_of(model_of("deepseek-ocr"))
    gundam = parse_resolution("1024+640x2x3")
    assert sum(architecture.prefill_flops(dims, Geometry(1024), 278).values()) == 1_372_237_348_864
    assert sum(architecture.prefill_flops(dims, gundam, 908).values()) == 4_261_900_484_608
    assert sum(architecture.decode_flops(dims.language, 279, 278).values()) == 1_165_332_480
    assert sum(architecture.decode_flops(dims.language, 909, 908).values()) == 1_204_039_680


@st.composite
def small_configs(draw: st.DrawFn) -> Any:
    """Unlimited-OCR of any small dimensions."""
    heads = draw(st.integers(1, 3))
    sam_layers = draw(st.integers(1, 3))
    clip_heads = draw(st.integers(1, 2))
    clip_width = 8 * clip_heads * draw(st.integers(1, 2))
    kv_heads = draw(st.sampled_from([1, 2]))
    text_heads = kv_heads * draw(st.integers(1, 2))
    layers = draw(st.integers(1, 3))
    sliding = draw(st.lists(st.booleans(), min_size=layers, max_size=layers))
    experts = draw(st.integers(2, 6))
    return UnlimitedOcrConfig(
        vision_config={
            "sam_config": {
                "hidden_size": 8 * heads,
                "num_attention_heads": heads,
                "num_hidden_layers": sam_layers,
                "global_attn_indexes": sorted(draw(st.sets(st.integers(0, sam_layers - 1)))),
                "mlp_dim": draw(st.integers(3, 40)),
                "output_channels": draw(st.integers(2, 20)),
                "downsample_channels": [draw(st.integers(2, 20)), clip_width],
                "use_rel_pos": draw(st.booleans()),
            },
            "encoder_config": {
                "hidden_size": clip_width,
                "num_attention_heads": clip_heads,
                "num_hidden_layers": draw(st.integers(1, 2)),
                "intermediate_size": draw(st.integers(3, 40)),
            },
        },
        text_config={
            "vocab_size": draw(st.integers(10, 300)),
            "hidden_size": 8 * text_heads,
            "intermediate_size": draw(st.integers(3, 40)),
            "num_hidden_layers": layers,
            "num_attention_heads": text_heads,
            "num_key_value_heads": kv_heads,
            "moe_intermediate_size": 8 * draw(st.integers(1, 4)),
            "n_routed_experts": experts,
            "n_shared_experts": draw(st.integers(1, 2)),
            "num_experts_per_tok": draw(st.integers(1, experts)),
            "mlp_layer_types": draw(
                st.lists(st.sampled_from(["dense", "sparse"]), min_size=layers, max_size=layers)
            ),
            "layer_types": [
                "reference_sliding_attention" if slides else "full_attention" for slides in sliding
            ],
            "sliding_window": 3,
        },
    )


@given(
    config=small_configs(), side=st.sampled_from([224, 336, 512, 656]), tokens=st.integers(1, 50)
)
@settings(max_examples=15)
def test_any_dimensions(config: Any, side: int, tokens: int) -> None:
    model = build(config)
    dims = dims_of(model)
    counter = count_prefill(model, Geometry(side), tokens)
    assert_equal(dict(counter.counts), architecture.prefill_flops(dims, Geometry(side), tokens))
    for number, step in enumerate(count_steps(model, tokens, 5)):
        closed = architecture.decode_flops(dims.language, tokens + 1 + number, tokens)
        assert_equal(dict(step.counts), closed)


def test_directional_is_the_two_formulas() -> None:
    d_model, d_ff, layers, d_k = 1280, 6848, 12, 1280
    text = dims_of(model_of("deepseek-ocr")).language.widths

    def decode(context: float) -> float:
        return layers * (
            4 * d_model * d_ff + 2 * d_model**2 + 2 * d_model * (d_k + d_k) + 2 * d_model * context
        )

    def encoder(depth: int, patches: int, width: int, mlp: int) -> int:
        return depth * patches * (2 * width**2 + 2 * width * mlp + 2 * width * patches)

    assert sum(directional.decode_flops(text).values()) == decode(512)
    assert sum(directional.decode_flops(text, 100).values()) == decode(100)
    dims, gundam = dims_of(model_of("deepseek-ocr")), parse_resolution("1024+640x2x3")
    vision = encoder(12, 4096, 768, 3072) + encoder(24, 256, 1024, 4096)
    tile = encoder(12, 1600, 768, 3072) + encoder(24, 100, 1024, 4096)
    expected = vision + 6 * tile + 908 * decode(454)
    assert sum(directional.prefill_flops(dims, gundam, 908).values()) == expected


def test_generic_widths() -> None:
    config = LlavaConfig()
    text, vision = read_text_widths(config), read_vision_widths(config)
    assert text == TextWidths(hidden=4096, layers=32, kv_heads=32, head_dim=128, mlp=11008)
    assert vision is not None
    assert (vision.layers, vision.width, vision.patches) == (24, 1024, 24**2)
    assert read_dims(config) is None
    rough = directional.generic_prefill_flops(vision, text, 600)
    assert rough is not None
    assert set(rough) == {"vision", "language_model"}


def test_weight_bytes_are_the_parameters() -> None:
    model = model_of("deepseek-ocr")
    language = dims_of(model).language
    prefill = stage_weight_bytes(model, 908, prefill=True)
    assert prefill is not None
    # Everything but the embedding table, of which 908 rows are read.
    everything = sum(p.numel() for p in model.parameters()) - 129280 * 1280 + 908 * 1280
    assert sum(prefill.values()) == 2 * everything
    step = stage_weight_bytes(model, 1, prefill=False)
    assert step is not None
    assert step["routed_experts"] == 2 * 11 * 6 * 3 * 1280 * 896
    assert step["lm_head"] == 2 * 1280 * 129280
    # What a step multiplies with is half its FLOPs without attention; norms and one row on top.
    flops = architecture.decode_flops(language, 279, 278)
    matrices = (sum(flops.values()) - flops["attention"]) // 2
    assert sum(step.values()) == 2 * (matrices + 25 * 1280 + 1280)
    few = stage_weight_bytes(model, 3, prefill=True)
    assert few is not None
    assert few["routed_experts"] * 64 == prefill["routed_experts"] * 18
