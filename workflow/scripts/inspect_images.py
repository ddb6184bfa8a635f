"""List the pages, which were checked before: results/inputs.csv."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.storage.tables import write_table

    write_table(Path(snakemake.output.table), snakemake.params.pages)
