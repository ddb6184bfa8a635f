# Config loading and input functions; everything else asks here.

import os
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.utils import update_config

from mfuscope.command import command_line
from mfuscope.errors import UserError
from mfuscope.images import check_readable, known_pages
from mfuscope.planning import code_digest, make_plan
from mfuscope.settings import load_schema, resolve_settings
from mfuscope.stale_locks import remove_stale_locks
from mfuscope.worker.client import end_workers
from mfuscope.worker.places import adopt_jobs, remove_abandoned

ROOT = Path(workflow.basedir)
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


try:
    PLAN = make_plan(
        resolve_settings(
            file=configuration_files(),
            command_line=workflow.config_settings.config,
            environment=os.environ,
            schema=load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml"),
        ),
        bundled_models=ROOT / "config" / "models",
    )
    if workflow.is_main_process:
        PLAN.sizes  # every page's header, before anything starts
        remove_stale_locks(Path(".snakemake"))
except UserError as error:
    raise WorkflowError(f"mfuscope: {error}") from None

REPEATS = range(PLAN.settings.repeats)

# Where the CPU is the measuring device, nothing else may run beside a measurement.
MEASURING_THREADS = (workflow.cores or 1) if PLAN.device == "cpu" else 1

adopt_jobs(PLAN.settings.keep_alive)


PROFILING = ("profile", "profile_again")


wildcard_constraints:
    variant="[A-Za-z0-9][A-Za-z0-9_-]*",
    image="[A-Za-z0-9][A-Za-z0-9_.~-]*",
    repeat=r"\d+",
    resolution=r"[0-9a-z+x-]+",


def say(line):
    """Tell the user something, in order with the progress lines."""
    logger.info(f"mfuscope: {line}")


def prepare_measurement():
    """Where pages will be measured: decode every new one before any job starts, say what on what.

    Not a rule: profile jobs would have to depend on it, and adding one page would then measure all
    of them again. (`ancient()` is no way out: Snakemake 9 drops jobs of their own need behind it.)
    """
    if not any(job.rule.name in PROFILING for job in workflow.dag.needrun_jobs()):
        return
    try:
        check_readable(PLAN.pages(), known_pages(Path("results/inputs.csv")))
    except UserError as error:
        raise WorkflowError(f"mfuscope: {error}") from None
    remove_abandoned()
    say(PLAN.headline())


def say_where_results_are():
    """The last lines of a call that made something to read."""
    made = {job.rule.name for job in workflow.dag.finished_jobs}
    if "render_report" in made:
        say(
            "report: results/report.html (and report.md, stakeholder.md, operators.md beside it)"
        )
    if "count_budget" in made:
        say("FLOP budget: results/flops.md (every figure in results/flops.csv)")


def page_path(wildcards):
    """The image file of a run."""
    return str(PLAN.images[wildcards.image].path)


def all_pages(wildcards):
    """The image files of the workflow."""
    return [str(image.path) for image in PLAN.images.values()]


def all_calibrations(wildcards):
    """One per variant and resolution that its pages have."""
    return [
        f"results/{variant}/calibration/{resolution}.json"
        for variant in PLAN.variants
        for resolution in PLAN.resolutions(variant)
    ]


def kept(trace):
    """A run's trace, which is temporary where no trace is to be kept."""
    return temp(trace) if PLAN.settings.keep_traces == "none" else trace


def per_run(pattern):
    """An input function: one file per variant, page and repeat."""

    def files(wildcards):
        return [
            pattern.format(variant=variant, image=image, repeat=repeat)
            for variant in PLAN.variants
            for image in PLAN.images
            for repeat in REPEATS
        ]

    return files
