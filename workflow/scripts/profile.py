"""Have one run measured: results/VARIANT/runs/IMAGE/REPEAT.json and its trace."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.worker.jobs import measure_run

    measure_run(
        Path(snakemake.params.page["path"]),
        page_sha256=snakemake.params.page["sha256"],
        run=Path(snakemake.output.run),
        trace=Path(snakemake.output.trace),
        settings=snakemake.params.settings,
        bundled_models=Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models",
        variant=snakemake.wildcards.variant,
        image=snakemake.wildcards.image,
        repeat=int(snakemake.wildcards.repeat),
    )
