rule inspect_images:
    output:
        table="results/inputs.csv",
    log:
        "logs/inspect_images.log",
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        pages=lambda wildcards: parameters.page_rows(PLAN),
        code=code("inspect_images.py"),
    script:
        "../scripts/inspect_images.py"
