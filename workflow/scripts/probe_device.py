"""Measure what the device sustains: results/ceiling.json."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]) as call:
    from pathlib import Path

    from mfuscope.storage.artefacts import write_json
    from mfuscope.worker.leases import candidates, lease

    settings = snakemake.params.settings
    with lease(call.runtime, candidates(settings["device"])) as held:
        held.device.show_alone()
        from mfuscope.hardware.ceiling import measure_ceiling

        ceiling = measure_ceiling(held.device.torch_name, settings["dtypes"])
    write_json(Path(snakemake.output.ceiling), ceiling)
