"""Snakemake's own output, for calls that ask for it, and errors with a known meaning."""

import sys
from logging import ERROR, LogRecord
from typing import Any, cast

from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

from mfuscope.core import text as printable
from snakemake_logger_plugin_mfuscope import messages, settings_errors


def note_cause(record: LogRecord) -> bool:
    """A logging filter that passes every record and adds the cause of an error to it.

    Filters run in the thread that handles the error; the log handler's thread has no exception.
    """
    error = sys.exception()
    if error is not None and vars(record).get("exception") == type(error).__name__:
        record.cause = settings_errors.explain(error)
    return True


def known_meaning(record: LogRecord) -> str | None:
    """The message for an error with a known meaning, shown even in Snakemake's own output."""
    if record.levelno < ERROR or getattr(record, "event", None) == LogEvent.JOB_ERROR:
        return None
    return cause_of(record) or messages.meaning(record.getMessage())


def cause_of(record: LogRecord) -> str | None:
    """The cause that `note_cause` found, as a message."""
    cause = vars(record).get("cause")
    return messages.PREFIX + cause if cause else None


class Formatter(DefaultFormatter):  # type: ignore[misc]
    """Snakemake's own format, with control characters in file names escaped."""

    def format(self, record: LogRecord) -> str:
        return printable.lines(super().format(record))

    def format_job_info(self, msg: dict[str, Any]) -> str:
        """A job's header; line breaks in names of pages are escaped."""
        pages = [printable.one_line(name) for name in msg["input"]]
        reason = printable.one_line(msg["reason"])
        return cast(str, super().format_job_info({**msg, "input": pages, "reason": reason}))
