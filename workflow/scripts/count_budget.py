"""Count chosen models at chosen resolutions: results/flops.csv and flops.md."""

from mfuscope.workflow.joblog import job_log

with job_log(snakemake.log[0]):
    from pathlib import Path

    from mfuscope.flops.budget import budget
    from mfuscope.models.spec import resolve_model
    from mfuscope.report.budget import render_budget
    from mfuscope.storage.artefacts import write_text
    from mfuscope.storage.tables import write_table

    bundled = Path(snakemake.scriptdir).resolve().parents[1] / "config" / "models"
    settings = snakemake.params.settings
    specs = [resolve_model(name, "dummy", bundled) for name in settings["models"]]
    rows = budget(specs, settings["resolutions"], settings["prompt"])
    write_table(Path(snakemake.output.table), rows)
    write_text(Path(snakemake.output.markdown), render_budget(rows))
