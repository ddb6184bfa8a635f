"""Results that lie there and cannot be trusted, through whole calls of the workflow.

The tests follow one another on one folder of results: what one spoils, the next call makes good.
"""

import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from checkouts import FIRST, SECOND, SETTINGS, THIRD, Checkout, make_checkout
from damages import DAMAGES
from processes import wait_for
from validate import validate_results

pytestmark = pytest.mark.faults

TARGETS = ("all", "flops")
LOOKING = (
    *(("--summary",), ("--list-rules",), ("--rulegraph",), ("--lint",), ("--unlock",)),
    *(("--report", "report.zip"), ("-n",), ("--touch",)),
)
FLOPS = {"models": ["deepseek-ocr-nano"], "resolutions": ["tiny"]}
# One damaged file of every kind -> what has to be measured again for it.
OF_RUNS = {
    f"baseline/runs/{FIRST}/0.json": [f"baseline/runs/{FIRST}/0.json"],
    f"baseline/traces/{FIRST}/1.json.gz": [f"baseline/runs/{FIRST}/1.json"],
    f"baseline/operators/{SECOND}/0.csv": [],
    f"baseline/kernels/{SECOND}/1.csv": [],
    f"baseline/activity/{THIRD}/0.json": [],
}
OTHERS = (
    *("baseline/calibration/512.json", "ceiling.json", "hardware.json"),
    *("inputs.csv", "metrics.csv", "summary.csv", "flops.csv", "flops.md"),
    *("report.html", "report.md", "report.json", "stakeholder.md", "operators.md"),
    *("figures/roofline.svg", "figures/decode_steps.svg", "figures/time.svg"),
)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = make_checkout(tmp_path_factory.mktemp("damage") / "checkout")
    made.configure(**SETTINGS, repeats=2, flops=FLOPS)
    for page in (FIRST, SECOND, THIRD):
        made.add_page(page)
    made.run(*TARGETS)
    return made


def files(checkout: Checkout) -> set[str]:
    return set(checkout.digests("**/*.*"))


def test_every_kind_of_result_is_damaged(checkout: Checkout) -> None:
    """The tests below leave none out."""

    def kind(path: str) -> str:
        return re.sub(r"(baseline/\w+)/.*", r"\1", path)

    notes = {path for path in files(checkout) if Path(path).name.startswith(".")}
    assert {kind(path) for path in (*OF_RUNS, *OTHERS)} == {
        kind(path) for path in files(checkout) - notes
    }


def test_what_was_cut_short_is_made_again(checkout: Checkout) -> None:
    """In every way; that each is seen in each kind of file is for tests/storage/test_integrity.py to show."""
    before, runs = files(checkout), checkout.digests()
    for path, damage in zip((*OF_RUNS, *OTHERS), itertools.cycle(DAMAGES.values())):
        damage(checkout.results / path)
    damaged = checkout.digests("**/*.*")
    assert "/0.json is cut short and will be measured again" in checkout.run("-n")
    assert checkout.digests("**/*.*") == damaged, "a dry run only tells"

    said = checkout.run(*TARGETS)
    told = [line for line in said.splitlines() if " is cut short and " in line]
    assert told[0] == (
        f"mfuscope: results/baseline/runs/{FIRST}/0.json is cut short and will be measured again"
    )
    assert "mfuscope: ... and so are 11 more" in said
    assert {line.split()[1].removeprefix("results/") for line in told} < {*OF_RUNS, *OTHERS}
    assert "2 runs to measure" in said

    after = checkout.digests()
    measured = {path for path in after if after[path] != runs[path]}
    assert measured == {path for again in OF_RUNS.values() for path in again}
    assert files(checkout) == before
    validate_results(checkout.results)
    assert len(checkout.table("metrics.csv")) == 6
    assert checkout.planned(*TARGETS) == {}


def spoil(path: Path, key: str) -> None:
    """Take something out of a record, which stays whole JSON."""
    record = json.loads(path.read_bytes())
    del record[key]
    path.write_text(json.dumps(record))


def test_what_is_whole_but_wrong_is_made_again(checkout: Checkout) -> None:
    """tests/storage/test_integrity.py has more of what may be wrong."""
    before, runs, results = files(checkout), checkout.digests(), checkout.results
    lacking = {
        "run": (f"baseline/runs/{FIRST}/1.json", "timed"),
        "activity": (f"baseline/activity/{SECOND}/1.json", "stages"),
        "ceiling": ("ceiling.json", "gemm_tflops"),
        "hardware": ("hardware.json", "peaks"),
        "calibration": ("baseline/calibration/512.json", "prefill_total"),
    }
    for path, key in lacking.values():
        spoil(results / path, key)
    (results / "report.json").write_text("{}\n")
    table = (results / "metrics.csv").read_bytes()
    (results / "metrics.csv").write_bytes(table[:-3] + bytes([table[-3] ^ 1]) + table[-2:])

    said = checkout.run()
    for kind, (path, key) in lacking.items():
        sign = (
            f"mfuscope: results/{path} is no {kind} record (Object missing required field `{key}`"
        )
        assert sign in said
    assert "results/report.json is cut short and will be made again" in said
    assert "results/metrics.csv is not as it was written and will be made again" in said
    assert "1 run to measure" in said
    after = checkout.digests()
    assert [path for path in after if after[path] != runs[path]] == [lacking["run"][0]]
    assert files(checkout) == before
    validate_results(results)
    assert checkout.planned(*TARGETS) == {}


def test_commands_that_only_look_remove_nothing(checkout: Checkout) -> None:
    """Though Snakemake remembers nothing of the results, and one of them is damaged."""
    memory, record = checkout.root / ".snakemake", checkout.results / "hardware.json"
    kept, whole = memory.rename(checkout.root / "kept"), record.read_bytes()
    record.write_text("{}")
    before = checkout.digests("**/*.*")
    for command in LOOKING:
        status, said = checkout.call(*command)
        assert status == 0, said
        assert checkout.digests("**/*.*") == before, command
    assert "Snakemake does not know what they were made from" in said
    record.write_bytes(whole)
    shutil.rmtree(memory)
    kept.rename(memory)
    assert checkout.planned() == {}


def test_calls_that_end_at_once_or_need_no_results_remove_none(checkout: Checkout) -> None:
    memory, kept = checkout.root / ".snakemake", checkout.root / "kept"
    memory.rename(kept)
    before = checkout.digests("**/*.*")
    page = checkout.pages / "cut.png"
    page.write_bytes((checkout.pages / FIRST).read_bytes()[:-20])
    status, said = checkout.call()
    assert status == 1
    assert "cannot read 'my pages/cut.png'" in said
    assert checkout.digests("**/*.*") == before
    page.unlink()
    checkout.run("flops")
    assert before.items() <= checkout.digests("**/*.*").items()
    shutil.rmtree(memory)
    kept.rename(memory)
    assert checkout.planned() == {}


def test_a_call_that_looks_beside_another_hides_no_damage(checkout: Checkout) -> None:
    summary = checkout.results / "summary.csv"
    whole = summary.read_bytes()
    summary.write_bytes(whole[: len(whole) // 2])
    with (checkout.root / ".snakemake" / "mfuscope.lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        said = checkout.run()
    assert "results/summary.csv is cut short and will be made again" in said
    assert summary.read_bytes() == whole


def test_a_page_dated_in_the_future_is_measured_once(checkout: Checkout) -> None:
    page, tomorrow = checkout.pages / FIRST, time.time() + 86400
    page.write_bytes((checkout.pages / SECOND).read_bytes())
    os.utime(page, (tomorrow, tomorrow))
    assert "2 runs to measure" in checkout.run()
    assert checkout.planned() == {}


def test_a_clock_that_is_set_back_in_mid_call_costs_one_more_call(checkout: Checkout) -> None:
    run, counted = f"baseline/runs/{SECOND}/0.json", "baseline/calibration/512.json"
    (checkout.results / run).unlink()
    with checkout.start() as process:
        wait_for((checkout.results / run).exists, "a run", 300)
        later = time.time() + 3600  # as what was made before the clock was set back looks now
        os.utime(checkout.results / counted, (later, later))
        said, _ = process.communicate(timeout=600)
    assert process.returncode != 0
    assert "Traceback" not in said
    assert (
        f"mfuscope: results/metrics.csv was made, but results/{counted} is dated later, in the "
        f"future or before the clock was set back. Remedy: `touch results/{counted}` and run the "
        "same command again.\n"
    ) in said
    runs = checkout.digests()
    said = checkout.run()
    assert "1 results are dated in the future" in said
    assert "no run to measure" in said
    assert checkout.digests() == runs
    assert checkout.planned() == {}


def test_a_clock_that_jumped_hides_no_new_measurement(checkout: Checkout) -> None:
    # Measured again, and broken off before anything was derived from it ...
    page = checkout.pages / FIRST
    page.write_bytes((checkout.pages / THIRD).read_bytes())
    os.utime(page, (1, 1))
    assert checkout.planned()["profile"] == 2
    checkout.run("--until", "profile")
    # ... which all looks newer than that.
    later = time.time() + 1e6
    for path in checkout.results.rglob("*"):
        if path.is_file() and path.parent.parent.name not in ("runs", "traces"):
            os.utime(path, (later, later))
    said = checkout.run()
    assert "results are dated in the future" in said
    assert "no run to measure" in said
    runs = {
        (row["image"], row["repeat"]): row["measured_at"] for row in checkout.table("metrics.csv")
    }
    for path in checkout.results.glob(f"baseline/runs/{FIRST}/*.json"):
        assert f'"{runs[FIRST, path.stem]}"' in path.read_text()
    assert checkout.planned() == {}


def test_runs_of_another_torch_are_named_and_measured_again(checkout: Checkout) -> None:
    record = checkout.results / "baseline" / "runs" / SECOND / "1.json"
    text, count = re.subn(r'"torch": "[^"]+"', '"torch": "1.0.0"', record.read_text(), count=1)
    assert count
    record.write_text(text)
    status, said = checkout.call()
    assert status != 0
    assert f"mfuscope: 1 run with torch 1.0.0: baseline/{SECOND}/1\n" in said
    assert re.search(r"mfuscope: 5 runs with torch 2\.\S+: .* and 2 more\n", said)
    assert "Traceback" not in said
    command = re.search(r"`(rm [^`]+)` and run the same command again", said)
    assert command is not None
    before = checkout.digests()
    subprocess.run(command[1], shell=True, cwd=checkout.root, check=True)
    assert "1 run to measure" in checkout.run()
    after = checkout.digests()
    assert {path for path in after if after[path] != before[path]} == {
        f"baseline/runs/{SECOND}/1.json"
    }
    validate_results(checkout.results)
    assert checkout.planned() == {}


def test_a_record_under_another_name_is_named_and_measured_again(checkout: Checkout) -> None:
    # The trace beside it is not shorter than the record tells: nothing looks cut short.
    traces = checkout.results / "baseline" / "traces"
    source, page = sorted(
        (FIRST, SECOND), key=lambda page: (traces / page / "0.json.gz").stat().st_size
    )
    place = f"results/baseline/runs/{page}/0.json"
    shutil.copy(checkout.results / "baseline" / "runs" / source / "0.json", checkout.root / place)
    before = checkout.digests()
    status, said = checkout.call()
    assert status != 0
    assert f"mfuscope: {place} is the record of the run baseline/{source}/0\n" in said
    assert f"`rm {place}` and run the same command again" in said
    assert "Traceback" not in said
    (checkout.root / place).unlink()
    assert "1 run to measure" in checkout.run()
    after = checkout.digests()
    assert {path for path in after if after[path] != before[path]} == {
        f"baseline/runs/{page}/0.json"
    }
    rows = [(row["image"], row["repeat"]) for row in checkout.table("metrics.csv")]
    assert len(set(rows)) == 6


def test_results_without_snakemakes_memory_are_not_taken_for_up_to_date(checkout: Checkout) -> None:
    runs = checkout.digests()
    shutil.rmtree(checkout.root / ".snakemake")
    page = checkout.pages / SECOND
    page.write_bytes((checkout.pages / THIRD).read_bytes())
    os.utime(page, (1, 1))
    status, said = checkout.call()
    assert status != 0
    assert "Traceback" not in said
    assert re.search(rf"mfuscope: 2 runs with page content \w+: baseline/{SECOND}/0, .*/1\n", said)
    command = re.search(r"`(rm [^`]+)` and run the same command again", said)
    assert command is not None
    assert checkout.digests() == runs
    subprocess.run(command[1], shell=True, cwd=checkout.root, check=True)
    said = checkout.run()
    assert "Snakemake does not know what they were made from; they will be made again" in said
    assert "2 runs to measure" in said
    after = checkout.digests()
    assert {path for path in after if after[path] != runs[path]} == {
        f"baseline/runs/{SECOND}/{repeat}.json" for repeat in range(2)
    }
    validate_results(checkout.results)
    assert checkout.planned() == {}
    # The others are still not remembered.
    checkout.configure(**SETTINGS | {"max_new_tokens": 4}, repeats=2, flops=FLOPS)
    status, said = checkout.call("-n")
    assert status != 0
    assert f"mfuscope: 4 runs with max_new_tokens {SETTINGS['max_new_tokens']}: " in said


def test_what_a_power_cut_left_of_snakemakes_memory_is_none(checkout: Checkout) -> None:
    checkout.configure(**SETTINGS, repeats=2, flops=FLOPS)
    records = [path for path in checkout.root.glob(".snakemake/metadata/**/*") if path.is_file()]
    assert records
    for record, damage in zip(records, itertools.cycle(DAMAGES.values())):
        damage(record)
    status, said = checkout.call("-n", "--config", "max_new_tokens=5")
    assert status != 0
    assert f"mfuscope: 6 runs with max_new_tokens {SETTINGS['max_new_tokens']}: " in said
    assert all(record.exists() for record in records), "a dry run only tells"
    # With the settings that they were measured with, they stay.
    runs = checkout.digests()
    assert "they will be made again" in checkout.run()
    assert checkout.digests() == runs
    assert "warning" not in checkout.run("-n")


def test_results_of_another_machine_are_named_before_any_of_them_goes(checkout: Checkout) -> None:
    """Copied without .snakemake; a page that was measured here stays."""
    here = f"baseline/runs/{THIRD}/"
    text = (checkout.results / "ceiling.json").read_text()
    found = re.search(r'"kind": "cpu",\s+"name": "([^"]+)"', text)
    assert found is not None
    for path in checkout.results.rglob("*.json"):
        if here not in path.as_posix():
            path.write_text(path.read_text().replace(found[1], "Another processor"))
    shutil.rmtree(checkout.root / ".snakemake")
    before = checkout.digests("**/*")
    status, said = checkout.call()
    assert status != 0
    assert "mfuscope: 4 runs with device Another processor (" in said
    assert f"mfuscope: the device here: {found[1]} (" in said
    assert "Traceback" not in said
    assert checkout.digests("**/*") == before
    command = re.search(r"`(rm [^`]+)` and run the same command again", said)
    assert command is not None
    subprocess.run(command[1], shell=True, cwd=checkout.root, check=True)
    assert "4 runs to measure" in checkout.run()
    after = checkout.digests()
    assert {path for path in after if after[path] == before[path]} == {
        f"{here}{repeat}.json" for repeat in range(2)
    }
    validate_results(checkout.results)
    assert checkout.planned() == {}
