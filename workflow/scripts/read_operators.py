"""Turn a trace into its operator table: results/VARIANT/operators/IMAGE/REPEAT.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import read_json, write_table
    from mfuscope.operators import operator_table
    from mfuscope.records import Run
    from mfuscope.traces import read_trace

    run = read_json(Path(snakemake.input.run), Run)
    table = operator_table(read_trace(Path(snakemake.input.trace)))
    write_table(Path(snakemake.output.table), table.assign(weights=run.model.weights))
