"""Higher-order operators and compiled regions: their parts are counted, or they are named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._higher_order_ops.associative_scan import associative_scan
from torch._higher_order_ops.map import map as map_over
from torch._higher_order_ops.scan import scan
from torch._higher_order_ops.while_loop import while_loop
from torch.nn.attention.flex_attention import flex_attention

from mfuscope.flops.counting import FlopCounter

SQUARE = torch.ones(4, 4)
PRODUCT = 2 * 4 * 4 * 4


def count(call: Callable[..., Any], *args: Any, **kwargs: Any) -> FlopCounter:
    """The count of a call, as calibration makes it."""
    counter = FlopCounter()
    with torch.compiler.set_stance("force_eager"), torch.inference_mode(), counter:
        call(*args, **kwargs)
    return counter


def causal(score: Any, _batch: Any, _head: Any, query: Any, key: Any) -> Any:
    return torch.where(query >= key, score, float("-inf"))


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("kv_heads", [4, 2])
def test_flex_attention_counts_its_full_context(kv_heads: int) -> None:
    query, kv = torch.randn(1, 4, 128, 16), torch.randn(1, kv_heads, 256, 16)
    counter = count(flex_attention, query, kv, kv, causal, enable_gqa=kv_heads < query.shape[1])
    assert counter.total == 4 * 4 * 128 * 256 * 16
    assert not counter.uncounted


@pytest.mark.parametrize(("positive", "products"), [(True, 1), (False, 2)])
def test_of_a_condition_the_branch_that_is_taken_counts(positive: bool, products: int) -> None:
    x = SQUARE if positive else -SQUARE
    counter = count(torch.cond, x.sum() > 0, lambda x: x @ x, lambda x: x @ x @ x, (x,))
    assert counter.total == products * PRODUCT
    assert not counter.uncounted


def loop(x: torch.Tensor) -> None:
    repeat: Callable[..., Any] = while_loop
    repeat(lambda i, _: i < 3, lambda i, x: (i + 1, x @ x), (torch.tensor(0), x))


def mapped(x: torch.Tensor) -> None:
    over: Callable[..., Any] = map_over
    over(lambda row, x: row @ x, x[None].repeat(3, 1, 1), x)


def associative(x: torch.Tensor) -> None:
    associative_scan(lambda a, b: a @ b, x[None].repeat(3, 1, 1), 0, combine_mode="generic")


@pytest.mark.parametrize(("call", "products"), [(loop, 3), (mapped, 3), (associative, 2)])
def test_loops_count_each_iteration(call: Callable[..., None], products: int) -> None:
    counter = count(call, SQUARE)
    assert counter.total == products * PRODUCT
    assert not counter.uncounted


def test_higher_order_operators_without_a_rule_are_named() -> None:
    def steps(x: torch.Tensor) -> None:
        scan(lambda carry, row: (carry @ row, carry + row), x, x[None].repeat(3, 1, 1))

    counter = count(steps, SQUARE)
    assert counter.uncounted == {"higher_order.scan"}
    assert counter.total == 0


def test_parts_of_a_higher_order_operator_count_for_their_module() -> None:
    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = torch.cond(x.sum() > 0, lambda x: x @ x, lambda x: x + 1, (x,))
            return out

    branch, counter = Branch(), FlopCounter()
    eager = torch.compiler.set_stance("force_eager")
    with eager, torch.inference_mode(), counter.attribute([("branch", branch)]), counter:
        branch(SQUARE)
    assert counter.counts == {"branch": PRODUCT}


def test_compiled_regions_are_counted_as_what_they_were_compiled_from() -> None:
    region = torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend="aot_eager")
    with torch.inference_mode():
        region(SQUARE)  # compiled, as by an earlier run of the process
    counter = count(region, SQUARE)
    assert counter.operators == {"aten::addmm": PRODUCT}
