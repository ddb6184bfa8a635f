"""Records as Snakemake logs them, and a handler of the plugin to feed them to."""

import io
import logging
from pathlib import Path
from typing import Any

from snakemake_interface_logger_plugins.common import LogEvent
from snakemake_interface_logger_plugins.tests import MockOutputSettings

from snakemake_logger_plugin_mfuscope import LogHandler

RUN = {"variant": "baseline", "image": "text.png", "repeat": "1"}


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def handler(**settings: object) -> LogHandler:
    common: Any = MockOutputSettings()
    common.printshellcmds = common.show_failed_logs = False
    vars(common).update(settings)
    return LogHandler(common, None)


def record(message: str = "", level: int = logging.INFO, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("snakemake", level, __file__, 1, message, None, None)
    vars(made).update(fields)
    return made


def job_info(jobid: int, **wildcards: str) -> logging.LogRecord:
    fields: dict[str, Any] = {"jobid": jobid, "rule_name": "profile"}
    fields["wildcards"] = {**RUN, **wildcards}
    return record(event=LogEvent.JOB_INFO, **fields)


def finished(jobid: int) -> logging.LogRecord:
    return record(event=LogEvent.JOB_FINISHED, job_id=jobid)


def failed_command(reason: str) -> logging.LogRecord:
    message = f"RuleException:\nCalledProcessError in file 'Snakefile', line 1:\nCommand {reason}"
    return record(message, logging.ERROR, event=LogEvent.ERROR)


def job_error(jobid: int, log: Path) -> logging.LogRecord:
    fields: dict[str, Any] = {"jobid": jobid, "rule_name": "profile", "log": [str(log)]}
    return record("Error in rule", logging.ERROR, event=LogEvent.JOB_ERROR, **fields)


def batch_error(
    jobs: dict[int, Path], log: Path | None, rule: str = "profile", **fields: object
) -> list[logging.LogRecord]:
    """What Snakemake logs of a failed batch; `jobs` are logs by job id."""
    infos = [
        {"jobid": jobid, "rule_name": rule, "log": [str(own)], "output": [f"{own}.json"]}
        for jobid, own in jobs.items()
    ]
    what = {"event": LogEvent.GROUP_ERROR, "job_error_info": infos, "aux_logs": [], **fields}
    if log:
        what["aux_logs"] = [str(log)]
    each = [job_error(jobid, own) for jobid, own in jobs.items()]
    return [record("Error in group x", logging.ERROR, **what), *each]
