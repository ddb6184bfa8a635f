"""Turn a trace into its operator table, its kernel table and its stages' activity.

Writes IMAGE/REPEAT.csv in results/VARIANT/operators and in results/VARIANT/kernels, and
results/VARIANT/activity/IMAGE/REPEAT.json.
"""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import read_json, write_columns, write_json
    from mfuscope.kernels import kernel_table
    from mfuscope.operators import operator_table
    from mfuscope.records import Run
    from mfuscope.traces import activity, read_trace

    run = read_json(Path(snakemake.input.run), Run)
    trace = read_trace(Path(snakemake.input.trace))
    for table, path in (
        (operator_table(trace), snakemake.output.table),
        (kernel_table(trace), snakemake.output.kernels),
    ):
        weights = [run.model.weights] * len(table["stage"])
        write_columns(Path(path), table | {"weights": weights})
    write_json(Path(snakemake.output.activity), activity(trace, run.model.weights))
