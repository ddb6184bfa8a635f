"""Weights that a stage reads, of models without a closed form."""

from typing import Any

import pytest
from small_calls import on_meta
from transformers import Llama4ForCausalLM, Llama4TextConfig

from mfuscope.flops.meta import build_on_meta
from mfuscope.flops.traffic import stage_weight_bytes
from mfuscope.models.parts import find_decoder

BF16 = 2


def step_bytes(model: Any) -> int | None:
    found = stage_weight_bytes(model, 1, prefill=False)
    return None if found is None else sum(found.values())


def size(*modules: Any) -> int:
    return sum(BF16 * p.numel() for module in modules for p in module.parameters())


@pytest.mark.parametrize("family", ["florence2", "t5gemma2"])
def test_a_step_of_an_encoder_decoder_reads_no_encoder(family: str) -> None:
    model = on_meta(family)
    decoder = model.model.decoder if family == "t5gemma2" else model.model.language_model.decoder
    table = model.get_input_embeddings().weight
    step = step_bytes(model)
    assert step is not None
    row = BF16 * table.shape[1]
    # The decoder, its table or the head alone, and a token's embedding.
    assert abs(step - row - size(decoder)) <= BF16 * table.numel()


def test_a_vision_encoder_within_the_language_model_is_not_read_in_a_step() -> None:
    model = on_meta("chameleon")
    row = BF16 * model.model.embed_tokens.weight.shape[1]
    read = size(model.model.layers, model.model.norm, model.lm_head)
    assert step_bytes(model) == read + row


def test_without_a_decoder_a_step_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    model = on_meta("llava")
    prefill = stage_weight_bytes(model, 42, prefill=True)
    monkeypatch.setattr("mfuscope.flops.traffic.find_decoder", lambda _: ())
    assert step_bytes(model) is None
    assert stage_weight_bytes(model, 42, prefill=True) == prefill


# --- experts -------------------------------------------------------------------------------------

# Of each layer four experts of width 16 in a model of width 32: gate, up and down.
EXPERT = BF16 * 3 * 32 * 16


@pytest.mark.parametrize(
    ("family", "layers"), [("qwen3_vl_moe", 2), ("qwen3_5_moe", 2), ("glm4v_moe", 1)]
)
def test_experts_that_run_are_read(family: str, layers: int) -> None:
    """Two take a token; a prefill of one token reads two, and of three tokens all four."""
    model = on_meta(family)
    read = size(find_decoder(model)[0], model.lm_head) - size(model.get_input_embeddings())
    row = BF16 * 32
    assert step_bytes(model) == read - layers * 2 * EXPERT + row
    prefills = [stage_weight_bytes(model, tokens, prefill=True) for tokens in (1, 2, 3)]
    one, two, three = (sum((found or {}).values()) for found in prefills)
    assert (two - one, three - two) == (layers * 2 * EXPERT + row, row)


@pytest.mark.parametrize(
    ("family", "why"),
    [("ernie4_5_vl_moe", "two sets of experts"), ("qwen3_vl_moe", "no number"), ("llama4", "all")],
)
def test_where_it_is_not_known_which_run_the_bytes_are_unknown(
    family: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if family == "llama4":  # its experts take every token, of which the router leaves some
        text = {"hidden_size": 32, "intermediate_size": 16, "intermediate_size_mlp": 32}
        text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "num_local_experts": 2}
        text |= {"num_key_value_heads": 2, "head_dim": 16, "vocab_size": 320, "pad_token_id": 2}
        model = build_on_meta(Llama4ForCausalLM, Llama4TextConfig(**text), "eager")
    else:
        model = on_meta(family)
    if why == "no number":
        monkeypatch.setattr("mfuscope.flops.traffic._ACTIVE", ())
    assert step_bytes(model) is None
    assert stage_weight_bytes(model, 5, prefill=True) is None
