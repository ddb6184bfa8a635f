"""From the artefacts to the numbers of the report, and tables that do not fit the runs."""

from dataclasses import replace

import pandas as pd
import pytest
from builders import (
    a_pass,
    calibration,
    generic_calibration,
    page,
    run,
)
from report_data import (
    operator_rows,
    repeats,
    tables,
    texts,
)
from report_reader import Reader

from mfuscope.core.errors import InvalidFileError
from mfuscope.metrics.operator_work import StageWork, Work
from mfuscope.report import flops
from mfuscope.report.operator_flops import RunWork
from mfuscope.report.operators import aggregate_operators
from mfuscope.report.render import render


def test_numbers_are_those_of_the_summary() -> None:
    images = ("a.png", "b.png")
    runs = [
        run(
            variant=variant,
            image=image,
            repeat=repeat,
            page=page(path=f"pages/{image}"),
            timed=a_pass(prefill_ms=factor * (50.0 + repeat + position)),
        )
        for variant, factor in (("slow", 7.77), ("fast", 1.0))
        for position, image in enumerate(images)
        for repeat in range(3)
    ]
    made = tables(runs)
    reader = Reader(render(made.data).html)
    rows = made.summary.to_dict("records")
    summary = {(str(r["variant"]), str(r["image"]), str(r["metric"])): r for r in rows}
    times = reader.grid("Time per page")
    at = {name: times.rows[0].index(name) for name in ("Page", "Variant", "Prefill", "Decode")}
    assert len(times.rows) == 1 + 4
    for row in times.rows[1:]:
        for column, metric in (("Prefill", "prefill_ms"), ("Decode", "decode_ms")):
            expected = summary[row[at["Variant"]], row[at["Page"]], metric]
            shown = [float(part) for part in row[at[column]].replace(",", "").split(" ± ")]
            assert shown == pytest.approx([expected["mean"], expected["std"]], rel=6e-3, abs=6e-3)
    stages = {"page": "mfu_model", "prefill": "mfu_prefill", "decode": "mfu_decode"}
    grid = reader.grid("MFU in %").rows[1:]
    assert len(grid) == 2 * 3 * (1 + len(images))
    for page_name, variant, stage, n, mfu, interval, variation, repeats_std in grid:
        image = "all" if page_name == "all pages" else page_name
        expected = summary[variant, image, stages[stage]]
        assert int(n) == expected["n"]
        low, high = (float(part) for part in interval.split(" to "))
        names = ["total", "total_ci95_low", "total_ci95_high", "std_repeats"]
        shown = [part / 100 for part in (float(mfu), low, high, float(repeats_std))]
        wanted = [expected[name] for name in names]
        assert shown == pytest.approx(wanted, rel=0.05, abs=1e-4 * expected["mean"] + 5e-5)
        assert float(variation.split()[0]) / 100 == pytest.approx(expected["cv"], rel=0.05)


def test_rest_of_prefill_is_what_its_parts_leave() -> None:
    times = Reader(texts(repeats(timed={"prefill_ms": 60.0})).html).grid("Time per page")
    assert times.rows[1][times.rows[0].index("Rest of prefill")] == "11.0 ± 0"


def test_operators_are_means_per_run_with_shares_of_device_time() -> None:
    found = [
        (
            "baseline",
            operator_rows(("prefill", "aten::mm", 1.0, 6.0), ("prefill", "pause", 9.0, 0.0)),
        ),
        ("baseline", operator_rows(("prefill", "aten::mm", 3.0, 0.0), ("decode", "x", 1.0, 4.0))),
        ("other", operator_rows(("prefill", "aten::add", 2.0, 1.0))),
    ]
    prefill, decode, other = aggregate_operators(found)
    assert (prefill.stage, prefill.runs, prefill.device_ms) == ("prefill", 2, 3.0)
    assert prefill.self_cpu_ms == 2.0
    assert [(row.name, row.device_share) for row in prefill.rows] == [
        ("aten::mm", 1.0),
        ("pause", None),
    ]
    assert (decode.rows[0].calls, decode.rows[0].device_ms) == (1.0, 2.0)
    assert other.variant == "other"


def test_operators_without_device_time_are_ranked_by_self_cpu_time() -> None:
    table = operator_rows(("decode", "small", 1.0, None), ("decode", "large", 3.0, None))
    (stage,) = aggregate_operators([("baseline", table)] * 200)
    assert not stage.on_device
    assert [(row.name, row.cpu_share) for row in stage.rows] == [("large", 0.75), ("small", 0.25)]
    made = texts(repeats(), operators=[("baseline", table)])
    assert "| large | 75 % |" in made.markdown
    assert "| large | 75 % |" in made.operators
    assert "The traces hold no device times" in made.markdown


def test_every_text_says_how_much_of_the_flops_its_operators_carry() -> None:
    rows = operator_rows(("decode", "aten::mm", 3.0, 10.0), ("decode", "aten::add", 1.0, 4.0))
    counted = StageWork(120e9, {"aten::mm": Work(2, 90e9), "aten::bmm": Work(1, 30e9)})
    work = RunWork({"decode": counted}, on_cpu=False)
    made = texts(repeats(), operators=[("baseline", rows)], works=[work])
    for text in (made.html, made.markdown, made.operators):
        plain = text.replace("\u00a0", " ")
        assert "cover 75.0 % of the 120.0 GFLOPs" in plain
        assert "FLOPs are unknown for aten::bmm: the trace does not call it." in plain
    # Of the ceiling in the variant's precision, 650 TFLOP/s.
    assert "| aten::mm | 71 % | 10.0 | 9.00 | 1.4 % | 90.0 |" in made.operators


def test_report_shows_ten_operators_and_the_long_table_forty() -> None:
    table = operator_rows(*(("decode", f"op{number}", 50.0 - number, None) for number in range(50)))
    made = texts(repeats(), operators=[("baseline", table)])
    assert ("| op9 |" in made.markdown, "| op10 |" in made.markdown) == (True, False)
    assert ("| op39 |" in made.operators, "| op40 |" in made.operators) == (True, False)
    assert "| 40 others |" in made.markdown


def test_a_page_without_a_run_in_a_variant_is_an_error() -> None:
    runs = repeats(image="a.png") + repeats(image="b.png", variant="other")
    with pytest.raises(InvalidFileError, match=r"inputs\.csv lists the page a\.png, "):
        tables(runs)


PAGES = "does not hold the pages of metrics.csv"
VARIANTS = "does not hold the variants of metrics.csv"


@pytest.mark.parametrize(
    ("table", "damage", "finding"),
    [
        ("metrics", "truncated", "does not hold the runs of this report"),
        ("metrics", "doubled", "does not hold the runs of this report"),
        ("summary", "truncated", PAGES),
        ("summary", "doubled", PAGES),
        ("inputs", "truncated", PAGES),
        ("comparison", "truncated", VARIANTS),
        ("comparison", "doubled", VARIANTS),
    ],
)
def test_tables_of_other_runs_are_named(table: str, damage: str, finding: str) -> None:
    """Also a table that was truncated at a line's end, which is readable."""
    runs = [
        run
        for variant in ("baseline", "other")
        for image in ("a.png", "b.png")
        for run in repeats(variant=variant, image=image)
    ]

    def damaged(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.iloc[:-1] if damage == "truncated" else pd.concat([rows, rows.iloc[-1:]])

    with pytest.raises(InvalidFileError) as caught:
        tables(runs, damaged={table: damaged})
    assert str(caught.value) == (
        f"results/{table}.csv {finding}. Remedy: `rm results/{table}.csv` and run the same command "
        "again."
    )


def test_flop_models_stand_side_by_side() -> None:
    made = texts(repeats())
    assert "The closed form equals the count in every component." in made.markdown
    row = next(line for line in made.markdown.splitlines() if "| directional |" in line)
    assert "| 600.000 | −56 % |" in row
    calibrations = [generic_calibration()]
    made = texts(repeats(), calibrations=calibrations)
    assert "| architecture |" not in made.markdown
    assert "equals the count" not in made.markdown


def test_variants_of_equal_flops_share_their_rows() -> None:
    runs = [one for name in ("baseline", "same", "other") for one in repeats(variant=name)]
    table = flops.models(tables(runs).data)
    assert "Variants" not in table.columns, "no variant differs"
    assert [row[3].text for row in table.rows] == ["counted", "architecture", "directional"]
    more = calibration(variant="other")
    changed = {name: dict(models) for name, models in more.prefill_flops.items()}
    changed["clip"]["counted"] += 1
    calibrations = [
        calibration(),
        calibration(variant="same"),
        replace(more, prefill_flops=changed),
    ]
    table = flops.models(tables(runs, calibrations=calibrations).data)
    assert table.columns[0] == "Variants"
    assert [row[0].text for row in table.rows] == 3 * ["baseline, same"] + 3 * ["other"]


def test_a_closed_form_that_is_off_is_named() -> None:
    wrong = calibration()
    flops = {name: dict(models) for name, models in wrong.prefill_flops.items()}
    flops["clip"]["architecture"] = 1
    made = texts(repeats(), calibrations=[replace(wrong, prefill_flops=flops)])
    assert "differs from the count: baseline at 1024." in made.markdown
