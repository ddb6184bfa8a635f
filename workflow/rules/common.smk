# Config loading and input functions; everything else asks here.

import os
import sys
from dataclasses import asdict
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.enums import PersistenceBackend
from snakemake.utils import update_config

from mfuscope.artefacts import check_space, check_writable
from mfuscope.command import command_line
from mfuscope.errors import ToldError
from mfuscope.forgotten import Memory, check_runs, forgotten_tables
from mfuscope.image_headers import limit_pixels
from mfuscope.partial import RunKey, listed_missing
from mfuscope.mending import mend
from mfuscope.planning import code_digest, make_plan
from mfuscope.hardware.devices import check_device_here
from mfuscope.settings import hand_over, load_schema, resolve_settings, take_over
from mfuscope.stale_locks import remove_stale_locks
from mfuscope.vetting import known_pages, note_skipped, noted_skipped
from mfuscope.worker.ending import end_workers
from mfuscope.worker.places import Limits, adopt_jobs, remove_abandoned

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


def settings():
    """The settings: from the four layers, or as this job's call resolved them."""
    schema = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
    if not workflow.is_main_process and SETTINGS in os.environ:
        return take_over(os.environ[SETTINGS], schema)
    return resolve_settings(
        file=configuration_files(),
        command_line=workflow.config_settings.config,
        environment=os.environ,
        schema=schema,
    )


def say(line):
    """Tell the user something, in order with the progress lines."""
    logger.info(f"mfuscope: {line}")


def mend_results(alone):
    """See to what lies there, unless another call is at work on it; a dry run only looks."""
    dry = workflow.output_settings.dryrun
    if not dry:
        check_space(Path())
    if alone:
        memory = Memory(Path(".snakemake/metadata"))
        in_files = (
            workflow.workflow_settings.persistence_backend is PersistenceBackend.FILE
        )
        forgotten = []
        if in_files:
            check_runs(PLAN, RESULTS, memory, Path("logs/measure_again.txt"))
            forgotten = forgotten_tables(RESULTS, memory)
        for line in mend(RESULTS, PLAN.runs(RESULTS), forgotten, look_only=dry):
            say(line)


try:
    PLAN = make_plan(settings(), bundled_models=ROOT / "config" / "models")
    limit_pixels(PLAN.settings.max_image_megapixels)
    if workflow.is_main_process:
        PLAN = PLAN.vetted(known_pages(RESULTS / "inputs.csv"))
        PLAN.check_lengths()
        mend_results(alone=remove_stale_locks(Path(".snakemake")))
        note_skipped(SKIPPED, PLAN.skipped)
        os.environ[SETTINGS] = hand_over(PLAN.settings, PLAN.device)
    else:
        PLAN = PLAN.without(noted_skipped(SKIPPED))
except ToldError as error:
    raise told(error) from None


envvars:
    SETTINGS,


REPEATS = range(PLAN.settings.repeats)
MISSING = listed_missing(os.environ)

# Where the CPU is the measuring device, nothing else may run beside a measurement.
MEASURING_THREADS = (workflow.cores or 1) if PLAN.device == "cpu" else 1

adopt_jobs(
    Limits(PLAN.settings.keep_alive, PLAN.settings.run_timeout),
    share=not workflow.is_main_process,
)


PROFILING = ("profile", "profile_again")
BATCHES = ("measure", "calibrate")
BATCHED = (*PROFILING, "read_operators", "calibrate")


wildcard_constraints:
    variant="[A-Za-z0-9][A-Za-z0-9_-]*",
    image="[A-Za-z0-9][A-Za-z0-9_.~-]*",
    repeat=r"\d+",
    resolution=r"[0-9a-z+x-]+",


def prepare_call():
    """Say what is left out, decode every new page before any job measures one, say what on what.

    Not a rule: profile jobs would have to depend on it, and adding one page would then measure all
    of them again. (`ancient()` is no way out: Snakemake 9 drops jobs of their own need behind it.)
    """
    for page in PLAN.skipped:
        say(f"left out: {page.reason.removeprefix('images: ')}")
    jobs = list(workflow.dag.needrun_jobs())
    measures = any(job.rule.name in PROFILING for job in jobs)
    try:
        check_writable(Path(file) for job in jobs for file in (*job.output, *job.log))
        if measures and workflow.local_exec:
            check_device_here(PLAN.device)
        if measures:
            PLAN.check_decodable(known_pages(RESULTS / "inputs.csv"))
    except ToldError as error:
        raise told(error) from None
    if not workflow.local_exec:
        remove_outdated()
    if measures:
        remove_abandoned()
        say(PLAN.headline())


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
        workflow.register_resource("gpu", 1)
        workflow.group_settings.group_components = dict.fromkeys(BATCHES, sys.maxsize)
        workflow.execution_settings.keep_going = True


def page_path(wildcards):
    """The image file of a run."""
    batch_together()
    return str(PLAN.images[wildcards.image].path)


def no_files(wildcards):
    """Calibrations need no file, but go in batches too."""
    batch_together()
    return []


def all_pages(wildcards):
    """The image files of the workflow."""
    return [str(image.path) for image in PLAN.images.values()]


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
