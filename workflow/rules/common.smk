# Configuration and input functions; the rules ask here for everything else.

from dataclasses import asdict
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from mfuscope.core.errors import MfuscopeError
from mfuscope.planning import parameters
from mfuscope.storage.paths import calibration_path
from mfuscope.workflow.call import VARIABLE
from mfuscope.workflow.command import command_line
from mfuscope.workflow.digests import code_digest
from mfuscope.workflow.hooks import Hooks
from mfuscope.workflow.internals import Engine
from mfuscope.workflow.missing import missing_runs
from mfuscope.workflow.start import notes, open_call

ROOT = Path(workflow.basedir)
RESULTS = Path("results")
# Relative where that is possible: another place of the checkout is no other input.
SOURCES = Path("" if ROOT == Path.cwd() else ROOT) / "src" / "mfuscope"
ENGINE = Engine(workflow)


def reported(action, *arguments):
    """What an action returns; its errors as Snakemake shows errors, one line each."""
    try:
        return action(*arguments)
    except MfuscopeError as error:
        lines = str(error).splitlines()
        raise WorkflowError("\n".join(f"mfuscope: {line}" for line in lines)) from None


def say(line):
    """Show the user a line, in order with the progress lines."""
    logger.info(f"mfuscope: {line}")


CALL, PLAN = reported(open_call, ENGINE, config, ROOT, RESULTS, logger.info)
HOOKS = Hooks(ENGINE, CALL, PLAN, RESULTS, say)


envvars:
    VARIABLE,


for line in notes(PLAN, RESULTS) if ENGINE.is_main_process else ():
    say(line)

RUNS = PLAN.runs()
# After failures, a second call reports the runs that are there.
MISSING = missing_runs(PLAN, RESULTS, CALL.started) if CALL.partial else []
LEFT_OUT = {(run.variant, run.image, run.repeat) for run in MISSING}
REPORTED = [r for r in RUNS if (r.variant, r.image, r.repeat) not in LEFT_OUT]

# Where the CPU is the measuring device, nothing else may run beside a measurement.
MEASURING_THREADS = (workflow.cores or 1) if PLAN.device == "cpu" else 1


wildcard_constraints:
    variant="[A-Za-z0-9][A-Za-z0-9_-]*",
    image="[A-Za-z0-9][A-Za-z0-9_.~-]*",
    repeat=r"\d+",
    resolution=r"[0-9a-z+x-]+",


def code(script):
    """Digest of a script and of every module that it imports."""
    return code_digest(ROOT / "workflow" / "scripts" / script)


def in_batches(wildcards):
    """No input file. On a node, jobs share a process; Snakemake can be asked only by now."""
    if not ENGINE.is_main_process:
        ENGINE.run_batch()
    return []


def page(wildcards):
    """The image file of a run. Its content counts, not its date: `digest` is a parameter."""
    in_batches(wildcards)
    return str(PLAN.pages[wildcards.image].path)


def digest(wildcards):
    """SHA-256 of the page of a run."""
    return PLAN.digest(wildcards.image)


def resolutions():
    """Variants and resolutions of the reported runs."""
    return sorted({PLAN.calibration(run) for run in REPORTED})


def all_calibrations(wildcards):
    """One per variant and resolution of the reported runs."""
    return [str(calibration_path(RESULTS, key)) for key in resolutions()]


def per_run(pattern):
    """An input function: one file per reported run."""
    return lambda wildcards: [
        pattern.format(variant=run.variant, image=run.image, repeat=run.repeat)
        for run in REPORTED
    ]
