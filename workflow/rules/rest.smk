# After failures: the report of what was measured, which names what was not. The next call makes it
# anew.
import json
import subprocess
import sys

from snakemake.jobs import GroupJob

from mfuscope.workflow.allocations import listen
from mfuscope.storage.artefacts import write_json
from mfuscope.workflow.missing import VARIABLE, OpenJob, missing_runs

# Nothing is measured here, whatever has changed meanwhile.
DERIVING = ("resolve_hardware", "inspect_images", "tabulate_metrics", "summarise")
DERIVING += ("render_report",)

FAILED_BATCHES = listen(GroupJob)


def report_the_rest():
    """Make the report without the runs that failed, if there is one to make."""
    jobs = list(workflow.dag.needrun_jobs())
    asked_for = any(job.rule.name == "render_report" for job in jobs)
    interrupted = workflow.scheduler.running
    if MISSING or interrupted or not asked_for:
        return
    missing = missing_runs(wanted_runs(), _open_jobs(jobs), PLAN.resolution)
    if not missing or len(missing) == len(wanted_runs()):
        return
    listed = Path(".snakemake/mfuscope.missing.json")
    write_json(listed, missing)
    made = subprocess.run(
        _this_workflow("results/report.html"),
        env=os.environ | {VARIABLE: str(listed)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    number = len(wanted_runs()) - len(missing)
    if made.returncode:
        say(f"there is no report of the other {number} runs:\n{made.stdout.rstrip()}")
    else:
        say(f"report of the other {number} runs: results/report.html")


def _open_jobs(jobs):
    """The jobs behind runs that have not made their results, though their batch may have failed."""
    failed = {}
    for job in workflow.scheduler.failed:
        batch = FAILED_BATCHES.get(job) if job.is_group() else None
        for member in job.jobs if job.is_group() else [job]:
            failed[member] = batch.reason if batch else None
    for job in jobs:
        if job.rule.name in BATCHED and not all(map(os.path.exists, job.output)):
            log = Path(job.log[0])
            told = job in failed and log.exists()
            names = dict(job.wildcards_dict)
            yield OpenJob(names, log if told else None, failed.get(job))


def _this_workflow(target):
    """The command of a call within this one, under its lock."""
    given = workflow.config_settings
    config = [f"{key}={json.dumps(value)}" for key, value in given.config.items()]
    command = [sys.executable, "-m", "snakemake", target, "--nolock", "--cores", "1"]
    command += ["--snakefile", workflow.main_snakefile, "--directory", os.getcwd()]
    command += ["--allowed-rules", *DERIVING]
    if given.configfiles:
        command += ["--configfile", *map(str, given.configfiles)]
    return command + (["--config", *config] if config else [])
