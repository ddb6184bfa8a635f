"""The checks of validity, in the report."""

from typing import Any

import pytest
from builders import (
    a_pass,
    conditions,
    gpu,
    page,
    run,
)
from report_data import (
    cpu_tables,
    on_cpu,
    repeats,
    tables,
    texts,
)
from report_reader import section

from mfuscope.core import records
from mfuscope.report.check import Check
from mfuscope.report.render import render
from mfuscope.report.validity import all_checks


def test_passes_that_disagree_are_listed() -> None:
    runs = repeats(3)
    runs[1] = run(repeat=1, passes_agree=False)
    made = texts(runs)
    for text in (made.markdown, made.html):
        assert "baseline / page.png / repeat 1" in text
        assert "baseline / page.png / repeat 0" not in text
    assert "all passes made the same tokens" in texts(repeats()).markdown


def test_long_lists_of_findings_end_with_a_count() -> None:
    runs = [run(repeat=repeat, passes_agree=False) for repeat in range(60)]
    (check,) = checks_of(runs, "Timed and traced passes agree")
    assert len(check.details) == 51
    assert "10 more" in check.details[-1]


def test_throttled_runs_are_listed_with_their_reason() -> None:
    hot = conditions(throttle_reasons=["sw_thermal_slowdown"])
    runs = [*repeats(2), run(repeat=2, timed=a_pass(conditions_after=hot))]
    assert "sw_thermal_slowdown in 1 of 3 runs (page.png repeat 2)" in texts(runs).markdown
    assert "No throttle reason was active" in texts(repeats()).markdown


def test_unsteady_pages_are_listed() -> None:
    runs = [run(repeat=i, timed=a_pass(prefill_ms=ms)) for i, ms in enumerate((50.0, 90.0))]
    checks = section(texts(runs).markdown, "Steadiness")
    assert "| page.png | prefill |" in checks
    assert "| page.png | decode |" not in checks


def test_pages_that_changed_since_they_were_measured_are_named() -> None:
    runs = repeats()
    old = page(path=runs[0].page.path, sha256="0" * 64)
    runs[0] = run(page=old)
    assert "baseline / page.png" in section(texts(runs).markdown, "Checks")


def test_several_devices_are_a_warning() -> None:
    runs = [run(), run(repeat=1, device=gpu(uuid="GPU-other"))]
    assert "GPU-other" in section(texts(runs).markdown, "Checks")


def test_slowdown_of_the_profiler() -> None:
    traced = a_pass(2, step_ms=[30.0], prefill_ms=75.0)  # one step of the three
    runs = [run(repeat=i, traced=traced) for i in range(2)]
    checks = section(texts(runs).markdown, "Checks")
    assert "| prefill | 50.0 | 75.0 | ×1.50 |" in checks
    assert "| decode step | 20.0 | 30.0 | ×1.50 |" in checks


@pytest.mark.parametrize(("traced_ms", "verdict"), [(75.0, "ok"), (45.5, "ok"), (44.5, "warning")])
def test_a_traced_pass_that_was_faster_is_a_warning(traced_ms: float, verdict: str) -> None:
    runs = [run(repeat=i, traced=a_pass(prefill_ms=traced_ms)) for i in range(2)]
    (check,) = checks_of(runs, "Times without the profiler")
    assert check.verdict == verdict
    slow = ("baseline: prefill, timed 50.0\u00a0ms, traced 44.5\u00a0ms",)
    assert check.details == (slow if verdict == "warning" else ())


def test_pages_with_more_frames_than_one_are_listed() -> None:
    runs = repeats(image="a.png") + repeats(image="b.tif")
    line = "b.tif: only the first of 3 frames was measured"
    made = texts(runs, frames={"a.png": 1, "b.tif": 3})
    for text in (section(made.markdown, "Checks"), made.html.split("Checks (")[1]):
        assert line in text
        assert "a.png: only" not in text


@pytest.mark.parametrize("frames", [None, {"page.png": 1}, {"page.png": None}])
def test_one_frame_is_nothing_to_list(frames: dict[str, int | None] | None) -> None:
    made = tables(repeats(), frames=frames)
    assert [page.frames for page in made.data.pages] == [1]
    assert "No file has more than one frame." in render(made.data).markdown


def checks_of(runs: list[records.Run], title: str) -> list[Check]:
    return [one for one in all_checks(tables(runs).data) if one.title == title]


def compiled(**changes: Any) -> records.Compilation:
    made = {"compile_s": 9.0, "passes": 2, "frames": 1, "recompilations": 0, "graphs": 1}
    return records.Compilation(**(made | {"graph_breaks": []} | changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"graph_breaks": ["a call", "a call"]}, "quick: 2 graph breaks (a call)"),
        ({"recompilations": 1}, "quick: 1 recompilation"),
        ({"discarded_passes": 2}, "quick: 2 timed passes in all runs together compiled"),
        ({"graphs": 0}, "quick: no CUDA graph was captured"),
    ],
)
def test_compiled_code_that_is_not_whole_is_named(changes: dict[str, Any], text: str) -> None:
    title = "Compiled code is whole"
    runs = [*repeats(), run(variant="quick", compilation=compiled())]
    assert checks_of(repeats(), title) == []
    assert [one.verdict for one in checks_of(runs, title)] == ["ok"]
    runs.append(run(variant="quick", repeat=1, compilation=compiled(**changes)))
    (check,) = checks_of(runs, title)
    assert check.verdict == "warning"
    assert check.details[0].startswith(text)


def test_a_cpu_has_no_graphs_to_capture() -> None:
    runs = on_cpu(compilation=compiled(graphs=0))
    check = next(
        one
        for one in all_checks(tables(runs, **cpu_tables()).data)
        if one.title == "Compiled code is whole"
    )
    assert check.verdict == "ok"


def test_replayed_kernels_without_operators_are_named() -> None:
    title = "Replayed kernels have operators"
    runs = [*repeats(), run(variant="quick", compilation=compiled())]
    assert [one.verdict for one in checks_of(runs, title)] == ["ok"]
    lost = run(
        variant="quick", repeat=1, compilation=compiled(), absent={"graph_operators": "too many"}
    )
    (check,) = checks_of([*runs, lost], title)
    assert (check.verdict, check.details) == ("warning", ("quick: too many (1 of 2 runs)",))


def test_variants_that_were_measured_at_another_time_are_named() -> None:
    def at(variant: str, *hours: int) -> list[records.Run]:
        return [
            run(variant=variant, repeat=i, measured_at=f"2026-01-02T{hour:02}:00:00Z")
            for i, hour in enumerate(hours)
        ]

    title = "Variants were measured in turns"
    assert checks_of(at("baseline", 1, 3), title) == []
    (check,) = checks_of(at("baseline", 1, 3) + at("quick", 2, 5), title)
    assert check.verdict == "ok"
    assert "(2 blocks)" in check.text
    (check,) = checks_of(at("baseline", 1, 3) + at("quick", 2) + at("late", 4, 5), title)
    assert check.verdict == "warning"
    assert "baseline was measured 2026-01-02 01:00:00 to 2026-01-02 03:00:00 UTC" in check.text
    assert check.details == ("late: 2026-01-02 04:00:00 to 2026-01-02 05:00:00 UTC",)
