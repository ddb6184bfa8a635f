"""Gathers of experts' weights: no element-wise work, with a cure of their own."""

from dataclasses import replace
from typing import Any

import pytest
from builders import model, run
from report_data import cpu_tables, on_cpu, operator_rows, tables

from mfuscope.report.data import ReportData
from mfuscope.report.recommendations import Recommendation, recommend
from mfuscope.report.recommendations.kinds import _INDEXING

# Of a decode step's 10 ms: products 6, gathers 2, the rest 2.
ROWS = (
    ("decode", "aten::bmm", 1.0, 6.0),
    ("decode", "aten::index", 1.0, 2.0),
    ("decode", "aten::mul", 1.0, 2.0),
    ("prefill", "aten::index", 1.0, 9.0),
    ("prefill", "aten::mm", 1.0, 1.0),
)


def data(
    implementation: str | None = "grouped_mm", rows: Any = ROWS, compiled: str = "none"
) -> ReportData:
    runs = [run(repeat=i, model=model(experts_implementation=implementation)) for i in range(2)]
    settings = {"variants": {"baseline": {"compile": compiled}}}
    operators = [("baseline", operator_rows(*rows))] * 2
    return tables(runs, operators=operators, settings=settings).data


def advice(made: ReportData) -> Recommendation | None:
    found = (one for one in recommend(made, made.variants[0]) if one.rule == "copied_experts")
    return next(found, None)


def test_gathers_of_experts_are_named_with_what_they_cost() -> None:
    found = advice(data())
    assert found is not None
    # A fifth of the 31 ms in which the device is busy in decode.
    assert found.gain_ms == pytest.approx(0.2 * 31.0)
    evidence = found.evidence[0].replace("\u00a0", " ")
    # Of a step of 20 ms the device is busy for half.
    assert evidence == (
        "20 % of decode's device time (2.00 ms of every step) gathers weights of experts: "
        "aten::index"
    )
    assert found.cure in ({"experts": "eager"}, {"experts": "sonicmoe"})


@pytest.mark.parametrize(
    ("implementation", "expected"),
    [
        ("grouped_mm", True),
        ("batched_mm", True),
        ("eager", False),
        ("sonicmoe", False),
        (None, False),
    ],
)
def test_only_implementations_that_copy_gather(implementation: str | None, expected: bool) -> None:
    assert (advice(data(implementation)) is not None) == expected


def test_gathers_are_no_element_wise_work() -> None:
    def fused(implementation: str) -> bool:
        rows = (*ROWS[:1], ("decode", "aten::index", 1.0, 3.0), ("decode", "aten::mul", 1.0, 2.0))
        made = data(implementation, rows)
        return any(one.rule == "fuse" for one in recommend(made, made.variants[0]))

    # 3 + 2 of 11 are above the limit of element-wise work, 2 are not.
    assert fused("eager")
    assert not fused("grouped_mm")


def test_time_counts_where_it_is_computed() -> None:
    runs = [replace(one, model=model(experts_implementation="batched_mm")) for one in on_cpu()]
    rows = operator_rows(("decode", "aten::bmm", 6.0, 0.0), ("decode", "aten::index", 2.0, 0.0))
    rows["device_ms"] = None
    made = tables(runs, operators=[("baseline", rows)], **cpu_tables()).data
    from_gpu = tables(runs, operators=[("baseline", rows)]).data
    assert advice(from_gpu) is None  # the host's time is none of the device's
    assert advice(made) is not None


def test_a_captured_step_cannot_loop_over_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[str, object] = {"kernels": None}
    monkeypatch.setattr("importlib.util.find_spec", found.get)
    eager, compiled = advice(data()), advice(data(compiled="decode"))
    assert eager is not None
    assert compiled is not None
    assert (eager.cure, compiled.cure) == ({"experts": "eager"}, None)
    found["kernels"] = object()
    both = advice(data()), advice(data(compiled="decode"))
    assert [one and one.cure for one in both] == [{"experts": "sonicmoe"}] * 2


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("aten::index", True),
        ("triton_poi_fused_index_view_10", True),
        ("triton_poi_fused_index_3", True),
        ("aten::index_select", False),
        ("aten::index_copy_", False),
        ("triton_poi_fused__unsafe_view_add_arange_index_copy_transpose_view_2", False),
        ("triton_poi_fused__to_copy__unsafe_index_add_arange_clamp_index_mul_4", False),
        ("aten::bmm", False),
    ],
)
def test_gathers_by_name(name: str, expected: bool) -> None:
    assert bool(_INDEXING.fullmatch(name)) == expected
