"""Weights that a stage reads, of models without a closed form."""

from typing import Any

import pytest
from small_calls import on_meta

from mfuscope.flops.traffic import stage_weight_bytes

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
