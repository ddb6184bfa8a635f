rule render_report:
    input:
        inputs="results/inputs.csv",
        hardware="results/hardware.json",
        ceiling="results/ceiling.json",
        metrics="results/metrics.csv",
        summary="results/summary.csv",
        calibrations=all_calibrations,
        runs=per_run("results/{variant}/runs/{image}/{repeat}.json"),
        operators=per_run("results/{variant}/operators/{image}/{repeat}.csv"),
        templates=sorted((SOURCES / "report" / "templates").iterdir()),
    output:
        html=report(
            "results/report.html",
            caption="../report/report.rst",
            category="Report",
            labels={"page": "report"},
        ),
        markdown="results/report.md",
        stakeholder="results/stakeholder.md",
        operators="results/operators.md",
    log:
        "logs/render_report.log",
    conda:
        "../envs/mfuscope.yaml"
    params:
        settings=PLAN.public_settings(),
        code=code_digest("report", "metrics", "statistics"),
    script:
        "../scripts/render_report.py"
