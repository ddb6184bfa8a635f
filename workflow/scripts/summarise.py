"""Mean and spread of every metric: results/summary.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.statistics import NAMES, SUMMARISED, summarise
    from mfuscope.tables import read_table, write_table

    metrics = read_table(Path(snakemake.input.metrics), names=NAMES, numbers=SUMMARISED)
    write_table(Path(snakemake.output.summary), summarise(metrics))
