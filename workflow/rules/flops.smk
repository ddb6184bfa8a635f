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
        settings=lambda wildcards: parameters.flops_parameters(PLAN),
        code=code("count_budget.py"),
    script:
        "../scripts/count_budget.py"


rule flops:
    input:
        "results/flops.csv",
        "results/flops.md",
