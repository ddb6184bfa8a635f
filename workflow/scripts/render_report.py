"""Render the report: results/report.html, report.md, stakeholder.md and operators.md."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import read_json, write_text
    from mfuscope.records import Calibration, Ceiling, Hardware, Run
    from mfuscope.report.gather import gather
    from mfuscope.report.operators import aggregate_operators
    from mfuscope.report.render import render
    from mfuscope.report.survey import survey_runs
    from mfuscope.tables import read_table

    paths = snakemake.input
    operators = [Path(path) for path in paths.operators]  # results/VARIANT/operators/IMAGE/...
    texts = render(
        gather(
            inputs=read_table(Path(paths.inputs)),
            hardware=read_json(Path(paths.hardware), Hardware),
            ceiling=read_json(Path(paths.ceiling), Ceiling),
            metrics=read_table(Path(paths.metrics)),
            summary=read_table(Path(paths.summary)),
            calibrations=(read_json(Path(path), Calibration) for path in paths.calibrations),
            survey=survey_runs(read_json(Path(path), Run) for path in paths.runs),
            operators=aggregate_operators((p.parts[-4], read_table(p)) for p in operators),
            settings=snakemake.params.settings,
        )
    )
    write_text(Path(snakemake.output.html), texts.html)
    write_text(Path(snakemake.output.markdown), texts.markdown)
    write_text(Path(snakemake.output.stakeholder), texts.stakeholder)
    write_text(Path(snakemake.output.operators), texts.operators)
