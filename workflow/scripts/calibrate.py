"""Have the FLOPs of one resolution counted: results/VARIANT/calibration/RESOLUTION.json."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.worker.jobs import calibrate

    calibrate(
        Path(snakemake.output.calibration),
        settings=snakemake.params.settings,
        bundled_models=Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models",
        variant=snakemake.wildcards.variant,
        resolution=snakemake.wildcards.resolution,
    )
