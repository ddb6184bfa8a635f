rule inspect_images:
    input:
        images=all_pages,
    output:
        table="results/inputs.csv",
    params:
        pages=lambda wildcards: PLAN.pages(),
        code=code_digest("images", "preprocess"),
    log:
        "logs/inspect_images.log",
    conda:
        "../envs/mfuscope.yaml"
    script:
        "../scripts/inspect_images.py"
