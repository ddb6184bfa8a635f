"""Measure what the device sustains: results/ceiling.json."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import write_json
    from mfuscope.hardware.ceiling import measure_ceiling

    settings = snakemake.params.settings
    ceiling = measure_ceiling(settings["device"], settings["dtypes"])
    write_json(Path(snakemake.output.ceiling), ceiling)
