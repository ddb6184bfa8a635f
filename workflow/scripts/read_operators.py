"""Turn a trace into its operator table, its kernel table and its stages' activity.

Writes IMAGE/REPEAT.csv in results/VARIANT/operators and in results/VARIANT/kernels, and
results/VARIANT/activity/IMAGE/REPEAT.json.
"""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    import time

    started = time.time()

    from dataclasses import replace
    from pathlib import Path

    from mfuscope.core.records import Run
    from mfuscope.core.runs import RunKey
    from mfuscope.core.versions import host_id
    from mfuscope.storage.artefacts import write_columns, write_json
    from mfuscope.storage.validation import check_trace, read_record
    from mfuscope.traces.activity import activity
    from mfuscope.traces.columns import read_trace
    from mfuscope.traces.kernels import kernel_table
    from mfuscope.traces.operators import operator_table
    from mfuscope.traces.step_timeline import median_step

    run = read_record(Path(snakemake.input.run), Run)
    trace_path = Path(snakemake.input.trace)
    check_trace(trace_path, run)
    trace = read_trace(trace_path)
    table_bytes = {}
    for kind, table, path in (
        ("operators", operator_table(trace), snakemake.output.table),
        ("kernels", kernel_table(trace), snakemake.output.kernels),
    ):
        weights = [run.model.weights] * len(table["stage"])
        table_bytes[kind] = write_columns(Path(path), table | {"weights": weights})
    key, steps = RunKey(run.variant, run.image, run.repeat), run.traced.new_tokens - 1
    found = activity(trace, key, run.model.weights, steps)
    step, lacking = None, "only a page's first repeat has it"
    if run.repeat == 0:
        step, lacking = median_step(trace, steps)
    found = replace(
        found,
        step=step,
        absent=found.absent if step else found.absent | {"step": lacking},
        table_bytes=table_bytes,
        reading_started=round(started, 3),
        reading_ended=round(time.time(), 3),
        host=host_id(),
    )
    # Last: it records how long the tables are.
    write_json(Path(snakemake.output.activity), found)
