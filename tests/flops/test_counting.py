"""Counted FLOPs against arithmetic done by hand."""

import torch
from torch import nn

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
