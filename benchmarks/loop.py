"""The single-process loop of `against_loop`: everything that measures, without Snakemake.

Run in a copy of the workflow's folder; leaves its records and traces in loop/.
"""

import os
from pathlib import Path

from mfuscope.config.settings import load_schema, resolve_settings
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.hardware.ceiling import measure_ceiling
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import open_session
from mfuscope.planning.parameters import device_parameters, run_parameters
from mfuscope.planning.plan import make_plan
from mfuscope.storage.artefacts import write_json
from mfuscope.traces.file import pack_trace


def main() -> None:
    """Measure what the folder's configuration asks for."""
    import yaml

    plan = make_plan(
        resolve_settings(
            file=yaml.safe_load(Path("config/config.yaml").read_text(encoding="utf-8")),
            command_line={},
            environment=os.environ,
            schema=load_schema(Path("workflow/schemas/config.schema.yaml")),
        ),
        bundled_models=Path("config/models"),
    )
    device = device_parameters(plan)
    write_json(Path("loop/ceiling.json"), measure_ceiling(device["device"], device["dtypes"]))
    for variant in plan.variants:
        settings = run_parameters(plan, variant)
        session = open_session(settings["model"], plan.bundled_models)
        for resolution in sorted({plan.resolution(variant, image) for image in plan.pages}):
            counted = calibrate(session, CalibrationKey(variant, resolution))
            write_json(Path(f"loop/{variant}/calibration/{resolution}.json"), counted)
        for image, file in plan.pages.items():
            for repeat in range(plan.settings.repeats):
                plain = Path(f"loop/{variant}/{image}.{repeat}.trace.json")
                run = measure(
                    session,
                    file.path,
                    plain,
                    RunSettings.from_mapping(settings),
                    key=RunKey(variant, image, repeat),
                    max_megapixels=plan.settings.max_image_megapixels,
                    call="19700101T000000Z-000000",  # it is none
                )
                pack_trace(plain, plain.with_suffix(".json.gz"))
                write_json(plain.with_name(f"{image}.{repeat}.json"), run)


if __name__ == "__main__":
    main()
