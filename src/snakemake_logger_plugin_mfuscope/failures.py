"""Lines on failed jobs, and on failed allocations of a cluster."""

import os
from logging import LogRecord
from pathlib import Path
from time import monotonic, time
from typing import Any

from mfuscope.workflow.allocations import last_words, slurm_state
from snakemake_logger_plugin_mfuscope import messages
from snakemake_logger_plugin_mfuscope.state import Job, State

LOG_TAIL = 64 * 1024  # bytes
MTIME_SLACK = 2.0  # seconds; file systems keep coarser times than the clock


class Failures:
    """Lines on failures of one call.

    Args:
        state: the call's; failed jobs are noted in it.
        whole_logs: show the last `LOG_TAIL` of failed jobs' logs, not only their last lines.
    """

    def __init__(self, state: State, *, whole_logs: bool) -> None:
        self.state = state
        self.whole_logs = whole_logs
        self.called_from = Path.cwd()

    def of_batch(self, record: LogRecord) -> list[str]:
        """Jobs of a failed batch whose logs say why, and the allocation unless they explain it.

        Snakemake's GROUP_ERROR record names the jobs, the allocation's log and Slurm's number; it
        has neither Slurm's state nor sbatch's message.
        """
        fields, state = vars(record), self.state
        batch: list[dict[str, Any]] = fields["job_error_info"]
        state.reported |= {info["jobid"] for info in batch}
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
        words = [text for log in fields["aux_logs"] if (text := last_words(Path(log)))]
        rest = [x for x in missing if state.jobs[x["jobid"]].wildcards not in explained]
        if rest or (missing and words):
            number, state_name = fields.get("external_jobid"), slurm_state(" ".join(words))
            lines.append(
                messages.allocation_line(number, state_name, _rules(missing), _rules(batch))
            )
            if number is None:
                lines += self._refusal(messages.REFUSED_HINT)
            else:
                lines += self._allocation(number, words, fields["aux_logs"], bool(explained))
        return lines

    def _allocation(
        self, number: str, words: list[str], logs: list[str], explained: bool
    ) -> list[str]:
        """Why an allocation failed: Slurm's words, else its log's end, else where to look."""
        lines = [f"    {line}" for line in words]
        if not words and not explained:
            lines = [line for log in logs for line in messages.log_excerpt(self._end_of(log))]
            lines = lines or [
                f"    it logged nothing; `scontrol show job {number}` or `sacct -j "
                f"{number}` shows its state"
            ]
        return lines + [self._log_line(log) for log in logs if Path(log).exists()]

    def _refusal(self, reason: str) -> list[str]:
        """The reason of a refused submission; each is reported once."""
        reported = reason in self.state.refusals
        self.state.refusals.add(reason)
        return [] if reported else [f"    {line}" for line in reason.splitlines()]

    def _has_results(self, info: dict[str, Any]) -> bool:
        """Whether a job of a failed batch has made its results; another one failed then."""
        results = tuple(map(str, info.get("output") or ()))
        made = bool(results) and all(map(os.path.exists, results))
        if made:
            self.state.made[info["jobid"]] = results
        return made

    def _own_failure(self, info: dict[str, Any], now: float) -> list[str]:
        """Lines on a job of a failed batch, if its own log says why it failed."""
        job = self.state.jobs.setdefault(
            info["jobid"], Job(info["rule_name"], {}, now, monotonic())
        )
        for log in info["log"]:
            tail = self._log_tail(log, job)
            if messages.says_why(tail):
                line = messages.failure_line(job.rule, job.wildcards, self.state.outlook)
                return [line, *self._excerpt(tail), self._log_line(log)]
        return []

    def of_job(self, record: LogRecord) -> list[str]:
        """Lines on a failed job; none if it was reported with its batch."""
        fields: dict[str, Any] = vars(record)
        if fields["jobid"] in self.state.reported:
            self.state.reported.remove(fields["jobid"])
            return []
        unknown = Job(fields["rule_name"], {}, record.created, monotonic())
        job = self.state.jobs.setdefault(fields["jobid"], unknown)
        command_error = self.state.unclaimed.pop(record.thread, "")
        ended_by = messages.stop_signal(command_error)
        if self.state.interrupted or ended_by == "SIGINT":
            return []
        self.state.failed.add(fields["jobid"])
        self.state.halted = True
        lines = [messages.failure_line(job.rule, job.wildcards, self.state.outlook)]
        if ended_by:
            hint = " (out of host memory?)" if ended_by == "SIGKILL" else ""
            lines.append(f"stopped by signal {ended_by}{hint}")
        if fields.get("rule_msg"):
            lines += self._refusal(messages.executor_reason(fields["rule_msg"]))
        for log in fields.get("log") or ():
            if tail := self._log_tail(log, job):
                return [*lines, *self._excerpt(tail), self._log_line(log)]
        return [
            *lines,
            *command_error.splitlines(),
            *map(self._log_line, fields.get("log", ())[:1]),
        ]

    def _excerpt(self, tail: str) -> list[str]:
        return tail.splitlines() if self.whole_logs else messages.log_excerpt(tail)

    def _log_tail(self, log: str, job: Job) -> str:
        """End of a job's log; empty if this job did not write it."""
        # The job's start by the wall clock, as it was set then or as it is set now.
        return self._end_of(log, min(job.created, time() - (monotonic() - job.started)))

    def _end_of(self, log: str, since: float = 0.0) -> str:
        """End of a log; empty if it was last written before `since`."""
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


def _rules(jobs: list[dict[str, Any]]) -> list[str]:
    return [job["rule_name"] for job in jobs]
