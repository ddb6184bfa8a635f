rule profile:
    input:
        page=ancient(page),
    output:
        run="results/{variant}/runs/{image}/{repeat}.json",
        trace=kept("results/{variant}/traces/{image}/{repeat}.json.gz"),
    log:
        "logs/{variant}/runs/{image}/{repeat}.log",
    priority: turn
    group:
        "measure"
    conda:
        "../envs/mfuscope.yaml"
    threads: MEASURING_THREADS
    resources:
        gpu=1,
        turn=1,
    params:
        settings=lambda wildcards: parameters.run_parameters(PLAN, wildcards.variant),
        sha256=digest,
    script:
        "../scripts/profile.py"


if PLAN.settings.keep_traces == "first":

    use rule profile as profile_again with:
        output:
            run="results/{variant}/runs/{image}/{repeat}.json",
            trace=temp("results/{variant}/traces/{image}/{repeat}.json.gz"),
        wildcard_constraints:
            repeat=r"[1-9]\d*",

    ruleorder: profile_again > profile


rule read_operators:
    input:
        run="results/{variant}/runs/{image}/{repeat}.json",
        trace="results/{variant}/traces/{image}/{repeat}.json.gz",
    output:
        table="results/{variant}/operators/{image}/{repeat}.csv",
        kernels="results/{variant}/kernels/{image}/{repeat}.csv",
        activity="results/{variant}/activity/{image}/{repeat}.json",
    log:
        "logs/{variant}/operators/{image}/{repeat}.log",
    priority: len(RUNS) + 10
    group:
        batch_of_reading
    conda:
        "../envs/mfuscope.yaml"
    # Reading beside a timed pass made decode 5.9 % longer (benchmarks/README.md): it takes turns.
    resources:
        gpu=1,
        turn=1,
        gpu_model=None,
        gres=None,
    params:
        code=code("read_operators.py"),
    script:
        "../scripts/read_operators.py"
