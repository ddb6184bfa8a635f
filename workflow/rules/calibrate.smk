rule calibrate:
    input:
        in_batches,
    output:
        calibration="results/{variant}/calibration/{resolution}.json",
    log:
        "logs/{variant}/calibration/{resolution}.log",
    priority: len(RUNS) + 50
    group:
        "calibrate"
    conda:
        "../envs/mfuscope.yaml"
    threads: MEASURING_THREADS
    resources:
        gpu=1,
        turn=1,
    params:
        settings=lambda wildcards: parameters.calibration_parameters(
            PLAN, wildcards.variant
        ),
        code=code_digest("mfuscope.measure.calibration"),
    script:
        "../scripts/calibrate.py"
