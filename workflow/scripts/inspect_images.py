"""Decode every page: results/inputs.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.images import inspect_pages
    from mfuscope.tables import write_table

    write_table(Path(snakemake.output.table), inspect_pages(snakemake.params.pages))
