"""Render the report: its page, its Markdown, its head as JSON, and its figures."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.compare import variants
    from mfuscope.core.counters import Counters
    from mfuscope.core.records import (
        Activity,
        Calibration,
        Ceiling,
        Hardware,
        MissingRun,
        Run,
        SkippedPage,
    )
    from mfuscope.core.versions import commit
    from mfuscope.metrics.counted import traffic
    from mfuscope.metrics.statistics import NAMES, SUMMARISED
    from mfuscope.metrics.totals import TOTALS
    from mfuscope.report.gather import gather
    from mfuscope.report.head import head
    from mfuscope.report.operator_flops import works
    from mfuscope.report.operators import aggregate_kernels, aggregate_operators
    from mfuscope.report.render import render
    from mfuscope.report.survey import survey_runs
    from mfuscope.report.traced_steps import traced_step
    from mfuscope.storage.artefacts import write_json, write_text
    from mfuscope.storage.paths import run_key
    from mfuscope.storage.tables import read_table
    from mfuscope.storage.validation import check_table, read_record

    paths = snakemake.input

    def per_variant(tables):
        """Each table with its variant, from results/VARIANT/KIND/IMAGE/REPEAT.csv."""
        for path in map(Path, tables):
            check_table(path)
            yield path.parts[-4], read_table(path)

    calibrations = [read_record(Path(path), Calibration) for path in paths.calibrations]
    counters = [
        (read_record(Path(path), Counters), read_table(Path(path).with_suffix(".csv")))
        for path in paths.counters
    ]
    moved = {(one.variant, one.resolution): traffic(table) for one, table in counters if one.stages}
    survey = survey_runs(read_record(Path(path), Run) for path in paths.runs)
    keys = (run_key(Path(path)) for path in paths.operators)
    data = gather(
        inputs=read_table(Path(paths.inputs)),
        hardware=read_record(Path(paths.hardware), Hardware),
        ceiling=read_record(Path(paths.ceiling), Ceiling),
        metrics=read_table(Path(paths.metrics), names=NAMES, numbers=SUMMARISED),
        summary=read_table(
            Path(paths.summary), names=(*NAMES, "metric"), numbers=("n", "mean", *TOTALS)
        ),
        comparison=read_table(
            Path(paths.comparison), names=variants.COLUMNS, numbers=variants.NUMBERS
        ),
        calibrations=calibrations,
        survey=survey,
        operators=aggregate_operators(
            per_variant(paths.operators), works(keys, survey.traced, calibrations, moved)
        ),
        kernels=aggregate_kernels(per_variant(paths.kernels)),
        settings=snakemake.params.settings,
        command=snakemake.params.command,
        skipped=[SkippedPage(**page) for page in snakemake.params.skipped],
        missing=[MissingRun(**run) for run in snakemake.params.missing],
        commit=commit()[0],
        counters=counters,
        traced_steps=[
            traced_step(read_record(path, Activity), path.parents[3])
            for path in map(Path, paths.activities)
        ],
    )
    texts = render(data)
    write_json(Path(snakemake.output.head), head(data))
    write_text(Path(snakemake.output.html), texts.html)
    write_text(Path(snakemake.output.markdown), texts.markdown)
    write_text(Path(snakemake.output.stakeholder), texts.stakeholder)
    write_text(Path(snakemake.output.stakeholder_html), texts.stakeholder_html)
    write_text(Path(snakemake.output.operators), texts.operators)
    for name, svg in texts.figures.items():
        write_text(Path(snakemake.output[name]), svg)
