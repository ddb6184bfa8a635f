rule calibrate:
    input:
        no_files,
    output:
        calibration="results/{variant}/calibration/{resolution}.json",
    log:
        "logs/{variant}/calibration/{resolution}.log",
    priority: 50
    group:
        "calibrate"
    conda:
        "../envs/mfuscope.yaml"
    threads: MEASURING_THREADS
    resources:
        gpu=GPUS,
        turn=1,
    params:
        settings=lambda wildcards: PLAN.calibration_settings(wildcards.variant),
        code=code_digest(
            "flops",
            "calibration",
            "records",
            "models",
            "geometry",
            "sessions",
            "stages",
        ),
    script:
        "../scripts/calibrate.py"
