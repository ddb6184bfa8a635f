"""Mean and spread of every metric: results/summary.csv."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.metrics.statistics import NAMES, SUMMARISED, summarise
    from mfuscope.storage.tables import read_table, write_table

    metrics = read_table(Path(snakemake.input.metrics), names=NAMES, numbers=SUMMARISED)
    write_table(Path(snakemake.output.summary), summarise(metrics))
