"""Results that cannot be trusted, through whole calls of the workflow.

The tests follow one another on one folder of results: each repairs what it damages.
"""

import itertools
import re
import shutil
import subprocess

import pytest
from checkouts import FIRST, SECOND, SETTINGS, THIRD, Checkout, make_checkout
from damages import DAMAGES
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
    f"baseline/operators/{SECOND}/0.csv": [],
    f"baseline/kernels/{SECOND}/1.csv": [],
    f"baseline/activity/{THIRD}/0.json": [],
}
OTHERS = (
    *("baseline/calibration/512.json", "ceiling.json", "hardware.json"),
    *("inputs.csv", "metrics.csv", "summary.csv", "comparison.csv", "flops.csv", "flops.md"),
    *("report.html", "report.md", "report.json", "operators.md"),
    *("stakeholder.md", "stakeholder.html"),
    *("figures/roofline.svg", "figures/decode_steps.svg", "figures/time.svg"),
    *("figures/answer_length.svg", "figures/operator_roofline.svg"),
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


def remeasured(checkout: Checkout, before: dict[str, str]) -> set[str]:
    after = checkout.digests()
    return {path for path in after if after[path] != before.get(path)}


def follow_the_remedy(checkout: Checkout, printed: str) -> None:
    command = re.search(r"`((?:rm|xargs) [^`]+)` and run the same command again", printed)
    assert command is not None, printed
    subprocess.run(command[1], shell=True, cwd=checkout.root, check=True)


def test_every_kind_of_result_is_damaged(checkout: Checkout) -> None:
    """The tests below leave none out but traces, which nothing needs once their tables are made."""

    def kind(path: str) -> str:
        return re.sub(r"(baseline/\w+)/.*", r"\1", path)

    assert {kind(path) for path in (*OF_RUNS, *OTHERS)} | {"baseline/traces"} == {
        kind(path) for path in files(checkout)
    }


def test_check_finds_and_repairs_what_was_truncated(checkout: Checkout) -> None:
    assert checkout.check() == (0, f"{len(files(checkout))} results checked, all valid\n")
    before, runs = files(checkout), checkout.digests()
    for path, damage in zip((*OF_RUNS, *OTHERS), itertools.cycle(DAMAGES.values())):
        damage(checkout.results / path)
    damaged = checkout.digests("**/*.*")
    status, printed = checkout.check()
    assert status == 1
    for path in (*OF_RUNS, *OTHERS):
        assert f"results/{path} " in printed
    assert checkout.digests("**/*.*") == damaged, "without --repair nothing is removed"
    status, printed = checkout.check("--repair")
    assert status == 0, printed
    assert "2 runs to measure" not in checkout.run(*TARGETS)
    assert remeasured(checkout, runs) == {path for again in OF_RUNS.values() for path in again}
    assert files(checkout) == before
    validate_results(checkout.results)
    assert len(checkout.table("metrics.csv")) == 6
    assert checkout.planned(*TARGETS) == {}


@pytest.mark.parametrize("path", ["ceiling.json", f"baseline/runs/{SECOND}/1.json", "metrics.csv"])
def test_a_bare_call_names_what_it_cannot_read(checkout: Checkout, path: str) -> None:
    """One line with the file and the command; following it repairs the results."""
    content = (checkout.results / path).read_bytes()
    (checkout.results / path).write_bytes(content[: len(content) // 2])
    runs = checkout.digests()
    made_of_it = {"metrics.csv": "summary.csv"}.get(path, "metrics.csv")
    (checkout.results / made_of_it).unlink()
    status, printed = checkout.call()
    assert status != 0
    assert "Traceback" not in printed
    (line,) = {ln for ln in printed.splitlines() if ln.startswith(f"mfuscope: results/{path} ")}
    assert f"`rm results/{path}` and run the same command again" in line
    follow_the_remedy(checkout, printed)
    checkout.run()
    assert remeasured(checkout, runs) <= {path}
    validate_results(checkout.results)
    assert checkout.planned() == {}


def test_commands_that_only_look_change_nothing(checkout: Checkout) -> None:
    """Though Snakemake has no record of the results, and one of them is invalid."""
    metadata, record = checkout.root / ".snakemake", checkout.results / "hardware.json"
    kept, whole = metadata.rename(checkout.root / "kept"), record.read_bytes()
    record.write_text("{}")
    before = checkout.digests("**/*.*")
    for command in LOOKING:
        status, printed = checkout.call(*command)
        assert status == 0, printed
        assert checkout.digests("**/*.*") == before, command
    record.write_bytes(whole)
    shutil.rmtree(metadata)
    kept.rename(metadata)
    assert checkout.planned() == {}


def test_runs_of_another_torch_are_named_and_measured_again(checkout: Checkout) -> None:
    """Those that were measured first, whatever Snakemake remembers."""
    records = sorted(
        checkout.results.glob("baseline/runs/*/*.json"),
        key=lambda path: re.search(r'"measured_at": "([^"]+)"', path.read_text())[1],  # type: ignore[index]
    )
    text, count = re.subn(r'"torch": "[^"]+"', '"torch": "1.0.0"', records[0].read_text(), count=1)
    assert count
    records[0].write_text(text)
    name = records[0].relative_to(checkout.results).as_posix()
    status, printed = checkout.call()
    assert status != 0
    assert "mfuscope: 1 run with torch 1.0.0: " in printed
    assert re.search(r"mfuscope: 5 runs with torch 2\.\S+.*: .* and 2 more\n", printed)
    assert "Traceback" not in printed
    before = checkout.digests()
    follow_the_remedy(checkout, printed)
    assert "1 run to measure" in checkout.run()
    assert remeasured(checkout, before) == {name}
    validate_results(checkout.results)
    assert checkout.planned() == {}


def test_a_record_under_another_name_is_named_and_measured_again(checkout: Checkout) -> None:
    place = f"results/baseline/runs/{SECOND}/0.json"
    shutil.copy(checkout.results / "baseline" / "runs" / FIRST / "0.json", checkout.root / place)
    before = checkout.digests()
    status, printed = checkout.call()
    assert status != 0
    assert f"mfuscope: {place} is the record of the run baseline/{FIRST}/0. Remedy: " in printed
    assert f"`rm {place}` and run the same command again" in printed
    assert "Traceback" not in printed
    assert checkout.check()[0] == 1
    follow_the_remedy(checkout, printed)
    assert "1 run to measure" in checkout.run()
    assert remeasured(checkout, before) == {f"baseline/runs/{SECOND}/0.json"}
    rows = [(row["image"], row["repeat"]) for row in checkout.table("metrics.csv")]
    assert len(set(rows)) == 6


def test_runs_that_are_not_what_is_asked_for_are_never_averaged(checkout: Checkout) -> None:
    """Copied without .snakemake: Snakemake takes them for up to date, their records do not lie."""
    runs = checkout.digests()
    shutil.rmtree(checkout.root / ".snakemake")
    checkout.configure(**SETTINGS | {"max_new_tokens": 4}, repeats=2, flops=FLOPS)
    printed = checkout.run()
    assert "Nothing to do" in printed, "there is no record that says otherwise"
    assert f"settings or another page content than now: baseline/{FIRST}/0, " in printed
    checkout.configure(**SETTINGS | {"max_new_tokens": 4}, repeats=3, flops=FLOPS)
    status, printed = checkout.call()
    assert status != 0
    length = SETTINGS["max_new_tokens"]
    assert f"mfuscope: 6 runs with max_new_tokens {length} instead of 4: " in printed
    assert "Traceback" not in printed
    follow_the_remedy(checkout, printed)
    assert "6 runs to measure" in checkout.run()
    assert set(checkout.digests()) > set(runs)
    validate_results(checkout.results)
    assert checkout.planned() == {}
