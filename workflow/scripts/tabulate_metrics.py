"""Derive every run's metrics: results/metrics.csv."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.core.counters import Counters
    from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
    from mfuscope.metrics.run_metrics import metrics_table
    from mfuscope.provenance.consistency import check_consistent
    from mfuscope.provenance.facts import read_provenance
    from mfuscope.storage.tables import read_table, write_table
    from mfuscope.storage.validation import read_record

    paths = snakemake.input
    hardware = read_record(Path(paths.hardware), Hardware)
    ceiling = read_record(Path(paths.ceiling), Ceiling)
    inputs = read_table(Path(paths.inputs), names=("image", "sha256"))
    check_consistent(
        (read_provenance(Path(path)) for path in paths.runs),
        ceiling=ceiling,
        hardware=hardware.device,
        settings=snakemake.params.settings,
        pages=dict(zip(inputs["image"], inputs["sha256"], strict=True)),
        results=Path(snakemake.output.metrics).parent,
        listing=Path(snakemake.log[0]).with_name("measure_again.txt"),
    )
    calibrations = [read_record(Path(path), Calibration) for path in paths.calibrations]
    counters = [read_record(Path(path), Counters) for path in paths.counters]
    table = metrics_table(
        (read_record(Path(path), Run) for path in paths.runs),
        (read_record(Path(path), Activity) for path in paths.activities),
        {(c.variant, c.resolution): c for c in calibrations},
        hardware,
        ceiling,
        {(c.variant, c.resolution): c for c in counters},
    )
    write_table(Path(snakemake.output.metrics), table)
