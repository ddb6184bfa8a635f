# Config loading and input functions; everything else asks here.

import json
import os
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.enums import PersistenceBackend
from snakemake.utils import update_config

from mfuscope.storage.artefacts import check_space, check_writable
from mfuscope.workflow.command import command_line
from mfuscope.core.errors import Findings, MfuscopeError
from mfuscope.provenance.untracked import Memory, check_runs, forgotten_tables
from mfuscope.storage.locks import hold_results
from mfuscope.pages.headers import limit_pixels
from mfuscope.core.runs import RunKey
from mfuscope.workflow.missing import listed_missing
from mfuscope.storage.repair import report_access, mend
from mfuscope.planning.plan import make_plan
from mfuscope.hardware import devices
from mfuscope.config.settings import hand_over, load_schema, resolve_settings, take_over
from mfuscope.workflow.digests import code_digest
from mfuscope.workflow.stale_locks import remove_stale_locks
from mfuscope.workflow.submission import check_submission
from mfuscope.pages.checks import known_pages, note_skipped, noted_skipped
from mfuscope.worker.ending import end_workers
from mfuscope.worker.runtime import Limits, adopt_jobs, remove_abandoned

ROOT = Path(workflow.basedir)
RESULTS = Path("results")
# Relative where that is possible: another place of the checkout is no other input.
SOURCES = Path("" if ROOT == Path.cwd() else ROOT) / "src" / "mfuscope"


def configuration_files():
    """What the configuration files say, without --config: `config` has both merged already."""
    given = workflow.config_settings.configfiles
    own = (
        []
        if workflow.config_settings.replace_workflow_config
        else ["config/config.yaml"]
    )
    merged = {}
    for path in [*filter(os.path.exists, own), *given]:
        update_config(merged, load_configfile(path))
    return merged


def told(error):
    """An error of ours as Snakemake ends with it, one line each."""
    return WorkflowError("\n".join(f"mfuscope: {ln}" for ln in str(error).splitlines()))


SKIPPED = Path(".snakemake/mfuscope.skipped.json")

# Resolved once, by the call; its jobs take them over wherever they run.
SETTINGS = "MFUSCOPE_SETTINGS"


def settings(findings):
    """The settings: from the four layers, or as this job's call resolved them."""
    schema = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
    if not workflow.is_main_process and SETTINGS in os.environ:
        return take_over(os.environ[SETTINGS], schema)
    return resolve_settings(
        file=configuration_files(),
        command_line=workflow.config_settings.config,
        environment=os.environ,
        schema=schema,
        findings=findings,
    )


def plan():
    """What this call has to do; everything that is wrong with it is told at once."""
    findings = Findings()
    given = settings(findings)
    limit_pixels(given.max_image_megapixels)
    table = RESULTS / "inputs.csv"
    known = known_pages(table) if workflow.is_main_process else None
    return make_plan(given, ROOT / "config" / "models", known=known, findings=findings)


def say(line):
    """Tell the user something, in order with the progress lines."""
    logger.info(f"mfuscope: {line}")


def know_device(kind):
    """Note which device measures, for check_runs and jobs, unless the call around this one did."""
    # The executor of a dry run is local, but those of clusters come with a number of nodes.
    nodes = kind.dryrun_exec and workflow.resource_settings.nodes is not None
    jobs_stay = kind.local_exec and not nodes
    here = devices.device_here(PLAN.device) if jobs_stay else None
    os.environ.setdefault(devices.HERE, json.dumps(here and asdict(here)))


def mend_results(look_only):
    """See to what lies there; nobody else is at work on it."""
    forgotten = []
    if workflow.workflow_settings.persistence_backend is PersistenceBackend.FILE:
        memory = Memory(Path(".snakemake/metadata"))
        if not look_only:
            memory.drop_unreadable()
        here = devices.handed_over(os.environ)
        with report_access(RESULTS):
            check_runs(PLAN, RESULTS, memory, here, Path("logs/measure_again.txt"))
            forgotten = forgotten_tables(RESULTS, memory)
    for line in mend(RESULTS, PLAN.runs(RESULTS), forgotten, look_only=look_only):
        say(line)


def with_sound_results(execute):
    """Execute the workflow after its results were seen to; a dry run and `--touch` only look.

    This file is read for every command, `--summary` and `--unlock` among them, and nothing tells it
    which. Hooks such as `onstart` come when the graph of jobs is built on what lies there. Pages
    that are not known are decoded here too: were a rule to do it, adding one page would measure all
    of them again.
    """

    def execute_on_sound_results(executor_plugin, **settings):
        kind = executor_plugin.common_settings
        know_device(kind)
        if not kind.local_exec:
            # Runs of an allocation take turns, also where --resources replaces the profile's list.
            workflow.register_resource("turn", 1)
        look_only = kind.dryrun_exec or kind.touch_exec
        alone = ALONE
        try:
            if not kind.dryrun_exec:
                check_space(Path())
                if workflow.execution_settings.lock:
                    # A call that only looks may be there, too.
                    alone = hold_results(RESULTS) or alone
                note_skipped(SKIPPED, PLAN.skipped)
            if not FLOPS_ALONE >= set(workflow.dag_settings.targets or ["all"]):
                for left_out in PLAN.skipped:
                    say(f"left out: {left_out.reason.removeprefix('images: ')}")
                if not look_only:
                    # Before anything is removed that could then not be made again.
                    PLAN.check_decodable(known_pages(RESULTS / "inputs.csv"))
                if alone:
                    mend_results(look_only)
        except MfuscopeError as error:
            raise told(error) from None
        return execute(executor_plugin=executor_plugin, **settings)

    return execute_on_sound_results


# Targets that need nothing of what was measured.
FLOPS_ALONE = {"flops", "results/flops.csv", "results/flops.md"}

try:
    PLAN = plan()
    if workflow.is_main_process:
        ALONE = remove_stale_locks(Path(".snakemake"))
        workflow.execute = with_sound_results(workflow.execute)
        os.environ[SETTINGS] = hand_over(PLAN.settings, PLAN.device)
    else:
        PLAN = PLAN.without(noted_skipped(SKIPPED))
except MfuscopeError as error:
    raise told(error) from None


envvars:
    SETTINGS,


def asked_by_gres():
    """Whether a site's profile has jobs ask for a GPU as a generic resource of Slurm."""
    asked = workflow.resource_settings.default_resources or {}
    return "gres" in asked and "gpu" in str(asked["gres"].raw)


REPEATS = range(PLAN.settings.repeats)
MISSING = listed_missing(os.environ)

# Where the CPU is the measuring device, nothing else may run beside a measurement.
MEASURING_THREADS = (workflow.cores or 1) if PLAN.device == "cpu" else 1

adopt_jobs(
    Limits(
        PLAN.settings.keep_alive,
        PLAN.settings.run_timeout,
        PLAN.settings.start_timeout,
    ),
    share=not workflow.is_main_process,
)


# Where jobs ask for a GPU by `gres`, the executor would take this for one more.
GPUS = 0 if asked_by_gres() else 1

PROFILING = ("profile", "profile_again")
BATCHES = ("measure", "read", "calibrate")
BATCHED = (*PROFILING, "read_operators", "calibrate")


wildcard_constraints:
    variant="[A-Za-z0-9][A-Za-z0-9_-]*",
    image="[A-Za-z0-9][A-Za-z0-9_.~-]*",
    repeat=r"\d+",
    resolution=r"[0-9a-z+x-]+",


def prepare_call():
    """See that the jobs can be run where they will be, say what will be measured on what."""
    jobs = list(workflow.dag.needrun_jobs())
    measures = any(job.rule.name in PROFILING for job in jobs)
    findings = Findings()
    with findings.collect():
        check_writable(Path(file) for job in jobs for file in (*job.output, *job.log))
    with findings.collect():
        if measures and workflow.local_exec:
            PLAN.check_device()
    with findings.collect():
        if workflow.executor_plugin.name == "slurm":
            check_slurm(jobs)
    try:
        findings.raise_any()
    except MfuscopeError as error:
        raise told(error) from None
    if not workflow.local_exec:
        remove_outdated()
    if measures:
        remove_abandoned()
        say(PLAN.headline())


def check_slurm(jobs):
    """See that Slurm's executor can submit what is to be submitted."""
    submitted = {job.rule.name: job for job in jobs if not workflow.is_local(job.rule)}
    # A run is named thrice: as two jobs' target and, where traces are temporary, as a file.
    lengths = [
        3 * len("".join((job.rule.name, *job.wildcards, "variant=,image=,repeat=")))
        for job in jobs
        if job.rule.name in PROFILING
    ]
    if submitted:
        own = workflow.executor_settings
        in_file = own.partition_config or os.environ.get("SNAKEMAKE_SLURM_PARTITIONS")
        check_submission(
            [dict(job.resources.items()) for job in submitted.values()],
            status_command=own.status_command,
            first_check_s=own.init_seconds_before_status_checks,
            partitions_in_file=bool(in_file),
            runs_in_batch=min(
                workflow.group_settings.group_components.get("measure", 1), len(lengths)
            ),
            # As a script, a command may be of any length.
            bytes_of_run=0 if own.pass_command_as_script else max(lengths, default=0),
        )


def remove_outdated():
    """Remove what will be made anew, as Snakemake does right before a job on this machine.

    On a cluster it does so on the node. A job that never gets there would leave an outdated result,
    which profiles/slurm (keep-incomplete) would keep for a new one, and the log of an earlier try,
    which would be taken for its own.
    """
    for job in workflow.dag.needrun_jobs():
        if job.rule.name in BATCHED:
            for path in (*job.output, *job.log):
                Path(path).unlink(missing_ok=True)


def say_where_results_are():
    """The last lines of a call that made something to read."""
    made = {job.rule.name for job in workflow.dag.finished_jobs}
    if "render_report" in made:
        say(
            "report: results/report.html (and report.md, stakeholder.md, operators.md beside it)"
        )
    if "count_budget" in made:
        say("FLOP budget: results/flops.md (every figure in results/flops.csv)")


def batch_together():
    """On a node, run a batch in one process, so that its jobs share a worker, and to its end.

    Snakemake hands none of --group-components, --resources and --keep-going to the process that
    runs a batch. They are asked for once the jobs are known: when input functions are called.
    """
    if not workflow.is_main_process:
        workflow.register_resource("turn", 1)
        workflow.group_settings.group_components = dict.fromkeys(BATCHES, sys.maxsize)
        workflow.execution_settings.keep_going = True


@cache
def measured_files():
    """The records of runs that this process, or whatever it submits, measures."""
    return {
        job.output.run
        for job in workflow.dag.needrun_jobs()
        if job.rule.name in PROFILING
    }


def batch_of_reading(wildcards):
    """A run is read in the batch that measures it; one that only is to be read needs no GPU.

    Also, Snakemake wants all jobs of a batch that wait for none of it to name the same `gpu_model`.
    """
    batch_together()
    run = "results/{variant}/runs/{image}/{repeat}.json".format(**wildcards)
    return "measure" if run in measured_files() else "read"


def no_files(wildcards):
    """Runs and calibrations are made of no other file, but go in batches."""
    batch_together()
    return []


def page(wildcards):
    """The image file of a run, and the digest of what it holds, which is what counts.

    Not among the inputs: Snakemake throws away what is older than an input, `ancient()` or not, and
    whatever is made of a page that is dated in the future is.
    """
    return {
        "path": str(PLAN.images[wildcards.image].path),
        "sha256": PLAN.digest(wildcards.image),
    }


def wanted_runs():
    """Every run of the workflow: one per variant, page and repeat."""
    return [
        RunKey(variant, image, repeat)
        for variant in PLAN.variants
        for image in PLAN.images
        for repeat in REPEATS
    ]


def reported_runs():
    """The runs that tables and reports are made of: all, unless some are known to be missing."""
    left_out = {(run.variant, run.image, run.repeat) for run in MISSING}
    return [run for run in wanted_runs() if run not in left_out]


def all_calibrations(wildcards):
    """One per variant and resolution of the runs."""
    of_pages = dict.fromkeys((run.variant, run.image) for run in reported_runs())
    return sorted(
        {
            f"results/{variant}/calibration/{PLAN.resolution(variant, image)}.json"
            for variant, image in of_pages
        }
    )


def kept(trace):
    """A run's trace, which is temporary where no trace is to be kept."""
    return temp(trace) if PLAN.settings.keep_traces == "none" else trace


def per_run(pattern):
    """An input function: one file per variant, page and repeat."""

    def files(wildcards):
        return [pattern.format(**run._asdict()) for run in reported_runs()]

    return files
