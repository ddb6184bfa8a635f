rule probe_device:
    output:
        ceiling="results/ceiling.json",
    params:
        settings=PLAN.device_settings(),
    resources:
        gpu=1,
    log:
        "logs/probe_device.log",
    conda:
        "../envs/mfuscope.yaml"
    script:
        "../scripts/probe_device.py"


rule resolve_hardware:
    input:
        ceiling="results/ceiling.json",
        table=SOURCES / "hardware" / "peaks.csv",
    output:
        hardware="results/hardware.json",
    params:
        peak_tflops=PLAN.settings.peak_tflops,
        code=code_digest("hardware/peaks"),
    log:
        "logs/resolve_hardware.log",
    conda:
        "../envs/mfuscope.yaml"
    script:
        "../scripts/resolve_hardware.py"
