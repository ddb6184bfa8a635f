"""What the report says of work that was not counted."""

from typing import Any

import pandas as pd
from builders import calibration, run
from report_data import cpu_tables, kernel_rows, repeats, tables, texts
from report_data import on_cpu as on_cpu_runs
from report_reader import section

from mfuscope.report.check import Check
from mfuscope.report.data import ReportData
from mfuscope.report.head import head
from mfuscope.report.notices import notices
from mfuscope.report.uncounted import all_counted, lower_bounds, nothing_left, statements
from mfuscope.report.validity import all_checks

BOTH = (("prefill", "gemm", 40.0), ("decode", "gemm", 50.0))


def made(*kernels: pd.DataFrame, **changes: Any) -> ReportData:
    runs = repeats(len(kernels) or 1)
    return tables(runs, kernels=[("baseline", one) for one in kernels], **changes).data


def check(data: ReportData) -> Check:
    (found,) = (one for one in all_checks(data) if one.title == "All work counted")
    assert found == all_counted(data)
    return found


def test_operators_without_a_formula_are_named() -> None:
    short = calibration(uncounted_operators=["aten::_mystery_mm"])
    whole = {"kernels": [("baseline", kernel_rows(*BOTH))]}
    for text in (found := texts([run()], calibrations=[short], **whole)).markdown, found.html:
        assert "Not counted: aten::_mystery_mm: no FLOP formula (baseline at 1024)." in text
        assert "FLOPs and MFU are lower bounds" in text
    assert "No compute-heavy operator was left uncounted" in texts([run()], **whole).markdown


def test_kernels_that_no_operator_launched_are_named_with_their_share() -> None:
    kernels = kernel_rows(
        ("prefill", "gemm", 30.0),
        ("prefill", "chunk_delta_rule_fwd", 8.0),
        ("prefill", "causal_conv1d_fwd", 2.0),
        ("decode", "gemm", 50.0),
        ("outside", "other", 1.0),
        undispatched={"chunk_delta_rule_fwd": 8.0, "causal_conv1d_fwd": 1.0, "other": 1.0},
    )
    data = made(kernels, kernels)
    said = [line.replace("\u00a0", " ") for line in statements(data)]
    assert said == [
        "chunk_delta_rule_fwd (8.00 ms) and causal_conv1d_fwd (1.00 ms): launched past torch's "
        "operators, 22 % of the device time (baseline, prefill)."
    ]
    found = check(data)
    assert (found.verdict, list(found.details)) == ("warning", statements(data))
    assert "up to 22 % of the device time, in prefill" in lower_bounds(data).replace("\u00a0", " ")
    assert lower_bounds(data) in [one.text for one in notices(data)]
    assert any("lower bounds" in one["text"] for one in head(data)["warnings"])
    text = texts(repeats(1), kernels=[("baseline", kernels)]).markdown
    for title in ("Model FLOPs utilisation (MFU)", "FLOPs behind it", "Checks"):
        assert "lower bounds" in section(text, title), title
    assert "No compute-heavy operator was left uncounted" not in text


def test_more_kernels_than_are_named() -> None:
    names = [f"kernel_{i}" for i in range(9)]
    rows = kernel_rows(
        *(("prefill", name, 1.0) for name in names), undispatched=dict.fromkeys(names, 1.0)
    )
    (line,) = statements(made(rows))
    assert "and 6 more: launched past" in line
    assert "100\u00a0% of the device time" in line


def test_nothing_is_left_where_all_kernels_have_their_operator() -> None:
    data = made(kernel_rows(*BOTH))
    assert nothing_left(data).endswith("came from an operator of torch, or was compiled from some.")
    assert check(data).verdict == "ok"
    assert lower_bounds(data) == ""
    assert not [one for one in notices(data) if "lower bound" in one.text]


def test_what_no_trace_tells_is_not_known() -> None:
    data = made(kernel_rows(BOTH[0]))
    assert check(data).verdict == "unknown"
    assert "past torch's operators in decode of baseline is not known" in nothing_left(data)
    on_cpu = tables(on_cpu_runs(), **cpu_tables()).data
    assert check(on_cpu).verdict == "unknown"
    assert "only a GPU's trace has" in nothing_left(on_cpu)
