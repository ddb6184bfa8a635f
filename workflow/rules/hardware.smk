rule probe_device:
    output:
        ceiling="results/ceiling.json",
    log:
        "logs/probe_device.log",
    priority: len(RUNS) + 100
    conda:
        "../envs/mfuscope.yaml"
    threads: MEASURING_THREADS
    resources:
        gpu=1,
        turn=1,
    params:
        settings=lambda wildcards: parameters.device_parameters(PLAN),
    script:
        "../scripts/probe_device.py"


rule resolve_hardware:
    input:
        ceiling="results/ceiling.json",
        table=SOURCES / "hardware" / "peaks.csv",
    output:
        hardware="results/hardware.json",
    log:
        "logs/resolve_hardware.log",
    priority: len(RUNS) + 100
    localrule: True
    conda:
        "../envs/mfuscope.yaml"
    params:
        peak_tflops=PLAN.settings.peak_tflops,
        code=code("resolve_hardware.py"),
    script:
        "../scripts/resolve_hardware.py"
