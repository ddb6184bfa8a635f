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
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from logging import DEBUG, ERROR, WARNING, Handler, LogRecord
from pathlib import Path
from time import monotonic, time
from typing import Any, TextIO, cast

from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter, logger
from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

from mfuscope import printable
from mfuscope.allocations import WORDS, last_words, without_call
from snakemake_logger_plugin_mfuscope import causes, text

__all__ = ["LogHandler"]

RED, YELLOW, RESET = "\033[31m", "\033[33m", "\033[0m"
RECENT_RUNS = 5  # runs that the estimate of the time left looks back on
LOG_TAIL = 64 * 1024  # bytes
MTIME_SLACK = 2.0  # seconds; file systems keep coarser times than the clock
# INFO records before the execution begins; others there answer e.g. --lint or --unlock.
EXTENDED = "Config file "  # ... is extended by --config
CHATTER = (EXTENDED, "Assuming unrestricted shared ", "Building DAG ", "Multiple includes ")
FAILED_AT_END = "At least one job did not complete successfully."


@dataclass
class Job:
    """A job that has begun."""

    rule: str
    wildcards: dict[str, str]
    created: float  # by the time of day, which may be set meanwhile
    started: float  # by the monotonic clock, as all durations are


@dataclass
class State:
    """What is known of this call of Snakemake."""

    executing: bool = False
    interrupted: bool = False  # by Ctrl-C
    stopping: bool = False  # by Ctrl-C or SIGTERM
    halted: bool = False  # a job failed and none has begun since
    stats: dict[str, int] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)  # by job id, under way or failed
    failed: set[int] = field(default_factory=set)
    runs_done: int = 0
    reads_begun: int = 0
    told_reading: bool = False
    recent: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=RECENT_RUNS))
    ended: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT_RUNS + 1))  # as started
    width: int = 0
    held: dict[int | None, str] = field(default_factory=dict)  # by thread
    batched: bool = False  # runs share allocations of a cluster: their own times are not known
    doubtful: dict[int, tuple[str, ...]] = field(default_factory=dict)  # results of failed batches
    told: set[int] = field(default_factory=set)  # jobs whose failure was told with their batch's
    refusals: set[str] = field(default_factory=set)  # of allocations, as told


def _note_cause(record: LogRecord) -> bool:
    """A filter that lets all pass. It runs where the error is handled: the handler's thread has
    only the words of it.
    """
    error = sys.exception()
    if error is not None and vars(record).get("exception") == type(error).__name__:
        record.cause = causes.told(error)
    return True


def _known_meaning(record: LogRecord) -> str | None:
    """An error that is told in our words even where Snakemake's were asked for."""
    if record.levelno < ERROR or getattr(record, "event", None) == LogEvent.JOB_ERROR:
        return None
    return _cause(record) or text.meaning(record.getMessage())


def _cause(record: LogRecord) -> str | None:
    cause = vars(record).get("cause")
    return text.PREFIX + cause if cause else None


class _Formatter(DefaultFormatter):  # type: ignore[misc]
    """Snakemake's own words, in which names of files stand as they are."""

    def format(self, record: LogRecord) -> str:
        return printable.lines(super().format(record))

    def format_job_info(self, msg: dict[str, Any]) -> str:
        """Names of pages may have line breaks in them."""
        pages = [printable.one_line(name) for name in msg["input"]]
        reason = printable.one_line(msg["reason"])
        return cast(str, super().format_job_info({**msg, "input": pages, "reason": reason}))


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
        self.called_from = Path.cwd()
        self.state = State()
        self.events: dict[LogEvent, Callable[[LogRecord], Iterable[str]]] = {
            LogEvent.WORKFLOW_STARTED: self._workflow_started,
            LogEvent.RUN_INFO: self._plan,
            LogEvent.JOB_INFO: self._job_started,
            LogEvent.JOB_FINISHED: self._job_finished,
            LogEvent.ERROR: self._error,
            LogEvent.JOB_ERROR: self._job_failed,
            LogEvent.GROUP_INFO: self._batch_started,
            LogEvent.GROUP_ERROR: self._batch_failed,  # followed by one JOB_ERROR per job
        }
        self.detail = settings.verbose or settings.printshellcmds or settings.debug_dag
        self.delegate = self._snakemakes_own() if settings.dryrun or self.detail else None
        logger.addFilter(_note_cause)

    def _snakemakes_own(self) -> Handler:
        settings = self.common_settings
        handler: Handler = ColorizingTextHandler(
            nocolor=not self.colour,
            stream=self.stream,
            formatter=_Formatter(settings.quiet, settings.show_failed_logs),
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
        if known := _known_meaning(record):
            if self.common_settings.dryrun or "all" not in self.quiet:
                self._write([known], ERROR)
        elif self.detail or not record.getMessage().startswith(EXTENDED):
            handler.handle(record)

    def close(self) -> None:
        """Show what was held back to the end: an error that no failed job has claimed."""
        logger.removeFilter(_note_cause)
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
        if cause := _cause(record):
            return [cause]
        if "CalledProcessError" in message:
            # A failed command: the JOB_ERROR that follows from this thread says it better.
            unclaimed = self.state.held.pop(record.thread, None)
            self.state.held[record.thread] = message
            return [text.error_text(unclaimed)] if unclaimed else []
        if FAILED_AT_END in message:
            return self._end(message)
        return [text.error_text(message)]

    def _batch_failed(self, record: LogRecord) -> list[str]:
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

    def _job_failed(self, record: LogRecord) -> list[str]:
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
        whole = self.common_settings.show_failed_logs
        return tail.splitlines() if whole else text.log_excerpt(tail)

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
