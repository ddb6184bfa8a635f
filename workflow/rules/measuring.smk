# Functions of the rules that measure: in which order and batch, which traces, which counters.

from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.planning.order import priorities
from mfuscope.storage.paths import counters_path
from mfuscope.workflow import counting
from mfuscope.workflow.missing import is_current

TURNS = priorities(RUNS, CALL.id)


def run_of(wildcards):
    """The run that a job is about."""
    return RunKey(wildcards.variant, wildcards.image, int(wildcards.repeat))


def turn(wildcards):
    """The priority of a run: they take turns in a shuffled order, and one asked for by file is last."""
    return TURNS.get(run_of(wildcards), 0)


def batch_of_reading(wildcards):
    """A trace is read in the batch that measures it; one that is only read needs no GPU."""
    in_batches(wildcards)
    return "read" if is_current(PLAN, RESULTS, run_of(wildcards)) else "measure"


def kept(trace):
    """A run's trace, which is temporary where no trace is to be kept."""
    return temp(trace) if PLAN.settings.keep_traces == "none" else trace


def page_at(wildcards):
    """The page that is counted for a resolution. Another content of it counts nothing again."""
    in_batches(wildcards)
    key = CalibrationKey(wildcards.variant, wildcards.resolution)
    return str(reported(counting.counted_page, PLAN, RESULTS, key))


def every_counters(wildcards):
    """Hardware counters of every variant and resolution, which a CPU has none of."""
    reported(PLAN.check_counters)
    return [str(counters_path(RESULTS, key)) for key in resolutions()]


def counters_there(wildcards):
    """Hardware counters that are asked for, and those that are there."""
    return counting.wanted(PLAN, RESULTS, resolutions(), new=not CALL.partial)
