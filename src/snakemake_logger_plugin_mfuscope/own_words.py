"""Snakemake's own output, where it was asked for, and errors whose meaning is known."""

import sys
from logging import ERROR, LogRecord
from typing import Any, cast

from snakemake.logging import DefaultFormatter
from snakemake_interface_logger_plugins.common import LogEvent

from mfuscope.core import text as printable
from snakemake_logger_plugin_mfuscope import causes, text


def note_cause(record: LogRecord) -> bool:
    """A filter that lets all pass. It runs where the error is handled: the handler's thread has
    only the words of it.
    """
    error = sys.exception()
    if error is not None and vars(record).get("exception") == type(error).__name__:
        record.cause = causes.told(error)
    return True


def known_meaning(record: LogRecord) -> str | None:
    """An error that is told in our words even where Snakemake's were asked for."""
    if record.levelno < ERROR or getattr(record, "event", None) == LogEvent.JOB_ERROR:
        return None
    return cause_of(record) or text.meaning(record.getMessage())


def cause_of(record: LogRecord) -> str | None:
    cause = vars(record).get("cause")
    return text.PREFIX + cause if cause else None


class Formatter(DefaultFormatter):  # type: ignore[misc]
    """Snakemake's own words, in which names of files stand as they are."""

    def format(self, record: LogRecord) -> str:
        return printable.lines(super().format(record))

    def format_job_info(self, msg: dict[str, Any]) -> str:
        """Names of pages may have line breaks in them."""
        pages = [printable.one_line(name) for name in msg["input"]]
        reason = printable.one_line(msg["reason"])
        return cast(str, super().format_job_info({**msg, "input": pages, "reason": reason}))
