# `inspected` makes sure that every page can be read before any is measured; being ancient, it
# never is a reason to measure again.
rule profile:
    input:
        image=page_path,
        inspected=ancient("results/inputs.csv"),
    output:
        run="results/{variant}/runs/{image}/{repeat}.json",
        trace="results/{variant}/traces/{image}/{repeat}.json.gz",
    params:
        settings=lambda wildcards: PLAN.run_settings(wildcards.variant),
    resources:
        gpu=1,
    log:
        "logs/{variant}/runs/{image}/{repeat}.log",
    conda:
        "../envs/mfuscope.yaml"
    script:
        "../scripts/profile.py"


rule read_operators:
    input:
        trace="results/{variant}/traces/{image}/{repeat}.json.gz",
    output:
        table="results/{variant}/operators/{image}/{repeat}.csv",
    params:
        code=code_digest("traces", "operators"),
    log:
        "logs/{variant}/operators/{image}/{repeat}.log",
    conda:
        "../envs/mfuscope.yaml"
    script:
        "../scripts/read_operators.py"
