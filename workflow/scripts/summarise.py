"""Mean and spread of every metric: results/summary.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import read_table, write_table
    from mfuscope.statistics import summarise

    write_table(
        Path(snakemake.output.summary), summarise(read_table(Path(snakemake.input.metrics)))
    )
