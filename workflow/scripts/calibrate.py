"""Count the FLOPs of one resolution: results/VARIANT/calibration/RESOLUTION.json."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import write_json
    from mfuscope.calibration import calibrate, countable
    from mfuscope.sessions import open_session

    bundled = Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models"
    session = open_session(countable(snakemake.params.settings), bundled)
    calibration = calibrate(
        session, snakemake.wildcards.resolution, variant=snakemake.wildcards.variant
    )
    write_json(Path(snakemake.output.calibration), calibration)
