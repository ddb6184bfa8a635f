"""Snakemake logger plugin ``mfuscope``: terminal output that tells of runs, not of rules.

Dry runs and calls that ask Snakemake for detail (``--verbose``, ``--printshellcmds``,
``--debug-dag``) or only touch files get Snakemake's own output, and Snakemake's log file is
complete in any case. Records arrive in the order of logging, but in a thread of their own: what
must come after the last of these lines has to be logged too, not printed. Log records of level
INFO which start with ``mfuscope: `` are shown as they are. Errors whose meaning is known are shown
in our words in any call.
"""

import os
import sys
from collections.abc import Callable, Iterable
from logging import DEBUG, ERROR, WARNING, Handler, LogRecord
from time import monotonic
from typing import TextIO

from snakemake.logging import ColorizingTextHandler, DefaultFilter, logger
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from mfuscope.core import text as printable
from snakemake_logger_plugin_mfuscope import text
from snakemake_logger_plugin_mfuscope.failures import Failures
from snakemake_logger_plugin_mfuscope.own_words import (
    Formatter,
    cause_of,
    known_meaning,
    note_cause,
)
from snakemake_logger_plugin_mfuscope.state import Job, State

__all__ = ["LogHandler"]

RED, YELLOW, RESET = "\033[31m", "\033[33m", "\033[0m"
# INFO records before the execution begins; others there answer e.g. --lint or --unlock.
EXTENDED = "Config file "  # ... is extended by --config
CHATTER = (EXTENDED, "Assuming unrestricted shared ", "Building DAG ", "Multiple includes ")
FAILED_AT_END = "At least one job did not complete successfully."


class LogHandler(LogHandlerBase):
    """Writes one line per run, and errors without their scaffolding."""

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
        self.delegate = self._snakemakes_own() if settings.dryrun or self.detail else None
        logger.addFilter(note_cause)

    def _snakemakes_own(self) -> Handler:
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
        """Show the record. An exception here would end the thread that hands out the records."""
        try:
            if record.levelno == WARNING and text.is_idle_warning(record.getMessage()):
                return
            if self.delegate is not None:
                self._delegate(self.delegate, record)
            elif "all" not in self.quiet:
                self._write(self._lines(record), record.levelno)
        except BrokenPipeError:  # the reader has left, e.g. `| head`: the workflow goes on
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.stream.fileno())
        except Exception:  # noqa: BLE001 - told on stderr, and the workflow goes on
            self.handleError(record)

    def _delegate(self, handler: Handler, record: LogRecord) -> None:
        if known := known_meaning(record):
            if self.common_settings.dryrun or "all" not in self.quiet:
                self._write([known], ERROR)
        elif self.detail or not record.getMessage().startswith(EXTENDED):
            handler.handle(record)

    def close(self) -> None:
        """Show what was held back to the end: an error that no failed job has claimed."""
        logger.removeFilter(note_cause)
        held, self.state.held = list(self.state.held.values()), {}
        if held and "all" not in self.quiet:
            self._write(map(text.error_text, held), ERROR)
        super().close()

    def _write(self, lines: Iterable[str], level: int) -> None:
        colour = (RED if level >= ERROR else YELLOW if level >= WARNING else "") * self.colour
        for line in map(printable.lines, lines):
            plain = not colour or line.startswith("log: ")
            self.stream.write(f"{line}\n" if plain else f"{colour}{line}{RESET}\n")
        self.stream.flush()

    def _lines(self, record: LogRecord) -> Iterable[str]:
        event = getattr(record, "event", None)
        if event in self.events:
            return self.events[event](record)
        message = record.getMessage().rstrip()
        if record.levelno >= ERROR:
            # Snakemake's last words on failed jobs come twice; FAILED_AT_END follows this one.
            final = message.startswith("Exiting because a job execution failed.")
            return [] if final else [text.error_text(message)]
        if record.levelno >= WARNING:
            return [message if message.startswith(text.PREFIX) else f"warning: {message}"]
        return [] if record.levelno <= DEBUG else self._information(message, event)

    def _information(self, message: str, event: LogEvent | None) -> list[str]:
        if message.startswith(text.PREFIX):
            return [message]
        if message.startswith("Nothing to be done"):
            return ["Nothing to do: every result is up to date."]
        if message.startswith("Terminating processes on user request"):
            self.state.interrupted = self.state.stopping = True
            return [f"{text.PREFIX}stopping ..."]
        if message.startswith("Will exit after finishing currently running jobs"):
            told, self.state.stopping = self.state.stopping, True
            line = f"{text.PREFIX}stopping once the jobs under way have ended ..."
            return [] if told else [line]
        if submitted := text.submission_line(message):
            return [submitted]
        if self.state.executing or event is not None or message.startswith(CHATTER):
            return []
        return [message]

    def _workflow_started(self, record: LogRecord) -> list[str]:
        self.state.executing = True
        if {"--touch", "-t"} & set(vars(record).get("cmd", "").split()):
            self.delegate = self._snakemakes_own()  # nothing will be measured
        return []

    def _plan(self, record: LogRecord) -> list[str]:
        self.state.stats = vars(record)["stats"]
        return [] if "progress" in self.quiet else [text.plan_line(self.state.stats)]

    def _batch_started(self, record: LogRecord) -> list[str]:
        self.state.batched = True
        return []

    def _job_started(self, record: LogRecord) -> list[str]:
        fields = vars(record)
        job = Job(fields["rule_name"], dict(fields["wildcards"]), record.created, monotonic())
        self.state.jobs[fields["jobid"]] = job
        self.state.failed.discard(fields["jobid"])  # tried again
        self.state.halted = False
        line = text.start_line(job.rule, job.wildcards)
        if job.rule == "read_operators":
            line = self._reading_line()
        return [line] if line and "rules" not in self.quiet else []

    def _reading_line(self) -> str | None:
        """Said once, where several traces are left to read and no run is left to tell of them."""
        state = self.state
        left = state.stats.get("read_operators", 0) - state.reads_begun
        state.reads_begun += 1
        if state.told_reading or left < 3 or state.runs_done < text.run_total(state.stats):
            return None
        state.told_reading = True
        return f"reading {left} traces ..."

    def _job_finished(self, record: LogRecord) -> list[str]:
        state = self.state
        runs = {key for key, job in state.jobs.items() if job.rule in text.RUN_RULES}
        job = state.jobs.pop(vars(record)["job_id"], None)
        if job is None or job.rule not in text.RUN_RULES:
            return []
        now = monotonic()
        label, seconds = text.job_label(job.wildcards), now - job.started
        state.runs_done += 1
        state.recent.append((seconds, len(runs - state.failed)))
        state.width = max(state.width, len(label))
        total = max(text.run_total(state.stats), state.runs_done)
        remaining, left = total - state.runs_done - len(runs & state.failed), None
        state.ended.append(now)
        if remaining > 0 and not state.halted and not state.stopping:
            if len(state.ended) > 1:  # what lies between runs counts too
                left = remaining * (state.ended[-1] - state.ended[0]) / (len(state.ended) - 1)
            else:
                durations, parallel = zip(*state.recent, strict=True)
                left = text.seconds_left(remaining, durations, max(parallel))
        if state.batched:
            line = text.run_line(state.runs_done, total, label, None, None, state.width)
        else:
            line = text.run_line(state.runs_done, total, label, seconds, left, state.width)
        return [] if "progress" in self.quiet else [line]

    def _error(self, record: LogRecord) -> list[str]:
        message = record.getMessage()
        if cause := cause_of(record):
            return [cause]
        if "CalledProcessError" in message:
            # A failed command: the JOB_ERROR that follows from this thread says it better.
            unclaimed = self.state.held.pop(record.thread, None)
            self.state.held[record.thread] = message
            return [text.error_text(unclaimed)] if unclaimed else []
        if FAILED_AT_END in message:
            return self._end(message)
        return [text.error_text(message)]

    def _end(self, message: str) -> list[str]:
        state = self.state
        # Jobs under way at the end failed too, e.g. for want of their output; but with --quiet
        # Snakemake tells of no job's end.
        untold = state.stopping or "progress" in self.quiet
        kept = {key for key, paths in state.doubtful.items() if all(map(os.path.exists, paths))}
        failed = (state.failed if untold else set(state.jobs)) - kept
        lines = [text.end_line(len(failed), text.job_total(state.stats))] if failed else []
        if state.stopping:
            lines.append(f"{text.PREFIX}stopped; finished results are kept. {text.RERUN}")
        return lines or [text.error_text(message)]
