"""mfuscope: page-by-page MFU of vision-language OCR models."""

from snakemake.utils import min_version

min_version("9.20")


configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


include: "workflow/rules/common.smk"
include: "workflow/rules/measuring.smk"
include: "workflow/rules/inspect.smk"
include: "workflow/rules/hardware.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/counters.smk"
include: "workflow/rules/profile.smk"
include: "workflow/rules/aggregate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/flops.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        "results/report.md",
        "results/report.json",
        "results/stakeholder.md",
        "results/stakeholder.html",
        "results/operators.md",
        "results/figures/roofline.svg",
        "results/figures/decode_steps.svg",
        "results/figures/time.svg",
        "results/figures/answer_length.svg",
        "results/figures/operator_roofline.svg",
        # The reports need these too, but would not miss one that was removed.
        "results/inputs.csv",
        "results/ceiling.json",
        "results/hardware.json",
        "results/metrics.csv",
        "results/summary.csv",
        "results/comparison.csv",
        all_calibrations,
        counters_there,
        per_run("results/{variant}/runs/{image}/{repeat}.json"),
        per_run("results/{variant}/operators/{image}/{repeat}.csv"),


onstart:
    reported(HOOKS.start)


onsuccess:
    HOOKS.succeed()


onerror:
    HOOKS.fail(ROOT / "Snakefile")
