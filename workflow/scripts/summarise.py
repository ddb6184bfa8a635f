"""Mean and spread of every metric: results/summary.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.statistics import summarise
    from mfuscope.tables import read_table, write_table

    write_table(
        Path(snakemake.output.summary), summarise(read_table(Path(snakemake.input.metrics)))
    )
