"""Hold each variant against the first one: results/comparison.csv."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.compare.variants import COMPARED, NAMES, compare_variants
    from mfuscope.storage.tables import read_table, write_table

    metrics = read_table(Path(snakemake.input.metrics), names=NAMES, numbers=COMPARED)
    write_table(Path(snakemake.output.comparison), compare_variants(metrics))
