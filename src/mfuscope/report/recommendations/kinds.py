"""What kind of work an operator does, by its name."""

import re
from collections.abc import Iterable

from mfuscope.report.operators import OVERHEAD, Operator, StageOperators
from mfuscope.report.recommendations.rule import Facts

_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "linear", "matmul"}
_MATRIX_WORDS = _PRODUCTS | {"einsum", "attention", "convolution", "conv1d", "conv2d", "conv3d"}
# Indexing, and what Inductor makes of it where it fuses nothing but changes of shape into it.
_INDEXING = re.compile(
    r"aten::index|triton_[a-z]+_fused_index(_(un)?(squeeze|view|expand|permute|transpose|clone))*_\d+"
)
# Implementations that copy the weights of the experts that a token goes to, before they multiply.
# generate() replaces `grouped_mm` by `batched_mm` while it decodes on a GPU.
_COPYING = {"cuda": {"batched_mm", "grouped_mm"}, "cpu": {"batched_mm"}}


def is_matrix_work(operator: str) -> bool:
    """Whether an operator is a matrix product, a convolution or attention, by its name."""
    name = operator.lower()
    words = re.split(r"[^a-z0-9]+|_", name.rpartition("::")[2])
    return "attn" in name or not _MATRIX_WORDS.isdisjoint(words)


def expert_gathers(facts: Facts, operators: StageOperators) -> list[Operator]:
    """The operators that copy experts' weights: those that index, in the decode of such models.

    In a step of DeepSeek-OCR nothing else indexes (two calls per mixture-of-experts layer); where
    something does, its share is in it.
    """
    copying = _COPYING.get(facts.data.hardware.device.kind, set())
    if operators.stage != "decode" or facts.variant.model.experts_implementation not in copying:
        return []
    return [row for row in operators.rows if _INDEXING.fullmatch(row.name)]


def other_work(facts: Facts, operators: StageOperators) -> list[Operator]:
    """Element-wise work, copies and casts: what is neither matrix work nor a gather of experts."""
    rows = operators.rows if operators.on_device else operators.by_cpu
    gathers = {row.name for row in expert_gathers(facts, operators)}
    return [
        row
        for row in rows
        if row.kind != OVERHEAD and row.name not in gathers and not is_matrix_work(row.name)
    ]


def time_ms(operators: StageOperators, rows: Iterable[Operator]) -> float:
    """Their time per run in ms: on the device, or of the CPU that computes."""
    times = (row.device_ms if operators.on_device else row.self_cpu_ms for row in rows)
    return sum(time for time in times if time)
