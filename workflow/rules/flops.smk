# A budget without a GPU and without measuring: `snakemake flops`.
rule count_budget:
    output:
        table="results/flops.csv",
        markdown="results/flops.md",
    log:
        "logs/count_budget.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        settings=lambda wildcards: PLAN.flops_settings(),
        code=code_digest("flops", "models", "geometry", "stages", "report"),
    script:
        "../scripts/count_budget.py"


rule flops:
    input:
        "results/flops.csv",
        "results/flops.md",
