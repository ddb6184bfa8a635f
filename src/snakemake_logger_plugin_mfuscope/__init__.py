"""Snakemake logger plugin ``mfuscope``: terminal output about runs instead of rules.

Dry runs, ``--touch`` and calls that ask for detail (``--verbose``, ``--printshellcmds``,
``--debug-dag``) get Snakemake's own output; Snakemake's log file is always complete. A dry run ends
with one line that says what would be measured and why; with ``--quiet`` that is its only line.
Errors with a known meaning are replaced by one line in every call, and advice of Snakemake's that
would keep wrong results is left out. INFO records that start with ``mfuscope: `` are shown
unchanged; one that carries an `Outlook` tells what the call knows of its runs.

Records arrive in the order of logging, but in a thread of their own: log what must appear after
them, do not print it.
"""

import os
import sys
from collections.abc import Callable, Iterable
from itertools import pairwise
from logging import DEBUG, ERROR, INFO, WARNING, Handler, LogRecord
from pathlib import Path
from statistics import fmean, median
from time import monotonic
from typing import TextIO

from snakemake.logging import ColorizingTextHandler, DefaultFilter, logger
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from mfuscope.core import text
from mfuscope.core.errors import InvalidFileError
from mfuscope.workflow.outcome import RunTimes, run_times
from snakemake_logger_plugin_mfuscope import messages, plan
from snakemake_logger_plugin_mfuscope.failures import Failures
from snakemake_logger_plugin_mfuscope.snakemake_output import (
    Formatter,
    cause_of,
    known_meaning,
    note_cause,
)
from snakemake_logger_plugin_mfuscope.state import Job, State

__all__ = ["LogHandler"]

RED, YELLOW, RESET = "\033[31m", "\033[33m", "\033[0m"
# INFO records before jobs start that are hidden; others answer e.g. --lint or --unlock.
EXTENDED = "Config file "  # ... is extended by --config
CHATTER = (EXTENDED, "Assuming unrestricted shared ", "Building DAG ", "Multiple includes ")
IDLE = "Nothing to be done"
FAILED_AT_END = "At least one job did not complete successfully."


class LogHandler(LogHandlerBase):
    """Writes one line per run, and errors without Snakemake's headers."""

    writes_to_stream = True
    writes_to_file = False
    has_filter = True
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        settings = self.common_settings
        self.stream: TextIO = sys.stdout if settings.stdout else sys.stderr
        dumb = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self.colour = not settings.nocolor and not dumb and self.stream.isatty()
        self.quiet = {choice.name.lower() for choice in settings.quiet or ()}
        self.brief = bool(settings.dryrun) and (
            "all" in self.quiet or {"rules", "progress"} <= self.quiet
        )
        self.concluded = False
        self.state = State()
        failures = Failures(self.state, whole_logs=settings.show_failed_logs)
        self.events: dict[LogEvent, Callable[[LogRecord], Iterable[str]]] = {
            LogEvent.WORKFLOW_STARTED: self._workflow_started,
            LogEvent.RUN_INFO: self._plan,
            LogEvent.JOB_INFO: self._job_started,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.ERROR: self._error,
            LogEvent.JOB_ERROR: failures.of_job,
            LogEvent.GROUP_INFO: self._batch_started,
            LogEvent.GROUP_ERROR: failures.of_batch,  # followed by one JOB_ERROR per job
        }
        self.detail = settings.verbose or settings.printshellcmds or settings.debug_dag
        self.delegate = self._snakemake_handler() if settings.dryrun or self.detail else None
        logger.addFilter(note_cause)

    def _snakemake_handler(self) -> Handler:
        settings = self.common_settings
        handler: Handler = ColorizingTextHandler(
            nocolor=not self.colour,
            stream=self.stream,
            formatter=Formatter(settings.quiet, settings.show_failed_logs),
        )
        handler.addFilter(
            DefaultFilter(
                settings.quiet,
                settings.debug_dag,
                settings.verbose,
                settings.dryrun,
                settings.printshellcmds,
            )
        )
        return handler

    def emit(self, record: LogRecord) -> None:
        """Show a record. An exception would end the thread that passes records on."""
        try:
            if record.levelno == WARNING and messages.is_idle_warning(record.getMessage()):
                return
            if outlook := vars(record).get("outlook"):
                self.state.outlook = outlook
            elif plan.is_harmful_advice(record.getMessage()):
                return
            elif self.delegate is not None:
                self._delegate(self.delegate, record)
            elif "all" not in self.quiet:
                self._write(self._lines(record), record.levelno)
        except BrokenPipeError:  # the reader has closed, e.g. `| head`: the workflow continues
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        except Exception:  # noqa: BLE001 - reported on stderr; the workflow continues
            self.handleError(record)

    def _delegate(self, handler: Handler, record: LogRecord) -> None:
        if known := known_meaning(record):
            if self.common_settings.dryrun or "all" not in self.quiet:
                self._write([known], ERROR)
        elif self.common_settings.dryrun and self._noted(record):
            return
        elif self.detail or not record.getMessage().startswith(EXTENDED):
            handler.handle(record)

    def _noted(self, record: LogRecord) -> bool:
        """Note what a record of a dry run says; whether that is all that becomes of it."""
        event = getattr(record, "event", None)
        if event == LogEvent.RUN_INFO:
            self.state.stats = vars(record)["stats"]
        elif event == LogEvent.JOB_INFO:
            self.state.announced.add(vars(record))
        elif record.getMessage().startswith(IDLE):
            self.state.idle = True
            return True
        return self.brief and record.levelno < WARNING

    def close(self) -> None:
        """Show a dry run's last line, and errors of commands that no failed job has claimed."""
        logger.removeFilter(note_cause)
        if not self.concluded:
            self.concluded = True
            self._conclude()
        unclaimed, self.state.unclaimed = list(self.state.unclaimed.values()), {}
        if unclaimed and "all" not in self.quiet:
            self._write(map(messages.error_text, unclaimed), ERROR)
        super().close()

    def _conclude(self) -> None:
        outlook, stats = self.state.outlook, self.state.stats
        if not self.common_settings.dryrun:
            return
        if outlook is not None and outlook.unreadable:
            self._write([plan.unreadable_line(outlook)], ERROR)
        elif self.state.idle:
            self._write(plan.idle_lines(outlook), INFO)
        elif stats:
            announced = None if self.brief else self.state.announced
            self._write([plan.plan_line(stats, outlook, announced)], INFO)

    def _write(self, lines: Iterable[str], level: int) -> None:
        colour = (RED if level >= ERROR else YELLOW if level >= WARNING else "") * self.colour
        for line in map(text.lines, lines):
            plain = not colour or line.startswith("log: ")
            shown = self._folded(line) if level < WARNING else line
            self.stream.write(f"{shown}\n" if plain else f"{colour}{shown}{RESET}\n")
        self.stream.flush()

    def _folded(self, line: str) -> str:
        """A line as `messages.folded` folds it to the terminal's width; whole without one."""
        try:
            width = os.get_terminal_size(self.stream.fileno()).columns
        except OSError:  # no terminal
            return line
        return messages.folded(line, width) if width else line

    def _lines(self, record: LogRecord) -> Iterable[str]:
        event = getattr(record, "event", None)
        if event in self.events:
            return self.events[event](record)
        message = record.getMessage().rstrip()
        if record.levelno >= ERROR:
            # Snakemake reports the end after failures twice; FAILED_AT_END follows this one.
            final = message.startswith("Exiting because a job execution failed.")
            return [] if final else [messages.error_text(message)]
        if record.levelno >= WARNING:
            return [message if message.startswith(messages.PREFIX) else f"warning: {message}"]
        return [] if record.levelno <= DEBUG else self._information(message, event)

    def _information(self, message: str, event: LogEvent | None) -> list[str]:
        if message.startswith(messages.PREFIX):
            return [message]
        if message.startswith(IDLE):
            return plan.idle_lines(self.state.outlook)
        if message.startswith("Terminating processes on user request"):
            self.state.interrupted = self.state.stopping = True
            return [f"{messages.PREFIX}stopping ..."]
        if message.startswith("Will exit after finishing currently running jobs"):
            reported, self.state.stopping = self.state.stopping, True
            line = f"{messages.PREFIX}stopping once the running jobs have ended ..."
            return [] if reported else [line]
        if submitted := messages.submission_line(message):
            return [submitted]
        if self.state.executing or event is not None or message.startswith(CHATTER):
            return []
        return [message]

    def _workflow_started(self, record: LogRecord) -> list[str]:
        self.state.executing = True
        if {"--touch", "-t"} & set(vars(record).get("cmd", "").split()):
            self.delegate = self._snakemake_handler()  # nothing will be measured
        return []

    def _plan(self, record: LogRecord) -> list[str]:
        self.state.stats = stats = vars(record)["stats"]
        outlook = self.state.outlook
        lines = [] if "progress" in self.quiet else [plan.plan_line(stats, outlook)]
        if outlook is None or "tabulate_metrics" not in stats or not outlook.outdated_note:
            return lines
        left = messages.run_total(stats) < len(outlook.due)
        return [*lines, messages.PREFIX + outlook.outdated_note] if left else lines

    def _batch_started(self, record: LogRecord) -> list[str]:
        self.state.batched = True
        return []

    def _job_started(self, record: LogRecord) -> list[str]:
        fields = vars(record)
        job = Job(fields["rule_name"], dict(fields["wildcards"]), record.created, monotonic())
        if job.rule in messages.RUN_RULES and fields.get("output"):
            job.record = Path(fields["output"][0])
        self.state.jobs[fields["jobid"]] = job
        self.state.failed.discard(fields["jobid"])  # tried again
        self.state.halted = False
        line = messages.start_line(job.rule, job.wildcards, self.state.outlook)
        if job.rule == "read_operators":
            line = self._reading_line()
        return [line] if line and "rules" not in self.quiet else []

    def _reading_line(self) -> str | None:
        """The line for reading several traces after the last run; shown once."""
        state = self.state
        left = state.stats.get("read_operators", 0) - state.reads_begun
        state.reads_begun += 1
        if state.reading_reported or left < 3 or state.runs_done < messages.run_total(state.stats):
            return None
        state.reading_reported = True
        return f"reading {left} traces ..."

    def _job_finished(self, record: LogRecord) -> list[str]:
        state = self.state
        runs = {key for key, job in state.jobs.items() if job.rule in messages.RUN_RULES}
        job = state.jobs.pop(vars(record)["job_id"], None)
        if job is None or job.rule not in messages.RUN_RULES:
            return []
        now = monotonic()
        label, seconds = messages.job_label(job.wildcards, state.outlook), now - job.started
        state.runs_done += 1
        state.recent.append((seconds, len(runs - state.failed)))
        total = max(messages.run_total(state.stats), state.runs_done)
        remaining, left = total - state.runs_done - len(runs & state.failed), None
        state.ended.append(now)
        if remaining > 0 and not state.halted and not state.stopping:
            durations, parallel = zip(*state.recent, strict=True)
            gaps = [after - before for before, after in pairwise(state.ended)]
            if not gaps:
                left = messages.seconds_left(remaining, durations, max(parallel))
            else:  # from end to end, which includes the time between runs
                # One after the other, a run that compiled is no measure of those to come.
                left = remaining * (median(gaps) if max(parallel) == 1 else fmean(gaps))
        if "progress" in self.quiet:
            return []
        left = None if state.batched else left
        return [messages.run_line(state.runs_done, total, label, _times(job), left)]

    def _error(self, record: LogRecord) -> list[str]:
        message = record.getMessage()
        if cause := cause_of(record):
            return [cause]
        if "CalledProcessError" in message:
            # A failed command: the JOB_ERROR that follows from this thread has more details.
            unclaimed = self.state.unclaimed.pop(record.thread, None)
            self.state.unclaimed[record.thread] = message
            return [messages.error_text(unclaimed)] if unclaimed else []
        if FAILED_AT_END in message:
            return self._end(message)
        return [messages.error_text(message)]

    def _end(self, message: str) -> list[str]:
        state = self.state
        # Jobs still running at the end failed too, e.g. without their output. With --quiet
        # Snakemake reports no job's end.
        only_known = state.stopping or "progress" in self.quiet
        kept = {key for key, paths in state.made.items() if all(map(os.path.exists, paths))}
        failed = (state.failed if only_known else set(state.jobs)) - kept
        lines = [messages.end_line(len(failed), messages.job_total(state.stats))] if failed else []
        if state.stopping:
            lines.append(f"{messages.PREFIX}stopped; finished results are kept. {messages.RERUN}")
        return lines or [messages.error_text(message)]


def _times(job: Job) -> RunTimes | None:
    """The times of a finished run; an unreadable record is reported by the jobs that read it."""
    try:
        return run_times(job.record) if job.record is not None else None
    except (InvalidFileError, FileNotFoundError):
        return None
