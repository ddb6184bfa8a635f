rule calibrate:
    input:
        inspected=ancient("results/inputs.csv"),
    output:
        calibration="results/{variant}/calibration/{resolution}.json",
    params:
        settings=lambda wildcards: PLAN.model_settings(wildcards.variant),
        code=code_digest("flops", "calibration"),
    resources:
        gpu=1,
    log:
        "logs/{variant}/calibration/{resolution}.log",
    conda:
        "../envs/mfuscope.yaml"
    script:
        "../scripts/calibrate.py"
