"""Counted FLOPs against arithmetic done by hand."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils import flop_counter

from mfuscope.flops.counting import FlopCounter


def count(call: object, *args: object, **kwargs: object) -> FlopCounter:
    counter = FlopCounter()
    with torch.inference_mode(), counter:
        call(*args, **kwargs)  # type: ignore[operator]
    return counter


def test_matrix_products() -> None:
    a, b, v = torch.randn(3, 5), torch.randn(5, 7), torch.randn(5)
    assert count(torch.mm, a, b).total == 2 * 3 * 5 * 7
    assert count(torch.matmul, a, v).total == 2 * 3 * 5
    assert count(torch.dot, v, v).total == 2 * 5
    assert count(torch.addmv, torch.randn(3), a, v).total == 2 * 3 * 5
    assert count(torch.bmm, torch.randn(4, 3, 5), torch.randn(4, 5, 7)).total == 2 * 4 * 3 * 5 * 7


def test_layers() -> None:
    assert count(nn.Linear(5, 7), torch.randn(2, 3, 5)).total == 2 * 2 * 3 * 5 * 7
    convolution = nn.Conv2d(3, 8, kernel_size=4, stride=4)
    assert count(convolution, torch.randn(1, 3, 16, 16)).total == 2 * 16 * 3 * 16 * 8
    assert count(
        torch.einsum, "bhwc,hkc->bhwk", torch.randn(2, 3, 4, 5), torch.randn(3, 6, 5)
    ).total == (2 * 2 * 3 * 4 * 6 * 5)


def test_attention_counts_the_full_context() -> None:
    q = torch.randn(1, 4, 6, 8)
    kv = torch.randn(1, 4, 10, 8)
    attention = nn.functional.scaled_dot_product_attention
    expected = 2 * 2 * 4 * 6 * 10 * 8
    assert count(attention, q, kv, kv).total == expected
    causal = count(attention, q, q, q, is_causal=True)
    assert causal.total == 2 * 2 * 4 * 6 * 6 * 8
    assert not causal.uncounted


def refuses_groups(query: torch.Size, key: torch.Size, value: torch.Size) -> int:
    """torch 2.11's formula, which knows no groups of heads."""
    batch, heads, queries, width = query
    if key[:2] != query[:2] or value[:2] != query[:2]:
        raise AssertionError("query, key and value have other heads")
    return 2 * batch * heads * queries * key[2] * (width + value[3])


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_groups_of_heads_share_keys_and_values(
    kv_heads: int, older: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if older:
        monkeypatch.setattr(flop_counter, "sdpa_flop_count", refuses_groups)
    q, kv = torch.randn(2, 4, 6, 8), torch.randn(2, kv_heads, 10, 8)
    expected = 2 * 2 * 4 * 6 * 10 * (8 + 8)
    counter = count(nn.functional.scaled_dot_product_attention, q, kv, kv, enable_gqa=True)
    assert counter.total == expected
    assert not counter.uncounted
    for kind in ("cudnn", "flash", "efficient"):
        on_gpu = getattr(torch.ops.aten, f"_scaled_dot_product_{kind}_attention")
        bias = () if kind == "flash" else (None, False)
        heads = [x.to("meta", torch.bfloat16) for x in (q, kv, kv)]
        assert count(on_gpu, *heads, *bias).total == expected, kind


def test_the_older_formula_stands_where_ours_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the test above shows something: torch's own counter uses the formula in its place."""
    monkeypatch.setattr(flop_counter, "sdpa_flop_count", refuses_groups)
    q, kv = torch.randn(2, 4, 6, 8), torch.randn(2, 2, 10, 8)
    heads = [x.to("meta", torch.bfloat16) for x in (q, kv, kv)]
    with (
        pytest.raises(AssertionError, match="have other heads"),
        flop_counter.FlopCounterMode(display=False),
    ):
        torch.ops.aten._scaled_dot_product_flash_attention(*heads)


def test_experts_count_their_own_tokens_only() -> None:
    tokens, experts, k, n = 12, 4, 16, 32
    a, b = torch.randn(tokens, k), torch.randn(experts, k, n)
    ends = torch.tensor([3, 3, 10, 12], dtype=torch.int32)
    counter = count(nn.functional.grouped_mm, a, b, offs=ends)
    assert counter.total == 2 * tokens * k * n
    assert not counter.uncounted


def test_every_form_of_a_grouped_product() -> None:
    def counted(a: torch.Tensor, b: torch.Tensor, ends: list[int] | None) -> int:
        offsets = None if ends is None else torch.tensor(ends, dtype=torch.int32)
        counter = count(nn.functional.grouped_mm, a, b, offs=offsets)
        assert not counter.uncounted
        return counter.total

    m, k, n, g = 8, 16, 32, 2
    assert counted(torch.randn(m, k), torch.randn(g, k, n), [3, 8]) == 2 * m * k * n
    assert counted(torch.randn(g, m, k), torch.randn(g, k, n), None) == 2 * g * m * k * n
    assert counted(torch.randn(g, m, k), torch.randn(k, n), [16, 32]) == 2 * m * k * n
    assert counted(torch.randn(m, k), torch.randn(k, n), [8, 16]) == 2 * m * k * n


def test_variants_have_the_formula_of_their_kind() -> None:
    a, b, c = torch.randn(3, 5), torch.randn(5, 7), torch.randn(3, 7)
    assert count(c.addmm_, a, b).total == 2 * 3 * 5 * 7
    assert count(torch.randn(3).addmv_, a, torch.randn(5)).total == 2 * 3 * 5
    batch = torch.randn(4, 3, 5), torch.randn(4, 5, 7)
    assert count(torch.randn(4, 3, 7).baddbmm_, *batch).total == 2 * 4 * 3 * 5 * 7
    assert count(torch.addbmm, c, *batch).total == 2 * 4 * 3 * 5 * 7


def test_parts_get_their_own() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 3)
            self.outer = nn.Sequential(self.inner, nn.Linear(3, 5))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.outer(x) @ torch.ones(5, 1)
            return out

    model = Model()
    counter = FlopCounter()
    with (
        torch.inference_mode(),
        counter.attribute([("a", model.inner), ("b", model.outer)]),
        counter,
    ):
        model(torch.ones(1, 2))
    assert counter.counts == {"a": 2 * 2 * 3, "b": 2 * 3 * 5, "other": 2 * 5}
    assert not model.inner._forward_hooks


@pytest.mark.parametrize("kind", ["cudnn", "flash", "efficient"])
def test_attention_counts_for_the_operator_that_launches_it(kind: str) -> None:
    heads = torch.empty(1, 2, 16, 64, device="meta", dtype=torch.bfloat16)
    fused = getattr(torch.ops.aten, f"_scaled_dot_product_{kind}_attention")
    bias = () if kind == "flash" else (None, False)
    counter = count(fused, heads, heads, heads, *bias)
    assert counter.operators == {f"aten::_{kind}_attention_forward": 4 * 2 * 16 * 16 * 64}


def test_heavy_operators_without_a_formula_are_recorded() -> None:
    counter = count(torch.fft.fft, torch.randn(8))
    assert counter.total == 0
    assert counter.uncounted == {"aten._fft_r2c"}
    x = torch.rand(4, 4) + 1
    heavy = [torch.matrix_exp, torch.linalg.inv, lambda v: torch.addr(v, v[0], v[0])]
    assert all(count(call, x).uncounted for call in heavy)
    light = [torch.relu, torch.lgamma, torch.digamma, lambda v: torch.cummax(v, 0), torch.softmax]
    for call in light:
        arguments = (x, 0) if call is torch.softmax else (x,)
        assert not count(call, *arguments).uncounted, call


def test_a_fused_encoder_layer_is_recorded() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    counter = count(nn.TransformerEncoder(layer, 1), torch.randn(1, 4, 8))
    assert counter.total or counter.uncounted


def test_kernels_of_other_namespaces_are_recorded() -> None:
    @torch.library.custom_op("mfuscope_test::swish", mutates_args=())
    def swish(x: torch.Tensor) -> torch.Tensor:
        return x.sigmoid() * x

    assert count(swish, torch.randn(3)).uncounted == {"mfuscope_test.swish"}


def of_linear(x: torch.Tensor) -> None:
    nn.functional.linear(x[:, -1:, :], torch.ones(3, 8))  # a slice: bmm, not mm
    nn.functional.linear(x, torch.ones(3, 8))
    nn.functional.linear(x, torch.ones(3, 8), torch.ones(3))
    torch.matmul(x, torch.ones(8))


def of_layers(x: torch.Tensor) -> None:
    nn.functional.conv2d(x[None], torch.ones(6, 2, 2, 2))
    nn.functional.conv2d(torch.ones(1, 8, 64, 64), torch.ones(16, 8, 3, 3))  # another backend
    heads = x[None].transpose(1, 2)
    nn.functional.scaled_dot_product_attention(heads, heads, heads)
    torch.einsum("btd,de->bte", x, torch.ones(8, 2))


def of_experts(x: torch.Tensor) -> None:
    rows, weights = x.flatten(0, 1), torch.ones(3, 8, 4)
    ends = torch.tensor([4, 4, 8], dtype=torch.int32)  # the second expert has no token
    nn.functional.grouped_mm(rows, weights, offs=ends)
    nn.functional.grouped_mm(x, weights[:2])
    nn.functional.grouped_mm(rows.T.contiguous(), torch.ones(8, 4), offs=ends)
    columns = torch.tensor([4, 8], dtype=torch.int32)
    nn.functional.grouped_mm(x, torch.ones(8, 8), offs=columns)


@pytest.mark.parametrize("body", [of_linear, of_layers, of_experts])
def test_operators_are_those_that_a_trace_has(body: Callable[[torch.Tensor], None]) -> None:
    x = torch.randn(2, 4, 8)
    counter = count(body, x)
    assert sum(counter.operators.values()) == counter.total > 0
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as recorded:
        body(x)
    traced = Counter(event.name for event in recorded.events() or [])
    assert counter.calls == {name: traced[name] for name in counter.operators}


SHAPES = st.tuples(*[st.integers(1, 4)] * 4)


@given(st.lists(st.tuples(st.sampled_from(["mm", "bmm", "grouped", "conv"]), SHAPES), max_size=6))
@settings(max_examples=50)
def test_operators_add_up_to_the_total(work: list[tuple[str, tuple[int, int, int, int]]]) -> None:
    counter = FlopCounter()
    with torch.inference_mode(), counter:
        for kind, (g, m, k, n) in work:
            if kind == "mm":
                torch.ones(m, k) @ torch.ones(k, n)
            elif kind == "bmm":
                torch.ones(g, m, k) @ torch.ones(g, k, n)
            elif kind == "grouped":
                ends = torch.full((g,), m, dtype=torch.int32)
                nn.functional.grouped_mm(
                    torch.ones(m, 4 * k), torch.ones(g, 4 * k, 4 * n), offs=ends
                )
            else:
                nn.functional.conv2d(torch.ones(1, g, m + 1, k + 1), torch.ones(n, g, 2, 2))
    flops = {"mm": 2, "bmm": 2, "grouped": 32, "conv": 8}
    expected = 0
    for kind, (g, m, k, n) in work:
        times = {"mm": m * k * n, "bmm": g * m * k * n, "grouped": m * k * n, "conv": g * m * k * n}
        expected += flops[kind] * times[kind]
    assert sum(counter.operators.values()) == sum(counter.counts.values()) == expected
