# After failures: the report of what was measured, which names what was not. The next call makes it
# anew.
import json
import subprocess
import sys

from mfuscope.artefacts import write_json
from mfuscope.partial import VARIABLE, OpenJob, missing_runs

# Nothing is measured here, whatever has changed meanwhile.
DERIVING = ("resolve_hardware", "inspect_images", "tabulate_metrics", "summarise")
DERIVING += ("render_report",)


def report_the_rest():
    """Make the report without the runs that failed, if there is one to make."""
    jobs = list(workflow.dag.needrun_jobs())
    asked_for = any(job.rule.name == "render_report" for job in jobs)
    interrupted = workflow.scheduler.running
    if MISSING or interrupted or not asked_for:
        return
    missing = missing_runs(
        wanted_runs(), map(_open_job, filter(_of_runs, jobs)), PLAN.resolution
    )
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


def _of_runs(job):
    return job.rule.name in ("calibrate", "read_operators", *PROFILING)


def _open_job(job):
    failed = job in workflow.scheduler.failed
    return OpenJob(dict(job.wildcards_dict), Path(job.log[0]) if failed else None)


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
