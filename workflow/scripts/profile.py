"""Measure one run: results/VARIANT/runs/IMAGE/REPEAT.json and its trace."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import write_json
    from mfuscope.profiling import RunSettings, measure
    from mfuscope.sessions import open_session

    bundled = Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models"
    session = open_session(snakemake.params.settings["model"], bundled)
    run = measure(
        session,
        Path(snakemake.input.image),
        Path(snakemake.output.trace),
        RunSettings.from_mapping(snakemake.params.settings),
        variant=snakemake.wildcards.variant,
        image=snakemake.wildcards.image,
        repeat=int(snakemake.wildcards.repeat),
    )
    write_json(Path(snakemake.output.run), run)
