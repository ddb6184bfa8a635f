"""Derive every run's metrics: results/metrics.csv."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    import os
    from pathlib import Path

    from mfuscope.core.records import Activity, Calibration, Ceiling, Hardware, Run
    from mfuscope.hardware.devices import describe_versions, handed_over
    from mfuscope.metrics.runs import metrics_table
    from mfuscope.provenance.consistency import Present, check_alike
    from mfuscope.provenance.facts import Origin
    from mfuscope.storage.artefacts import read_json
    from mfuscope.storage.naming import check_names
    from mfuscope.storage.tables import read_table, write_table
    from mfuscope.storage.validation import read_record

    paths = snakemake.input
    again = Path(snakemake.log[0]).with_name("measure_again.txt")
    check_names(map(Path, paths.runs), map(Path, paths.calibrations), again)
    hardware = read_record(Path(paths.hardware), Hardware)
    ceiling = read_record(Path(paths.ceiling), Ceiling)
    inputs = read_table(Path(paths.inputs), names=("image", "sha256"))
    check_alike(
        (read_json(Path(path), Origin) for path in paths.runs),
        Present(
            here=handed_over(os.environ),
            ceiling=ceiling,
            installed=describe_versions,
            settings=snakemake.params.settings,
            pages=dict(zip(inputs["image"], inputs["sha256"], strict=True)),
        ),
        hardware.device,
        results=Path(snakemake.output.metrics).parent,
        listing=again,
    )
    calibrations = [read_record(Path(path), Calibration) for path in paths.calibrations]
    table = metrics_table(
        (read_record(Path(path), Run) for path in paths.runs),
        (read_record(Path(path), Activity) for path in paths.activities),
        {(c.variant, c.resolution): c for c in calibrations},
        hardware,
        ceiling,
    )
    write_table(Path(snakemake.output.metrics), table)
