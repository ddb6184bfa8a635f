# Functions of the rules that measure: in which order, and which counters.

from mfuscope.core.runs import CalibrationKey
from mfuscope.planning.order import priorities
from mfuscope.storage.paths import counters_path
from mfuscope.workflow import counting


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


TURNS = priorities(RUNS, CALL.id)


def turn(wildcards):
    """The priority of a run: they take turns in a shuffled order."""
    run = RunKey(wildcards.variant, wildcards.image, int(wildcards.repeat))
    return TURNS.get(run, 0)  # a repeat that is only asked for by its file comes last
