"""Find the theoretical peaks: results/hardware.json."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.core.records import Ceiling
    from mfuscope.hardware.peaks import resolve_hardware
    from mfuscope.storage.artefacts import write_json
    from mfuscope.storage.validation import read_record

    ceiling = read_record(Path(snakemake.input.ceiling), Ceiling)
    hardware = resolve_hardware(ceiling, snakemake.params.peak_tflops)
    write_json(Path(snakemake.output.hardware), hardware)
