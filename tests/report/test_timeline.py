"""A decode step as a timeline: which ones are drawn, what is said, and the shapes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import builders
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_data import cpu_tables, on_cpu, tables
from stored import store_run
from timeline_data import compared, html, real, traced

from mfuscope.core.runs import RunKey
from mfuscope.core.timelines import StepTimeline, Track
from mfuscope.report.data import ReportData
from mfuscope.report.timeline import timeline
from mfuscope.report.timeline_shapes import KINDS, WIDTH, Events, events, kind_of, shapes
from mfuscope.report.timeline_shapes import short_name as short
from mfuscope.report.traced_steps import TracedStep, traced_step

ROOT = Path(__file__).parents[2]
CSS = (ROOT / "src/mfuscope/report/templates/timeline.css").read_text()


def with_step(step: StepTimeline | None, **changes: str) -> ReportData:
    return replace(compared(), traced_steps=(traced("baseline", step, **changes),))


def test_the_reference_and_the_fastest_are_drawn_on_one_scale() -> None:
    drawn = timeline(compared())
    assert [line.variant for line in drawn.lines] == ["baseline", "graphs"]
    assert drawn.data["span"] == 88949
    widest = [max(b.x + b.width for r in line.rows for b in r.shapes.boxes) for line in drawn.lines]
    assert widest[1] < WIDTH * 2797.2 / 8894.9 < widest[0] < WIDTH + 1


def test_each_line_says_which_step_it_is_and_how_busy_the_device_is() -> None:
    first, second = timeline(compared()).lines
    assert first.sentence == (
        "decode step 0 of 0.png, repeat 0: 8.89\xa0ms with the profiler, 300\xa0ms without it (the "
        "page's median step). The device is busy for 0.457\xa0ms of it (5.1\xa0%), with 268 "
        "kernels and copies."
    )
    assert "decode step 2 of 0.png, repeat 0, the median of 8 traced steps: 2.80" in second.sentence


def test_rows_are_named_from_the_host_down_to_the_gaps() -> None:
    labels = [row.label for row in timeline(compared()).lines[0].rows]
    assert labels == [
        *("host: operators, outermost ones above", "", "", "host: calls of CUDA"),
        "device: kernels and copies",
        "gaps: the host is in Python, between operators",
        "gaps: in an operator, outside of calls",
        "gaps: in a call of CUDA, mostly a launch",
    ]


def test_the_profilers_cost_and_the_whole_trace_are_named() -> None:
    step = replace(real("h100-trace", 3), length_us=600_000.0)
    (cost, trace) = timeline(with_step(step, trace="results/t.json.gz")).notes
    assert "the steps take ×2.0 (baseline) of the time without it" in cost
    assert trace == "The whole trace opens in Perfetto (ui.perfetto.dev): results/t.json.gz."
    assert "was not kept" in timeline(with_step(step)).notes[1]


def test_a_step_that_is_absent_says_why() -> None:
    data = with_step(None, reason="the trace lost the device events of 9 of 20 launches in decode")
    drawn = timeline(data)
    assert not drawn.lines
    text = html(data)
    assert "No step of baseline is drawn: the trace lost the device events of 9 of 20" in text
    assert "<svg" not in text
    assert "<script" not in text


def test_a_report_without_records_says_nothing() -> None:
    assert html(replace(compared(), traced_steps=())).strip() == ""


def test_a_cpu_has_operators_alone() -> None:
    data = tables(on_cpu(), activities=[builders.cpu_activity()] * 2, **cpu_tables()).data
    step = TracedStep(
        key=RunKey("baseline", "page.png", 0), step=builders.step_timeline("operators")
    )
    drawn = timeline(replace(data, traced_steps=(step,)))
    assert drawn.intro.startswith("The outermost operators are above, what they call is below.")
    (line,) = drawn.lines
    assert [row.label for row in line.rows] == ["host: operators, outermost ones above"]
    assert line.sentence.endswith("On a CPU the operators are the work: no kernel runs elsewhere.")


def test_the_step_of_an_activity_names_its_trace_while_it_is_kept(tmp_path: Path) -> None:
    key = RunKey("baseline", "page.png", 0)
    paths = store_run(tmp_path, key)
    found = builders.activity()
    assert traced_step(found, tmp_path) == TracedStep(
        key=key, step=found.step, trace=str(paths.trace)
    )
    paths.trace.unlink()
    lacking = replace(found, step=None, absent={"step": "why"})
    assert traced_step(lacking, tmp_path) == TracedStep(key=key, step=None, reason="why")
    assert "earlier version" in traced_step(replace(found, step=None), tmp_path).reason


def test_hostile_names_are_text() -> None:
    hostile = "</script><img src=x onerror=alert(1)>\u202e<!--"
    step = replace(builders.step_timeline(), names=[hostile, "'", '"', "&"])
    text = html(with_step(step))
    assert "<img" not in text
    assert "<!--" not in text
    assert "\u202e" not in text
    assert text.count("</script>") == text.count("<script") == 2
    content = re.search(r'<script type="application/json">(.*?)</script>', text, re.DOTALL)
    assert content is not None
    (line,) = json.loads(content[1])["lines"]
    assert line["names"][0].startswith("</script><img src=x")


def test_a_step_of_a_whole_model_is_small() -> None:
    """Three times the two layers that were traced: 804 kernels, as 13 layers have."""
    step = real("h100-counted-pass", 1)
    tracks = [replace(track, events=" ".join([track.events] * 3)) for track in step.tracks]
    whole = replace(step, length_us=3 * step.length_us, tracks=tracks)
    script = len((ROOT / "src/mfuscope/report/templates/timeline.js").read_text())
    assert sum(t.events.count(" ") // 3 + 1 for t in tracks if t.kind == "device") == 804
    assert len(html(with_step(whole)).encode()) - script < 70_000
    assert len(msgspec.json.encode(whole)) < 50_000


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("aten::mm", "product"),
        ("aten::_grouped_mm", "product"),
        ("nvjet_sm90_tst_8x64_64x16_4x1_v_bz_TNN", "product"),
        ("aten::scaled_dot_product_attention", "attention"),
        ("void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64> >(int)", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm80_flash_fprop_wmma_f16_knob_35", "attention"),
        ("triton_poi_fused__scaled_dot_product_cudnn_attention__to_copy_1", "elementwise"),
        ("void at::native::vectorized_elementwise_kernel<8, at::native::Add>()", "elementwise"),
        ("aten::bitwise_and_", "elementwise"),
        ("void at::native::unrolled_elementwise_kernel<direct_copy_kernel_cuda>()", "copy"),
        ("Memcpy DtoH (Device -> Pageable)", "copy"),
        ("aten::index", "copy"),
        ("aten::view", "plain"),
        ("cudaLaunchKernel", "plain"),
    ],
)
def test_kinds_of_names(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_short_names() -> None:
    assert short("aten::mm") == "mm"
    assert short("Torch-Compiled Region: 0/1") == "Torch-Compiled Region: 0/1"
    kernel = "void at::native::(anonymous namespace)::softmax_warp_forward<c10::Half, 3>(int)"
    assert short(kernel) == "softmax_warp_forward"
    assert short("_ZN7cutlass13device_kernelINS_4gemm") == "device_kernel"


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 300)), min_size=1, max_size=60))
def test_bars_are_as_high_as_the_time_that_is_taken(pairs: list[tuple[int, int]]) -> None:
    """Of events that are too short for boxes; a bar is less than a pixel too high."""
    ends = np.cumsum([gap + length for gap, length in pairs])
    found = Events(ends - [length for _, length in pairs], ends, np.zeros(len(pairs), np.int64))
    shown = shapes(found, ["a"], ["product"], 60_000.0, height=20, top=5)
    assert not shown.boxes
    area = _area(shown.paths.get("product", ""), base=25)
    taken = sum(length for _, length in pairs) * WIDTH / 60_000 * 20
    assert taken - 1e-6 <= area < taken + WIDTH


def test_kinds_stand_on_one_another_and_long_events_are_boxes() -> None:
    row = events(Track(kind="device", name="0", events="0 35 0 0 35 1 930 1000 0"))
    shown = shapes(row, ["a", "aten::b"], ["product", "copy"], 11_200.0, height=10, top=0)
    # 7 px are added up: half of them are of each kind, and what is on top is drawn first.
    assert list(shown.paths.items()) == [
        ("copy", "M0 10v-10h7v10z"),
        ("product", "M100.0 0h100.0v10h-100.0zM0 10v-5h7v5z"),
    ]
    (box,) = shown.boxes
    assert (box.x, box.width, box.title, box.text) == (100.0, 100.0, "a, 100.0 µs", "a")


def _area(path: str, base: int) -> float:
    """px² below the bars of a path."""
    area, y = 0.0, base
    for command, number in re.findall(r"([Mhv])(-?[\d.]+)", path):
        if command == "v":
            y += int(number)
        elif command == "h":
            area += float(number) * (base - y)
        assert base - 20 <= y <= base
    return area


def test_overlapping_events_never_reach_out_of_their_row() -> None:
    found = events(Track(kind="calls", name="", events=" ".join(["0 300 0"] + ["-300 300 0"] * 9)))
    shown = shapes(found, ["a"], ["plain"], 60_000.0, 10, 0)
    assert shown.paths == {"plain": "M0 10v-10h7v10z"}


def _colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block))


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(("place", "surface"), [(0, "#fcfcfb"), (1, "#1a1a19"), (2, "#ffffff")])
def test_names_in_boxes_are_legible(place: int, surface: str) -> None:
    """On screen, in the dark and on paper, names have the colour of the page: 4.5:1."""
    block = re.findall(r"\.timeline \{\s*(--product[^}]*)\}", CSS)[place]
    colours = _colours(block)
    assert set(colours) == set(KINDS) - {"wait"}
    for kind, colour in colours.items():
        low, high = sorted((_luminance(colour), _luminance(surface)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, kind
