"""Count what the hardware does at a resolution: results/VARIANT/counters/RESOLUTION.json, .csv."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]) as call:
    from pathlib import Path

    from mfuscope.core.runs import CalibrationKey
    from mfuscope.worker.counting import count_hardware

    count_hardware(
        call.runtime,
        Path(snakemake.input.page),
        max_megapixels=call.max_image_megapixels,
        record=Path(snakemake.output.counters),
        table=Path(snakemake.output.launches),
        settings=snakemake.params.settings,
        bundled_models=Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models",
        key=CalibrationKey(snakemake.wildcards.variant, snakemake.wildcards.resolution),
    )
