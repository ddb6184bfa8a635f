"""Derive every run's metrics: results/metrics.csv."""

from mfuscope.jobs import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.artefacts import read_json
    from mfuscope.metrics import metrics_table
    from mfuscope.records import Activity, Calibration, Ceiling, Hardware, Run
    from mfuscope.tables import write_table

    calibrations = [read_json(Path(path), Calibration) for path in snakemake.input.calibrations]
    table = metrics_table(
        (read_json(Path(path), Run) for path in snakemake.input.runs),
        (read_json(Path(path), Activity) for path in snakemake.input.activities),
        {(c.variant, c.resolution): c for c in calibrations},
        read_json(Path(snakemake.input.hardware), Hardware),
        read_json(Path(snakemake.input.ceiling), Ceiling),
    )
    write_table(Path(snakemake.output.metrics), table)
