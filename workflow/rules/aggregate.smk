rule tabulate_metrics:
    input:
        inputs="results/inputs.csv",
        runs=per_run("results/{variant}/runs/{image}/{repeat}.json"),
        activities=per_run("results/{variant}/activity/{image}/{repeat}.json"),
        calibrations=all_calibrations,
        counters=counters_there,
        hardware="results/hardware.json",
        ceiling="results/ceiling.json",
    output:
        metrics=report(
            "results/metrics.csv",
            caption="../report/metrics.rst",
            category="Tables",
            labels={"table": "metrics, one row per run"},
        ),
    log:
        "logs/tabulate_metrics.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        settings=lambda wildcards: {
            variant: parameters.run_parameters(PLAN, variant)
            for variant in PLAN.variants
        },
        code=code("tabulate_metrics.py"),
    script:
        "../scripts/tabulate_metrics.py"


rule summarise:
    input:
        metrics="results/metrics.csv",
    output:
        summary=report(
            "results/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            labels={"table": "summary, mean and spread"},
        ),
    log:
        "logs/summarise.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        code=code("summarise.py"),
    script:
        "../scripts/summarise.py"


rule compare_variants:
    input:
        metrics="results/metrics.csv",
    output:
        comparison=report(
            "results/comparison.csv",
            caption="../report/comparison.rst",
            category="Tables",
            labels={"table": "comparison, variants against the first"},
        ),
    log:
        "logs/compare_variants.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        code=code("compare_variants.py"),
    script:
        "../scripts/compare_variants.py"
