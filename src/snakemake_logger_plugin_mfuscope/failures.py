"""What is said of failed jobs and of allocations whose jobs were not made."""

import os
from logging import LogRecord
from pathlib import Path
from time import monotonic, time
from typing import Any

from mfuscope.workflow.allocations import WORDS, last_words, without_call
from snakemake_logger_plugin_mfuscope import text
from snakemake_logger_plugin_mfuscope.state import Job, State

LOG_TAIL = 64 * 1024  # bytes
MTIME_SLACK = 2.0  # seconds; file systems keep coarser times than the clock


class Failures:
    """Lines on failures, of one call.

    Args:
        state: what is known of the call; what failed is noted there.
        whole_logs: show the logs of failed jobs to their last `LOG_TAIL`, not their last lines.
    """

    def __init__(self, state: State, *, whole_logs: bool) -> None:
        self.state = state
        self.whole_logs = whole_logs
        self.called_from = Path.cwd()

    def of_batch(self, record: LogRecord) -> list[str]:
        """The runs that say why they failed, and the allocation, unless they explain it all."""
        fields, state = vars(record), self.state
        batch: list[dict[str, Any]] = fields["job_error_info"]
        state.told |= {info["jobid"] for info in batch}
        if state.interrupted:
            return []
        missing = [info for info in batch if not self._has_results(info)]
        state.failed |= {info["jobid"] for info in missing}
        state.halted = state.halted or bool(missing)
        lines: list[str] = []
        explained: list[dict[str, str]] = []
        for info in missing:
            if own := self._own_failure(info, record.created):
                lines += own
                explained.append(state.jobs[info["jobid"]].wildcards)
        logs = [log for log in fields["aux_logs"] if log and Path(log).exists()]
        words = [told for log in logs if (told := last_words(Path(log)))]
        rest = [x for x in missing if state.jobs[x["jobid"]].wildcards not in explained]
        if rest or (missing and words):
            lines += self._allocation(fields, [info["rule_name"] for info in missing])
            lines += [f"    {line}" for line in words]
            if not words and not explained:
                lines += [line for log in logs for line in text.log_excerpt(self._end_of(log))]
            lines += map(self._log_line, logs)
        return lines

    def _allocation(self, fields: dict[str, Any], missing: list[str]) -> list[str]:
        """A failed batch, and in the words of who refused it, why; those once."""
        number, says = fields.get("external_jobid"), fields.get(WORDS, "")
        batch = [info["rule_name"] for info in fields["job_error_info"]]
        line = text.allocation_line(number, says, missing, batch)
        return [line] if number else [line, *self._refusal(says)]

    def _refusal(self, words: str) -> list[str]:
        told = words in self.state.refusals
        self.state.refusals.add(words)
        return [] if told else [f"    {line}" for line in words.splitlines()]

    def _has_results(self, info: dict[str, Any]) -> bool:
        """Whether a job of a failed batch has made its results; another has failed then."""
        results = tuple(map(str, info.get("output") or ()))
        made = bool(results) and all(map(os.path.exists, results))
        if made:
            self.state.doubtful[info["jobid"]] = results
        return made

    def _own_failure(self, info: dict[str, Any], now: float) -> list[str]:
        """A job of a failed batch, if its log says why it failed; else the allocation has to."""
        job = self.state.jobs.setdefault(
            info["jobid"], Job(info["rule_name"], {}, now, monotonic())
        )
        for log in info["log"]:
            tail = self._log_tail(log, job)
            if text.says_why(tail):
                line = text.failure_line(job.rule, job.wildcards)
                return [line, *self._excerpt(tail), self._log_line(log)]
        return []

    def of_job(self, record: LogRecord) -> list[str]:
        fields: dict[str, Any] = vars(record)
        if fields["jobid"] in self.state.told:
            self.state.told.remove(fields["jobid"])
            return []
        unknown = Job(fields["rule_name"], {}, record.created, monotonic())
        job = self.state.jobs.setdefault(fields["jobid"], unknown)
        held = self.state.held.pop(record.thread, "")
        ended_by = text.stop_signal(held)
        if self.state.interrupted or ended_by == "SIGINT":
            return []
        self.state.failed.add(fields["jobid"])
        self.state.halted = True
        lines = [text.failure_line(job.rule, job.wildcards)]
        if ended_by:
            hint = " (out of host memory?)" if ended_by == "SIGKILL" else ""
            lines.append(f"stopped by signal {ended_by}{hint}")
        if fields.get("rule_msg"):
            lines += self._refusal(without_call(fields["rule_msg"]))
        for log in fields.get("log") or ():
            if tail := self._log_tail(log, job):
                return [*lines, *self._excerpt(tail), self._log_line(log)]
        return [*lines, *held.splitlines(), *map(self._log_line, fields.get("log", ())[:1])]

    def _excerpt(self, tail: str) -> list[str]:
        return tail.splitlines() if self.whole_logs else text.log_excerpt(tail)

    def _log_tail(self, log: str, job: Job) -> str:
        """End of a job's log; empty when it was not written by this job."""
        # The job's start by the time of day as it was then, or as it has been set since.
        return self._end_of(log, min(job.created, time() - (monotonic() - job.started)))

    def _end_of(self, log: str, since: float = 0.0) -> str:
        """End of a log; empty when it was last written before that."""
        try:
            with Path(log).open("rb") as stream:
                status = os.fstat(stream.fileno())
                stream.seek(max(0, status.st_size - LOG_TAIL))
                tail = stream.read().decode(errors="replace").strip()
        except OSError:
            return ""
        return tail if status.st_mtime >= since - MTIME_SLACK else ""

    def _log_line(self, log: str) -> str:
        return f"log: {os.path.relpath(log, self.called_from)}"
