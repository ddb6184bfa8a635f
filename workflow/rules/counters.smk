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
