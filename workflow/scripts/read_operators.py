"""Turn a trace into its operator table: results/VARIANT/operators/IMAGE/REPEAT.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import write_table
    from mfuscope.operators import operator_table
    from mfuscope.traces import read_trace

    trace = read_trace(Path(snakemake.input.trace))
    write_table(Path(snakemake.output.table), operator_table(trace))
