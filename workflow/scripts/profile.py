"""Measure one run: results/VARIANT/runs/IMAGE/REPEAT.json and its trace."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]) as call:
    from pathlib import Path

    from mfuscope.core.runs import RunKey
    from mfuscope.worker.jobs import measure_run

    run = snakemake.wildcards
    measure_run(
        call.runtime,
        Path(snakemake.input.page),
        page_sha256=snakemake.params.sha256,
        max_megapixels=call.max_image_megapixels,
        run=Path(snakemake.output.run),
        trace=Path(snakemake.output.trace),
        settings=snakemake.params.settings,
        bundled_models=Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models",
        key=RunKey(run.variant, run.image, int(run.repeat)),
        call=call.id,
    )
