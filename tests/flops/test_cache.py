"""The cache by kind of layer, against the tensors of real caches and the FLOPs of every step."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from configs import small_unlimited
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_calls import SIZE, change_config, given_caches, session, small_key, tensor_bytes
from small_models import write_small_model
from transformers import (
    DynamicCache,
    Lfm2Config,
    Lfm2ForCausalLM,
    UnlimitedOcrForConditionalGeneration,
    cache_utils,
)

from mfuscope.core.cache import CacheLayers, grown_flops, held_bytes, read_bytes
from mfuscope.flops import architecture
from mfuscope.flops.cache import Decoder, Held, UnknownCacheError, describe_cache, held
from mfuscope.flops.counting import FlopCounter
from mfuscope.flops.meta import build_on_meta
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.session import Generation, Session
from mfuscope.metrics.workload import steps_flops
from mfuscope.models.language import read_language


def small(tmp_path: Path, family: str, **changes: dict[str, Any]) -> Session:
    write_small_model(tmp_path / family, family)
    change_config(tmp_path / family, **changes)
    return session(tmp_path / family, "eager")


def every_step(made: Session, steps: int) -> tuple[int, list[int], list[int]]:
    """Prompt tokens; the FLOPs of each step, and the bytes of the cache's tensors after each."""
    page, counter = made.inputs(Image.new("RGB", SIZE), "auto"), FlopCounter()
    totals: list[int] = []
    sizes: list[int] = []

    def note() -> None:
        totals.append(counter.total)
        sizes.append(tensor_bytes(caches[-1]))

    with given_caches(made.model) as caches, counter:
        made.generate(page, Generation(1 + steps, ignore_eos=True), on_logits=note)
    flops = [after - before for before, after in itertools.pairwise(totals)]
    return page.prompt_tokens, flops[:steps], sizes[: 1 + steps]


SHARED: dict[str, Any] = {
    "num_kv_shared_layers": 2,
    "num_hidden_layers": 4,
    "use_double_wide_mlp": False,
}
SHARED |= {"layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 94}


@pytest.mark.parametrize(
    ("family", "changes", "kinds"),
    [
        # Windows that are filled within the steps, at the prompt, and never.
        ("gemma3", {"text_config": {"sliding_window": 41}}, {("sliding", 41), ("full", None)}),
        ("gemma3", {"text_config": {"sliding_window": 36}}, {("sliding", 36), ("full", None)}),
        ("gemma3", {"text_config": {"sliding_window": 500}}, {("sliding", 500), ("full", None)}),
        ("aya_vision", {"text_config": {"sliding_window": 37}}, {("sliding", 37)}),
        ("gemma4", {"text_config": SHARED}, {("sliding", 94), ("full", None)}),
        ("t5gemma2", {"decoder": {"sliding_window": 6}}, None),
        ("qwen3_5", {}, {("state", None), ("full", None)}),
        ("mllama", {}, {("full", None), ("cross", None)}),
        ("florence2", {}, {("full", None), ("cross", None)}),
    ],
)
def test_every_step_is_as_the_kinds_of_layers_say(
    family: str,
    changes: dict[str, dict[str, Any]],
    kinds: set[tuple[str, int | None]] | None,
    tmp_path: Path,
) -> None:
    made = small(tmp_path, family, **changes)
    calibration = calibrate(made, small_key(made), SIZE)
    cache = calibration.cache
    assert cache is not None, calibration.absent
    found = {(one.kind, one.window) for one in cache}
    assert found == (kinds or {("sliding", 6), ("full", None), ("cross", None)})
    prompt, flops, sizes = every_step(made, steps=7)
    contexts = range(prompt + 1, prompt + 8)
    assert [steps_flops(calibration, range(at, at + 1)) for at in contexts] == flops
    assert steps_flops(calibration, contexts) == sum(flops)
    assert [held_bytes(cache, prompt + done) for done in range(8)] == sizes
    assert calibration.prefill_kv_bytes == sizes[0]
    # A step reads what the cache held before it, and its own token's keys and values.
    per_token = sum(one.bytes for one in cache if one.grows)
    read = [read_bytes(cache, range(at, at + 1)) for at in contexts]
    assert read == [before + per_token for before in sizes[:-1]]
    assert sum(read) == read_bytes(cache, contexts)


def test_convolutions_hold_states() -> None:
    """LFM2's text decoder, whose vision model needs torchvision."""
    config = Lfm2Config(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        layer_types=["conv", "full_attention"],
    )
    model = Lfm2ForCausalLM(config).eval()
    moments, sizes, cache = [], [], DynamicCache(config=config)
    ids = torch.arange(5)[None]
    with torch.inference_mode():
        for given_ids in (ids, ids[:, :1], ids[:, :1]):
            model(given_ids, past_key_values=cache)
            moments.append(held(cache))
            sizes.append(tensor_bytes(cache))
    made = describe_cache(moments, 5, 4 * 4 * 8, Decoder.of(config))
    # A kernel of three positions; keys and values of two heads of 8.
    assert made == [
        CacheLayers(kind="state", layers=1, window=None, bytes=4 * 32 * 3, flops=0),
        CacheLayers(kind="full", layers=1, window=None, bytes=4 * 2 * 2 * 8, flops=4 * 4 * 8),
    ]
    assert [held_bytes(made, tokens) for tokens in (5, 6, 7)] == sizes


def test_a_window_of_generated_tokens_beside_the_prompt() -> None:
    """Unlimited-OCR: the closed form says the same."""
    model = build_on_meta(UnlimitedOcrForConditionalGeneration, small_unlimited())
    language, text = model.model.language_model, model.config.text_config
    dims = read_language(text, text.num_hidden_layers)
    moments, cache = [], DynamicCache(config=text)
    with torch.no_grad():
        for tokens in (20, 1, 1):
            given_embeddings = torch.empty(1, tokens, text.hidden_size, device="meta")
            language(inputs_embeds=given_embeddings.bfloat16(), past_key_values=cache)
            moments.append(held(cache))
    flops = [sum(architecture.decode_flops(dims, at, 20).values()) for at in range(21, 31)]
    made = describe_cache(moments, 20, flops[1] - flops[0], Decoder.of(model.config))
    assert [one.window for one in made] == [20 + (dims.window or 0)] == [24]
    for at, closed in zip(range(21, 31), flops, strict=True):
        assert flops[0] + grown_flops(made, 21, range(at, at + 1)) == closed
        assert read_bytes(made, range(at, at + 1)) == architecture.kv_bytes(dims, at, 20, 2)
    assert held_bytes(made, 20) == architecture.kv_bytes(dims, 20, 20, 2)


# --- what is not known ---------------------------------------------------------------------------

DECODER = Decoder(heads=4, layer_types=())


def grown(*layers: tuple[str, int | None, list[int]]) -> list[list[Held]]:
    """What layers hold after five tokens, and after each of two steps: kind, window, bytes."""
    return [
        [Held(n, kind, window, sizes[at], 16) for n, (kind, window, sizes) in enumerate(layers)]
        for at in range(3)
    ]


FULL = ("attention", None, [500, 600, 700])


@pytest.mark.parametrize(
    ("moments", "growth", "reason"),
    [
        ([[], [], []], 0, "no decoder was given a cache"),
        ([[], *grown(FULL)[1:]], 128, "no decoder was given a cache"),
        (grown(("SomeLayer", None, [0, 0, 0])), 0, "SomeLayer is no known kind"),
        (grown(FULL, ("attention", None, [500, 600, 650])), 256, "unlike its kinds"),
        (grown(("attention", 4, [300, 400, 500])), 0, "unlike its kinds"),
        (grown(FULL, ("attention", 9, [500, 600, 700])), 300, "adds to a step's FLOPs"),
        (grown(("state", None, [64, 64, 64])), 128, "adds to a step's FLOPs"),
    ],
)
def test_what_no_known_kind_explains_is_unknown(
    moments: list[list[Held]], growth: int, reason: str
) -> None:
    with pytest.raises(UnknownCacheError, match=reason):
        describe_cache(moments, 5, growth, DECODER)


def test_the_growth_of_two_kinds_is_that_of_their_heads() -> None:
    made = describe_cache(grown(FULL, ("attention", 9, [500, 600, 700])), 5, 256, DECODER)
    assert [(one.kind, one.window, one.flops) for one in made] == [
        ("full", None, 128),
        ("sliding", 9, 128),
    ]


def test_a_class_of_layers_that_is_not_known_leaves_no_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = small(tmp_path, "gemma3")
    usual = calibrate(made, small_key(made), SIZE)
    monkeypatch.setitem(
        cache_utils.DYNAMIC_LAYER_TYPE_MAPPING, "full_attention", cache_utils.DynamicIndexedLayer
    )
    calibration = calibrate(made, small_key(made), SIZE)
    assert calibration.cache is None
    assert calibration.prefill_kv_bytes is None
    assert [one.kv_bytes for one in calibration.decode_steps] == [None, None]
    reason = "DynamicIndexedLayer is no known kind of cache layer"
    assert calibration.absent["cache"] == calibration.absent["prefill_kv_bytes"] == reason
    # FLOPs are counted all the same.
    first, second = (replace(one, kv_bytes=None) for one in usual.decode_steps)
    assert calibration.decode_steps == [first, second]


# --- for every cache -----------------------------------------------------------------------------

KINDS = st.builds(
    lambda kind, layers, window, size, flops: CacheLayers(
        kind=kind,
        layers=layers,
        window=window if kind == "sliding" else None,
        bytes=size,
        flops=flops if kind in ("full", "sliding") else 0,
    ),
    st.sampled_from(["full", "sliding", "state", "cross"]),
    st.integers(1, 40),
    st.integers(1, 300),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
)


@given(
    cache=st.lists(KINDS, max_size=4),
    first=st.integers(1, 200),
    start=st.integers(0, 200),
    steps=st.integers(0, 400),
)
def test_sums_over_steps_are_those_of_each_step(
    cache: list[CacheLayers], first: int, start: int, steps: int
) -> None:
    contexts = range(first + start, first + start + steps)

    def keys(one: CacheLayers, at: int) -> int:
        return at if one.window is None else min(at, one.window)

    growing = [one for one in cache if one.kind in ("full", "sliding")]
    fixed = sum(one.bytes for one in cache if one not in growing)
    assert read_bytes(cache, contexts) == sum(
        fixed + sum(one.bytes * keys(one, at) for one in growing) for at in contexts
    )
    assert grown_flops(cache, first, contexts) == sum(
        one.flops * (keys(one, at) - keys(one, first)) for one in growing for at in contexts
    )
