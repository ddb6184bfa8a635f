"""Count the FLOPs of one resolution: results/VARIANT/calibration/RESOLUTION.json."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]) as call:
    from pathlib import Path

    from mfuscope.core.runs import CalibrationKey
    from mfuscope.planning.resolutions import size_at
    from mfuscope.worker.jobs import calibrate

    key = CalibrationKey(snakemake.wildcards.variant, snakemake.wildcards.resolution)
    calibrate(
        call.runtime,
        Path(snakemake.output.calibration),
        settings=snakemake.params.settings,
        bundled_models=Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models",
        key=key,
        size=size_at(Path("results"), key.variant, key.resolution),
    )
