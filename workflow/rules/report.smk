from mfuscope.storage.paths import RunPaths

# Of each variant the run with a decode step to draw: the first repeat of its first page.
DRAWN = {run.variant: run for run in sorted(REPORTED, key=lambda run: run.repeat)[::-1]}


rule render_report:
    input:
        inputs="results/inputs.csv",
        hardware="results/hardware.json",
        ceiling="results/ceiling.json",
        metrics="results/metrics.csv",
        summary="results/summary.csv",
        comparison="results/comparison.csv",
        calibrations=all_calibrations,
        counters=counters_there,
        runs=per_run("results/{variant}/runs/{image}/{repeat}.json"),
        operators=per_run("results/{variant}/operators/{image}/{repeat}.csv"),
        kernels=per_run("results/{variant}/kernels/{image}/{repeat}.csv"),
        activities=lambda wildcards: [
            str(RunPaths.of(RESULTS, run).activity) for run in DRAWN.values()
        ],
        templates=sorted((SOURCES / "report" / "templates").iterdir()),
    output:
        html=report(
            "results/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "the whole report"},
        ),
        markdown="results/report.md",
        head="results/report.json",
        stakeholder=report(
            "results/stakeholder.md",
            caption="../report/stakeholder.rst",
            category="Report",
            labels={"page": "one page in plain language, as Markdown"},
        ),
        stakeholder_html=report(
            "results/stakeholder.html",
            caption="../report/stakeholder.rst",
            category="Report",
            labels={"page": "one page in plain language"},
        ),
        operators=report(
            "results/operators.md",
            caption="../report/operators.rst",
            category="Tables",
            labels={"table": "operators and kernels, mean over runs"},
        ),
        roofline=report(
            "results/figures/roofline.svg",
            caption="../report/roofline.rst",
            category="Figures",
            labels={"figure": "roofline"},
        ),
        decode_steps=report(
            "results/figures/decode_steps.svg",
            caption="../report/decode_steps.rst",
            category="Figures",
            labels={"figure": "decode steps"},
        ),
        time=report(
            "results/figures/time.svg",
            caption="../report/time.rst",
            category="Figures",
            labels={"figure": "where the time goes"},
        ),
        answer_length=report(
            "results/figures/answer_length.svg",
            caption="../report/answer_length.rst",
            category="Figures",
            labels={"figure": "answers of other lengths"},
        ),
        operator_roofline=report(
            "results/figures/operator_roofline.svg",
            caption="../report/operator_roofline.rst",
            category="Figures",
            labels={"figure": "roofline of operators"},
        ),
    log:
        "logs/render_report.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        settings=lambda wildcards: parameters.report_settings(PLAN),
        command=lambda wildcards: command_line(PLAN.settings.overrides, PLAN.left_out),
        skipped=lambda wildcards: [asdict(page) for page in PLAN.skipped],
        missing=lambda wildcards: [asdict(run) for run in MISSING],
        code=code("render_report.py"),
    script:
        "../scripts/render_report.py"
