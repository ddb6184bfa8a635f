"""Find the theoretical peaks: results/hardware.json."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import write_json
    from mfuscope.hardware.peaks import resolve_hardware
    from mfuscope.records import Ceiling
    from mfuscope.soundness import read_record

    ceiling = read_record(Path(snakemake.input.ceiling), Ceiling)
    hardware = resolve_hardware(ceiling, snakemake.params.peak_tflops)
    write_json(Path(snakemake.output.hardware), hardware)
