from mfuscope.core.runs import CalibrationKey
from mfuscope.measure import ncu
from mfuscope.storage.paths import counters_path


def page_at(wildcards):
    """The page that is counted for a resolution. Another content of it counts nothing again."""
    in_batches(wildcards)
    image = PLAN.page_at(CalibrationKey(wildcards.variant, wildcards.resolution))
    return str(PLAN.pages[image].path)


def every_counters(wildcards):
    """Hardware counters of every variant and resolution, which a CPU has none of."""
    reported(PLAN.check_counters)
    return [str(counters_path(RESULTS, key)) for key in resolutions()]


def counters_there(wildcards):
    """Hardware counters that are asked for, and those that are there."""
    asked = (
        []
        if CALL.partial
        else [k for k in resolutions() if PLAN.counts_hardware(k.variant)]
    )
    there = [k for k in resolutions() if counters_path(RESULTS, k).is_file()]
    return [str(counters_path(RESULTS, key)) for key in dict.fromkeys([*asked, *there])]


rule count_hardware:
    input:
        page=ancient(page_at),
    output:
        counters="results/{variant}/counters/{resolution}.json",
        launches="results/{variant}/counters/{resolution}.csv",
    log:
        "logs/{variant}/counters/{resolution}.log",
    # After the measurements: it ends idle workers, to have their memory.
    priority: -10
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
        tool=lambda wildcards: ncu.state(),
    script:
        "../scripts/count_hardware.py"


rule counters:
    input:
        every_counters,
