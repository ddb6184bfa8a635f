from mfuscope.core.runs import CalibrationKey
from mfuscope.workflow import counting


def page_at(wildcards):
    """The page that is counted for a resolution. Another content of it counts nothing again."""
    in_batches(wildcards)
    key = CalibrationKey(wildcards.variant, wildcards.resolution)
    return str(reported(counting.counted_page, PLAN, RESULTS, key))


def every_counters(wildcards):
    """Hardware counters of every variant and resolution, which a CPU has none of."""
    reported(PLAN.check_counters)
    return [str(counting.counters_path(RESULTS, key)) for key in resolutions()]


def counters_there(wildcards):
    """Hardware counters that are asked for, and those that are there."""
    return counting.wanted(PLAN, RESULTS, resolutions(), new=not CALL.partial)


rule count_hardware:
    input:
        page=ancient(page_at),
    output:
        counters="results/{variant}/counters/{resolution}.json",
        launches="results/{variant}/counters/{resolution}.csv",
    log:
        "logs/{variant}/counters/{resolution}.log",
    # After the measurements, whose priorities are above: it ends idle workers, to have their memory.
    priority: 0
    group:
        "count"
    conda:
        "../envs/mfuscope.yaml"
    threads: MEASURING_THREADS
    resources:
        gpu=1,
        turn=1,
    params:
        settings=lambda wildcards: parameters.counter_parameters(
            PLAN, wildcards.variant
        ),
    script:
        "../scripts/count_hardware.py"


rule counters:
    input:
        every_counters,
