rule inspect_images:
    output:
        table="results/inputs.csv",
    log:
        "logs/inspect_images.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        pages=lambda wildcards: PLAN.pages(),
        code=code_digest("images", "image_headers", "preprocess"),
    script:
        "../scripts/inspect_images.py"
