"""The workflow on a Slurm cluster: `make test-slurm` (Debian: slurm-wlm and munge, as root).

Slurm, its executor, allocations, steps and workers are real; the two GPUs are stand-ins. The tests
follow one another on one folder of results.
"""

import itertools
import os
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from checkouts import FIRST, ROOT, SECOND, SETTINGS, THIRD, Checkout, make_checkout
from cluster import SUBMITTING, Cluster, cluster
from ledger import Deed, deeds, described, seconds_together
from PIL import Image
from processes import SUPPORT, wait_for
from validate import validate_results

from mfuscope.storage.artefacts import PARTIAL

pytestmark = pytest.mark.slurm

# What the CPU needs in place of GPUs.
FLAGS = [
    *(*SUBMITTING, "--config", "device=cpu"),
    *("--set-threads", "profile=1", "calibrate=1", "probe_device=1"),
    *("--default-resources", "runtime=10", "mem_mb=2000"),
]
MEASURING = ("profile", "profile_again", "read_operators")
BATCHES_OF_2 = ("--group-components", "measure=2", "calibrate=2")
BATCHES_OF_3 = ("--group-components", "measure=3", "calibrate=3")
BEFORE_RUNS = ("results/ceiling.json", "results/baseline/calibration/512.json")
REFUSAL = "sbatch: error: Batch job submission failed: Requested time limit is invalid"
REFUSING = f"echo '{REFUSAL}' >&2\nexit 1\n"


@dataclass
class Site:
    """A cluster and a checkout on it."""

    cluster: Cluster
    checkout: Checkout
    ledger: Path

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(
            [str(SUPPORT / "standins"), str(SUPPORT), str(self.checkout.root / "src")]
        )
        own = {"PYTHONPATH": path, "MFUSCOPE_TEST_LEDGER": str(self.ledger)}
        return own | self.cluster.environment | {"CUDA_VISIBLE_DEVICES": "0"}

    def deeds(self) -> list[Deed]:
        return deeds(self.ledger)

    def jobs(self) -> dict[str, str]:
        """State by number of every allocation that there was."""
        said = self.cluster.ask("squeue", "--all", "--noheader", "--states=all", "--format=%i %T")
        return dict(line.split() for line in said.splitlines())

    def processes(self) -> list[str]:
        """Commands of running processes that belong to this checkout."""
        mark, found = f"MFUSCOPE_TEST_LEDGER={self.ledger}".encode(), []
        for folder in Path("/proc").iterdir():
            try:
                if mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except (OSError, ValueError):
                continue  # no process, or it has just ended
        return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("slurm")
    checkout = make_checkout(folder / "checkout")
    checkout.configure(**SETTINGS | {"repeats": 2})
    for page in (FIRST, SECOND, THIRD):
        checkout.add_page(page)
    with cluster(folder / "cluster") as made:
        yield Site(made, checkout, folder / "ledger")


def profile(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "profiles" / name).read_text())
    return content


def test_the_profile_says_what_the_default_one_does() -> None:
    default, slurm = profile("default/profile.yaml"), profile("slurm/profile.yaml")
    own = {"cores": slurm["cores"], "resources": ["turn=1"]}
    assert {key: slurm[key] for key in default} == default | own


def refused_plan(site: Site, folder: Path, *resources: str) -> tuple[str, list[str]]:
    """A call for 20 pages x 3 repeats that sbatch refuses: what it prints, what was asked for."""
    checkout = make_checkout(folder / "checkout")
    checkout.configure(**SETTINGS)
    for number in range(20):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(checkout.pages / f"page{number}.png")
    (folder / "bin").mkdir()
    sbatch = folder / "bin" / "sbatch"
    sbatch.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\n{REFUSING}')
    sbatch.chmod(0o755)
    path = os.pathsep.join([str(sbatch.parent), site.environment["PATH"]])
    # The profile's CPUs, which this machine need not have to be asked.
    cpus = ("--set-threads", *profile("slurm/profile.yaml")["set-threads"])
    status, said = checkout.call(*(*FLAGS, *resources, *cpus), **site.environment | {"PATH": path})
    assert status != 0
    return said, (folder / "asked").read_text().splitlines()


def test_batches_and_what_they_ask_for(site: Site, tmp_path: Path) -> None:
    """20 pages x 3 repeats in batches of 12 runs are 5 allocations with one GPU each."""
    said, asked = refused_plan(site, tmp_path)
    print(said)
    batches = [call for call in asked if "group_measure" in call]
    assert len(batches) == 5
    for call in batches:
        assert call.count("--gpus=1 ") == call.count("--gpus") == 1
        assert call.count("profile:variant=") == 12
        assert "--cpus-per-task=4" in call
        minutes = re.search(r" -t (\d+) ", call)
        assert minutes is not None
        assert int(minutes[1]) >= 12 * 3
    assert len([call for call in asked if "--gpus=1 " in call]) == 7  # and probe, and calibrations


def test_two_allocations_measure_at_the_same_time(site: Site) -> None:
    checkout = site.checkout
    # The jobs do not see this variable (cluster.py): they take over what their call resolved.
    environment = site.environment | {"DSOCR_MAX_NEW_TOKENS": "4"}
    # What the runs would share the two GPUs with.
    checkout.run(*BEFORE_RUNS, *FLAGS, *BATCHES_OF_3, **environment)
    before = site.deeds()
    assert [deed.what for deed in before] == ["build", "generate", "generate"]
    assert len(site.jobs()) == 2

    said = checkout.run(*FLAGS, *BATCHES_OF_3, **environment)
    print(said)
    assert "6 runs to measure" in said
    assert "[6/6]" in said
    # 6 runs, activities, operator and kernel tables, 1 calibration, 2 of the device, 4 tables,
    # and the report's head
    assert validate_results(checkout.results) == 4 * 6 + 1 + 2 + 4 + 1
    assert {row["new_tokens"] for row in checkout.table("metrics.csv")} == {"4"}
    assert set(site.jobs().values()) == {"COMPLETED"}
    assert len(site.jobs()) == 4

    found = site.deeds()[len(before) :]
    by_job = defaultdict(list)
    for deed in found:
        by_job[deed.job].append(deed)
    assert set(by_job) == set(re.findall(r"^submitted Slurm job (\d+): measure$", said, re.M))
    began = min(deed.started for deed in found)
    one, other = by_job.values()
    together = seconds_together(one, other)
    both = f"{described(one, began)}, {described(other, began)}"
    print(f"{both}: {together:.1f} s of work at the same time")
    for of_job in (one, other):
        assert [deed.what for deed in of_job].count("build") == 1
        # the build, runs of two passes, and the reference pass of the worker's first one
        assert len(of_job) == 1 + 3 * 2 + 1
        assert len({(deed.device, deed.worker) for deed in of_job}) == 1
        # and one at a time on each device
        ordered = sorted(of_job, key=lambda deed: deed.started)
        assert all(a.ended <= b.started for a, b in itertools.pairwise(ordered))
    assert {deed.device for deed in found} == {"stand-in-0", "stand-in-1"}
    assert together > 0


def test_nothing_is_left(site: Site) -> None:
    wait_for(lambda: not site.processes(), "the end of every process", 30)


def test_editing_one_page_submits_its_runs_alone(site: Site) -> None:
    checkout = site.checkout
    before, jobs = checkout.digests(), site.jobs()
    with Image.open(checkout.pages / FIRST) as page:
        page.transpose(Image.Transpose.ROTATE_180).save(checkout.pages / FIRST)
    said = checkout.run(*FLAGS, *BATCHES_OF_3, DSOCR_MAX_NEW_TOKENS="4", **site.environment)
    assert "2 runs to measure" in said
    after = checkout.digests()
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {f"baseline/runs/{FIRST}/{repeat}.json" for repeat in range(2)}
    (job,) = set(site.jobs()) - set(jobs)
    assert {deed.job for deed in site.deeds()} - set(jobs) == {job}


@dataclass
class Broken:
    """What a call came to in which one of three allocations was cancelled, one ran out of time."""

    site: Site
    cancelled: str
    overdue: str
    before: dict[str, str]  # content of results
    kept: dict[str, str]
    said: str

    def block(self, job: str) -> list[str]:
        """What the terminal says of an allocation's end, in lines."""
        _, _, rest = self.said.partition(f"allocation failed: Slurm job {job}, ")
        return rest.splitlines()[:3]


@pytest.fixture(scope="module")
def broken(site: Site) -> Broken:
    """Two more runs for each of three pages, of which both batches that begin finish one."""
    checkout, cluster = site.checkout, site.cluster
    before, jobs = checkout.digests(), set(site.jobs())
    checkout.configure(**SETTINGS | {"repeats": 4})
    hold = Path(f"{site.ledger}.hold")
    hold.touch()
    environment = site.environment | {"DSOCR_MAX_NEW_TOKENS": "4"}
    process = checkout.start(*FLAGS, *BATCHES_OF_2, **environment)
    # What is last made of a run; the next one of its batch is held.
    whole = "*/activity/*/*.json"
    wait_for(lambda: len(checkout.digests(whole)) == len(before) + 2, "a run of each batch", 300)
    cancelled, overdue = sorted({deed.job for deed in site.deeds()} - jobs, key=int)
    hold.write_text(overdue)  # the third is not held
    cluster.ask("scancel", cancelled)
    cluster.ask("scontrol", "update", f"JobId={overdue}", "TimeLimit=1")
    said, _ = process.communicate(timeout=400)
    hold.unlink()
    print(said)
    assert process.returncode != 0
    return Broken(site, cancelled, overdue, before, checkout.digests(), said)


def test_a_cancelled_allocation_costs_its_own_runs(broken: Broken) -> None:
    site = broken.site
    assert {path: broken.kept[path] for path in broken.before} == broken.before
    assert len(broken.kept) == len(broken.before) + 1 + 1 + 2
    assert site.jobs()[broken.cancelled] == "CANCELLED"
    state, line, log = broken.block(broken.cancelled)
    assert state == "CANCELLED (1 of 2 runs not made)"
    assert " CANCELLED AT " in line
    assert "DUE TO" not in line
    assert (site.checkout.root / log.removeprefix("log: ")).name == f"{broken.cancelled}.log"
    assert f"its allocation was cancelled (Slurm job {broken.cancelled})" in site.checkout.text(
        "report.md"
    )


def test_an_allocation_out_of_time_keeps_what_it_had_finished(broken: Broken) -> None:
    site, checkout = broken.site, broken.site.checkout
    wait_for(lambda: not site.processes(), "the end of every process", 30)
    assert site.jobs()[broken.overdue] == "TIMEOUT"
    state, line, log = broken.block(broken.overdue)
    assert state == "TIMEOUT (1 of 2 runs not made)"
    assert " DUE TO TIME LIMIT " in line
    assert (checkout.root / log.removeprefix("log: ")).exists()
    assert "run failed" not in broken.said
    assert "read_operators failed" not in broken.said
    assert "report of the other 10 runs" in broken.said
    described = checkout.text("report.md")
    assert f"its allocation ran out of time (Slurm job {broken.overdue})" in described
    assert validate_results(checkout.results) > 0
    assert not list(checkout.results.rglob(f".*{PARTIAL}"))


def test_the_next_call_makes_only_the_rest(broken: Broken) -> None:
    site, checkout = broken.site, broken.site.checkout
    jobs = site.jobs()
    environment = site.environment | {"DSOCR_MAX_NEW_TOKENS": "4"}
    said = checkout.run(*FLAGS, *BATCHES_OF_2, **environment)
    assert "mfuscope: 2 runs to measure" in said
    after = checkout.digests()
    assert {path: after[path] for path in broken.kept} == broken.kept
    assert len(after) == 12
    assert len(checkout.table("metrics.csv")) == 12
    assert "its allocation" not in checkout.text("report.md")
    assert len(set(site.jobs()) - set(jobs)) == 1


def test_nothing_is_left_in_the_end(site: Site) -> None:
    wait_for(lambda: not site.processes(), "the end of every process", 30)
    assert not [job for job, state in site.jobs().items() if state in ("RUNNING", "PENDING")]


def test_batches_that_ask_by_gres(site: Site, tmp_path: Path) -> None:
    """As `test_batches_and_what_they_ask_for`, where a site refuses --gpus."""
    own = profile("slurm/profile.yaml")["set-resources"]
    gpus = [f"{rule}:gpu=0" for rule in ("probe_device", "calibrate", "profile", "profile_again")]
    _, asked = refused_plan(site, tmp_path, "gres=gpu:1", "--set-resources", *own, *gpus)
    for call in asked:
        assert call.count("--gres=gpu:1 ") == 1
        assert "--gpus" not in call
    batches = [call for call in asked if "group_measure" in call]
    assert len(batches) == 5
    for call in batches:
        assert call.count("profile:variant=") == 12
        # One run after the other, and one trace.
        assert f" -t {12 * 3 + 12} " in call
        assert " --mem 4000 " in call
    assert len(asked) == 7  # and probe, and calibrations


def asked_for(site: Site, jobs: set[str]) -> dict[str, str]:
    """The GPUs that allocations asked for, by what they do."""
    columns = "JobID:8,Comment:60,tres-per-job:30,tres-per-node:30"
    said = site.cluster.ask("squeue", "--all", "--noheader", "--states=all", f"--Format={columns}")
    lines = [line.split() for line in said.splitlines()]
    return {what: " ".join(gpus) for job, what, *gpus in lines if job in jobs}


def test_what_is_only_to_be_read_asks_for_no_gpu(site: Site) -> None:
    """Not even where one is named, and apart from what is to be measured."""
    checkout = site.checkout
    before, jobs = checkout.digests(), site.jobs()
    of_page = {path for path in before if f"/{FIRST}/" in path}
    with (checkout.root / "src" / "mfuscope" / "traces" / "operators.py").open("a") as code:
        code.write("# other code\n")
    with Image.open(checkout.pages / FIRST) as page:
        page.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(checkout.pages / FIRST)
    environment = site.environment | {"DSOCR_MAX_NEW_TOKENS": "4"}
    # In quotes: Snakemake takes the bare word for Python's function.
    said = checkout.run(*FLAGS, "gpu_model='any'", **environment)
    assert f"{len(of_page)} runs to measure" in said
    after = checkout.digests()
    assert {path for path in after if after[path] != before[path]} == of_page
    new = set(site.jobs()) - set(jobs)
    measuring = "rule_measure_profile_read_operators"
    assert asked_for(site, new) == {
        measuring: "gres:gpu:any:1 N/A",
        "rule_read_read_operators": "N/A N/A",
    }

    # And one that is given a GPU by its generic name measures on it.
    with Image.open(checkout.pages / FIRST) as page:
        page.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(checkout.pages / FIRST)
    no_gpus = ("--set-resources", *(f"{rule}:gpu=0" for rule in MEASURING))
    said = checkout.run(*FLAGS, "gres=gpu:1", *no_gpus, **environment)
    assert f"{len(of_page)} runs to measure" in said
    (job,) = set(site.jobs()) - set(jobs) - new
    assert asked_for(site, {job}) == {measuring: "N/A gres:gpu:1"}
    assert [deed.what for deed in site.deeds() if deed.job == job].count("build") == 1


def test_nothing_is_left_after_that(site: Site) -> None:
    wait_for(lambda: not site.processes(), "the end of every process", 30)
