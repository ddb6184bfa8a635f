"""The workflow itself, on real runs of the nano model in a copy of this repository.

The tests of `TestIncremental` follow one another, as a user's calls do: each starts from what the
one before left behind.
"""

import gzip
import itertools
import json
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import CHECKS, VIEWS, launched, opened, problems, require_chromium
from checkouts import (
    FIRST,
    ROOT,
    SAMPLES,
    SECOND,
    SETTINGS,
    THIRD,
    Checkout,
    make_checkout,
)
from checkpoints import small_config, write_published
from contract import validate_response
from damages import DAMAGES
from permissions import OBEYING
from PIL import Image
from validate import validate_results

GPU_RULES = {"probe_device", "calibrate", "profile"}
OWN = SETTINGS | {"repeats": 2}
MORE = {"repeats": 3, "peak_tflops": 1000}


@pytest.fixture(scope="class")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = make_checkout(tmp_path_factory.mktemp("a path") / "with späces и 日本")
    made.configure(**OWN)
    made.add_page(FIRST)
    made.add_page(SECOND)
    return made


@pytest.mark.usefixtures("checkout")
class TestIncremental:
    """One folder of results through its life."""

    def test_first_call(self, checkout: Checkout) -> None:
        assert checkout.planned() == {
            "calibrate": 1,
            "compare_variants": 1,
            "inspect_images": 1,
            "probe_device": 1,
            "profile": 4,
            "read_operators": 4,
            "render_report": 1,
            "resolve_hardware": 1,
            "summarise": 1,
            "tabulate_metrics": 1,
        }
        said = checkout.run()
        assert "4 runs to measure" in said
        assert "[4/4]" in said
        assert said.rstrip().splitlines()[-1].startswith("mfuscope: report: results/report.html")
        assert "\x1b" not in said
        # 4 runs, activities, operator and kernel tables, 1 calibration, 2 of the device, 4 tables,
        # and the report's head
        assert validate_results(checkout.results) == 4 * 4 + 1 + 2 + 4 + 1
        head = json.loads((checkout.results / "report.json").read_bytes())
        validate_response("getReport", 200, head)
        assert head["measured"]["runs"] == 4
        assert head["variants"][0]["limit"]["sentence"] in checkout.text("report.md")
        rows = checkout.table("metrics.csv")
        assert len(rows) == 4
        for row in rows:
            assert 0 < float(row["mfu_prefill"]) < 1.5
            assert 0 < float(row["mfu_decode"]) < 1.5
            assert row["weights"] == "dummy"
            assert row["resolution"] == "512"
        assert all(path.stat().st_size for path in checkout.results.glob("*.md"))

    def test_the_reports_name_every_page_and_the_dummies(self, checkout: Checkout) -> None:
        inputs = checkout.table("inputs.csv")
        assert [row["image"] for row in inputs] == [FIRST, SECOND]
        for name in ("report.md", "report.html"):
            text = (checkout.results / name).read_text()
            assert all(row["image"] in text for row in inputs)
            assert "dummy" in text.lower()
        assert "dummy" in (checkout.results / "stakeholder.md").read_text().lower()

    def test_the_report_is_in_order_in_a_browser(self, checkout: Checkout) -> None:
        require_chromium()
        with launched() as chromium:
            for view in (VIEWS[0], VIEWS[-1]):
                with opened(chromium, checkout.results / "report.html", view) as shown:
                    for check in CHECKS:
                        assert problems(shown.page, check) == [], f"{view}: {check}"
                    assert shown.wrongs == []

    def test_snakemakes_report_has_figures_and_tables(self, checkout: Checkout) -> None:
        checkout.run("--report", "report.zip")
        with zipfile.ZipFile(checkout.root / "report.zip") as report:
            names = {Path(name).name for name in report.namelist()}
            page = report.read("report/report.html").decode()
        assert {"report.html", "roofline.svg", "decode_steps.svg", "answer_length.svg"} <= names
        assert {"metrics.csv", "summary.csv", "operators.md", "stakeholder.md"} <= names
        for caption in ("Achieved TFLOP/s of every page", "Decode step times of all timed passes"):
            assert caption in page

    def test_the_picture_of_the_workflow_is_true(self, checkout: Checkout) -> None:
        drawn = checkout.run("--rulegraph", "mermaid-js")
        names = dict(re.findall(r"(id\d+)\[(\w+)\]", drawn))
        true = {(names[a], names[b]) for a, b in re.findall(r"(id\d+) --> (id\d+)", drawn)}
        text = (ROOT / "docs" / "workflow.md").read_text(encoding="utf-8")
        chains = [line.split(" --> ") for line in text.splitlines() if " --> " in line]
        shown = {(a.strip(), b.strip()) for chain in chains for a, b in itertools.pairwise(chain)}
        assert shown == true

    def test_traces_are_chrome_traces_with_the_stages(self, checkout: Checkout) -> None:
        traces = sorted(checkout.results.glob("baseline/traces/*/*.json.gz"))
        assert len(traces) == 4
        with gzip.open(traces[0]) as file:
            names = {event.get("name") for event in json.load(file)["traceEvents"]}
        assert {"prefill", "vision", "decode", "decode_step[0]", "decode_step[1]"} <= names

    def test_a_second_call_does_nothing(self, checkout: Checkout) -> None:
        before = checkout.digests("**/*.*")
        assert "Nothing to do" in checkout.run("--cores", "1", "--resources", "gpu=1")
        assert checkout.digests("**/*.*") == before

    @pytest.mark.parametrize("kind", ["runs", "operators"])
    def test_a_removed_result_is_made_again(self, checkout: Checkout, kind: str) -> None:
        one = next(iter(sorted(checkout.results.glob(f"baseline/{kind}/*/1.*"))))
        kept = one.rename(checkout.root / "kept")
        plan = checkout.planned()
        kept.rename(one)
        assert plan.get("profile", 0) == (kind == "runs")
        assert plan["read_operators"] == 1
        assert checkout.planned() == {}

    def test_touching_every_file_measures_nothing(self, checkout: Checkout) -> None:
        for path in sorted(checkout.root.rglob("*"), reverse=True):
            if path.is_file() and ".snakemake" not in path.parts:
                path.touch()
        assert checkout.planned() == {}

    def test_reordered_settings_are_the_same(self, checkout: Checkout) -> None:
        shuffled = {key: OWN[key] for key in reversed(OWN)}
        shuffled["profiler"] = {"with_stack": False, "record_shapes": False}
        checkout.configure(**shuffled)
        assert checkout.planned() == {}

    def test_pages_that_are_edited_or_added_are_measured_alone(self, checkout: Checkout) -> None:
        before = checkout.digests()
        path = checkout.pages / FIRST
        with Image.open(path) as page:
            page.transpose(Image.Transpose.ROTATE_180).save(path)
        os.utime(path, (1e9, 1e9))  # as `cp -p` and git do: older than every result
        plan = checkout.planned()
        assert plan["profile"] == plan["read_operators"] == 2
        assert "calibrate" not in plan
        assert "probe_device" not in plan
        checkout.add_page(THIRD)
        assert checkout.planned()["profile"] == 4
        checkout.run()
        after = checkout.digests()
        changed = {path for path in after if after[path] != before.get(path)}
        assert changed == {
            f"baseline/runs/{page}/{r}.json" for page in (FIRST, THIRD) for r in (0, 1)
        }
        assert set(before) < set(after)
        assert len(checkout.table("metrics.csv")) == 6
        assert THIRD in (checkout.results / "report.md").read_text()
        assert checkout.planned() == {}

    def test_a_page_less_is_left_out_and_one_more_repeat_is_a_run_per_page(
        self, checkout: Checkout
    ) -> None:
        before = checkout.digests()
        (checkout.pages / SECOND).unlink()
        assert not GPU_RULES & set(checkout.planned())
        checkout.configure(**OWN | {"repeats": 3})
        assert checkout.planned()["profile"] == 2
        checkout.run()
        after = checkout.digests()
        assert {path: after[path] for path in before} == before
        assert set(after) - set(before) == {
            f"baseline/runs/{page}/2.json" for page in (FIRST, THIRD)
        }
        rows = checkout.table("metrics.csv")
        assert [row["image"] for row in rows] == [FIRST] * 3 + [THIRD] * 3
        assert SECOND not in (checkout.results / "report.md").read_text()

    def test_another_template_or_peak_measures_nothing(self, checkout: Checkout) -> None:
        before = checkout.digests()
        old = float(checkout.table("metrics.csv")[0]["mfu_prefill"])
        template = checkout.root / "src" / "mfuscope" / "report" / "templates" / "report.md.j2"
        template.write_text(template.read_text() + "\nA line of our own.\n")
        assert checkout.planned() == {"render_report": 1}
        checkout.configure(**OWN | MORE)
        assert not GPU_RULES & set(checkout.planned())
        checkout.run()
        assert checkout.digests() == before
        row = checkout.table("metrics.csv")[0]
        assert (row["peak_tflops"], row["peak_source"]) == ("1000.0", "override")
        assert float(row["mfu_prefill"]) < old
        assert "A line of our own." in (checkout.results / "report.md").read_text()

    def test_another_length_measures_everything(self, checkout: Checkout) -> None:
        checkout.configure(**OWN | MORE | {"max_new_tokens": 4})
        plan = checkout.planned()
        assert plan["profile"] == 6
        assert "calibrate" not in plan
        assert "probe_device" not in plan

    def test_the_command_line_wins_over_the_environment(self, checkout: Checkout) -> None:
        checkout.configure(**OWN | MORE)
        assert checkout.planned() == {}
        text = checkout.run("-n", DSOCR_MAX_NEW_TOKENS="4")
        assert "Params have changed" in text
        text = checkout.run("-n", "--config", "max_new_tokens=3", DSOCR_MAX_NEW_TOKENS="4")
        assert "Nothing to do" in text

    def test_the_command_line_takes_every_type(self, checkout: Checkout) -> None:
        same = ("ignore_eos=true", "repeats=3", 'profiler={"record_shapes": false}')
        assert checkout.planned("--config", *same, 'variants={"baseline": null}') == {}
        assert checkout.planned("--config", "ignore_eos=false")["profile"] == 6
        shapes = checkout.planned("--config", 'profiler={"record_shapes": true}')
        assert shapes["profile"] == 6


REASONS = (
    "'my pages/bad.png' (its content is no image",
    "'my pages/cut.png' (image file is tr",
)
PROMPT = "Read {text} now"  # no wildcard of Snakemake here, nor in the path of the model


@dataclass(frozen=True)
class Measured:
    """A call for two variants of a model, and what it printed; two of its pages are unusable."""

    checkout: Checkout
    printed: str


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("measured")
    checkout = make_checkout(folder / "checkout")
    checkout.add_page(FIRST)
    (checkout.pages / "bad.png").write_bytes(b"text")
    (checkout.pages / "cut.png").write_bytes((SAMPLES / SECOND).read_bytes()[:9999])
    model = folder / "my {model} {{x}}"
    write_published(model)
    variants = {"sdpa": {"attention": "sdpa"}, "eager": {"attention": "eager"}}
    own = {"repeats": 1, "on_bad_image": "skip", "resolution": "tiny", "variants": variants}
    checkout.configure(**SETTINGS | own | {"model": str(model), "prompt": PROMPT})
    return Measured(checkout, checkout.run())


@pytest.mark.slow
def test_two_variants_are_measured_side_by_side(measured: Measured) -> None:
    checkout = measured.checkout
    # 2 runs, activities, operator and kernel tables and calibrations, 2 of the device, 4 tables,
    # and the report's head
    assert validate_results(checkout.results) == 5 * 2 + 2 + 4 + 1
    rows = checkout.table("metrics.csv")
    assert [(row["variant"], row["attention"]) for row in rows] == [
        ("sdpa", "sdpa"),
        ("eager", "eager"),
    ]
    assert {row["variant"] for row in checkout.table("summary.csv")} == {"sdpa", "eager"}
    compared = {row["metric"]: row for row in checkout.table("comparison.csv")}
    assert {row["variant"] for row in compared.values()} == {"eager"}
    page = compared["page_ms"]
    assert float(page["ratio"]) > 0
    assert (page["n"], page["same_tokens"], page["verdict"]) == ("1", "True", "")
    for name in ("report.md", "report.html", "operators.md"):
        text = (checkout.results / name).read_text()
        assert "sdpa" in text
        assert "eager" in text


@pytest.mark.slow
def test_prompts_with_braces_are_measured_and_shown_as_they_are(measured: Measured) -> None:
    checkout = measured.checkout
    for record in checkout.results.glob("*/runs/*/0.json"):
        assert json.loads(record.read_bytes())["settings"]["prompt"] == PROMPT
    for name in ("report.md", "report.html"):
        assert PROMPT in checkout.text(name)


@pytest.mark.slow
def test_bad_pages_may_be_skipped(measured: Measured) -> None:
    checkout = measured.checkout
    for reason in REASONS:
        assert f"left out: cannot read {reason}" in measured.printed
    assert [row["image"] for row in checkout.table("inputs.csv")] == [FIRST]
    assert {row["image"] for row in checkout.table("metrics.csv")} == {FIRST}
    assert "2 pages could not be read and were left out" in checkout.text("stakeholder.md")
    for name in ("bad.png", "cut.png", "no image of a known kind"):
        assert name in checkout.text("report.md")
        assert name in checkout.text("report.html")
    assert checkout.planned() == {}
    cut = checkout.pages / "cut.png"
    cut.unlink()
    checkout.add_page(SECOND)
    (checkout.pages / SECOND).rename(cut)
    assert checkout.planned()["profile"] == 2


@pytest.mark.faults
def test_others_go_on_beside_models_that_cannot_be_loaded(tmp_path: Path) -> None:
    """Tensors that do not match, and more weights than there is memory; planning sees neither."""
    checkout = make_checkout(tmp_path / "checkout")
    checkout.add_page(FIRST)
    for name in ("good", "other", "large"):
        write_published(tmp_path / name)
    other, large = small_config(), small_config()
    other["language_config"]["num_hidden_layers"] += 1
    large["language_config"].update(moe_intermediate_size=20_000, n_routed_experts=100_000)
    (tmp_path / "other" / "config.json").write_text(json.dumps(other))
    (tmp_path / "large" / "config.json").write_text(json.dumps(large))
    variants = {name: {"model": str(tmp_path / name)} for name in ("other", "large", "good")}
    checkout.configure(**SETTINGS, resolution="tiny", repeats=1, variants=variants)
    status, said = checkout.call()
    assert status != 0
    assert "Traceback" not in said
    assert list(checkout.digests()) == [f"good/runs/{FIRST}/0.json"]
    assert [row["variant"] for row in checkout.table("metrics.csv")] == ["good"]
    for text in (said, checkout.text("report.md"), checkout.text("report.html")):
        assert "does not fit its config: " in text
        assert "does not fit: its weights alone need" in text
    head = json.loads((checkout.results / "report.json").read_bytes())
    assert head["measured"]["missing_runs"] == 2


@pytest.mark.slow
def test_traces_may_be_kept_for_first_repeats_alone(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    checkout.add_page(FIRST)
    profiler = {"keep_traces": "first", "decode_steps": 1}
    checkout.configure(**SETTINGS | {"repeats": 2, "profiler": profiler})
    until = ("--until", "read_operators")
    said = checkout.run(*until)
    assert "2 runs to measure" in said
    assert "[2/2]" in said
    kept = checkout.digests("*/traces/*/*")
    assert list(kept) == [f"baseline/traces/{FIRST}/0.json.gz"]
    assert len(checkout.digests("*/operators/*/*")) == 2
    assert checkout.planned(*until) == {}
    # For runs to come: those that are there stay as they are.
    checkout.configure(**SETTINGS | {"repeats": 2, "profiler": profiler | {"keep_traces": "none"}})
    assert checkout.planned(*until) == {}
    # Truncated tables are read from the trace again, where there is one.
    checkout.configure(**SETTINGS | {"repeats": 2, "profiler": profiler})
    for repeat in range(2):
        DAMAGES["halved"](checkout.results / "baseline" / "operators" / FIRST / f"{repeat}.csv")
    status, printed = checkout.check("--repair")
    assert status == 0, printed
    planned = checkout.planned(*until)
    assert planned["read_operators"] == 2
    assert planned["profile_again"] == 1
    assert "profile" not in planned


@pytest.mark.slow
def test_a_flop_budget_needs_no_measurement(tmp_path: Path) -> None:
    checkout = make_checkout(tmp_path / "checkout")
    checkout.add_page(FIRST)
    flops = {"models": ["deepseek-ocr-nano"], "resolutions": ["tiny"]}
    checkout.configure(**SETTINGS, flops=flops)
    assert "results/flops.md" in checkout.run("flops").splitlines()[-1]
    assert validate_results(checkout.results) == 1
    assert {row["resolution"] for row in checkout.table("flops.csv")} == {"512"}
    assert checkout.planned("flops") == {}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Checkout]:
    """A checkout in which nothing may be measured."""
    checkout = make_checkout(tmp_path / "checkout")
    checkout.add_page(FIRST)
    checkout.configure(**SETTINGS)
    yield checkout
    assert not checkout.digests("**/*.*"), "something ran before the mistake was found"


def test_mistakes_end_the_run_at_once(bare: Checkout) -> None:
    """All of them, each in one line: tests/planning has every kind."""
    wrong = {"images": "nowhere", "model": "deepseek-ocr-nan0", "repeats": 0, "reapeats": 3}
    bare.configure(**SETTINGS | wrong)
    _assert_refused(
        bare,
        "'nowhere' does not exist",
        "did you mean 'deepseek-ocr-nano'",
        "'repeats' is 0",
        "write 'repeats'",
    )


def test_a_cpu_counts_no_hardware(bare: Checkout) -> None:
    status, said = bare.call("counters")
    assert status != 0
    assert "counters: Nsight Compute counts on CUDA GPUs" in said
    assert "Traceback" not in said


def test_a_model_folder_without_permission_ends_the_run_at_once(
    bare: Checkout, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    bare.configure(**SETTINGS, model=str(model))
    bare.prefix = OBEYING
    model.chmod(0o000)
    try:
        _assert_refused(bare, f"model: cannot read '{model}' ([Errno 13] Permission denied: ")
    finally:
        model.chmod(0o755)


def _assert_refused(checkout: Checkout, *messages: str) -> None:
    """One line for each mistake, no more."""
    status, said = checkout.call()
    assert status != 0
    lines = [ln for ln in said.splitlines() if not ln.startswith("Using workflow")]
    assert len(lines) == len(messages), said
    for message in messages:
        (line,) = [line for line in lines if message in line]
        assert line.startswith("mfuscope: ")
        assert "Remedy: " in line


def test_unreadable_pages_end_the_run_at_once(bare: Checkout) -> None:
    whole = (SAMPLES / SECOND).read_bytes()
    (bare.pages / "bad.png").write_bytes(b"text")
    (bare.pages / "empty.jpg").write_bytes(b"")
    (bare.pages / "cut.png").write_bytes(whole[: len(whole) // 2])
    names = [f"cannot read 'my pages/{name}'" for name in ("bad.png", "empty.jpg", "cut.png")]
    future = bare.pages / THIRD
    bare.add_page(THIRD)
    os.utime(future, (4e9, 4e9))
    _assert_refused(bare, *names, f"'my pages/{THIRD}' is dated in the future")


def test_names_that_the_engine_would_replace_are_refused(bare: Checkout) -> None:
    for name in ("{x}.png", "<word>.png"):
        (bare.pages / name).write_bytes((SAMPLES / SECOND).read_bytes())
    _assert_refused(bare, "holds '{x}'", "holds '<word>'")
