# Config loading and input functions; everything else asks here.

import os
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from mfuscope.errors import UserError
from mfuscope.planning import code_digest, make_plan
from mfuscope.settings import load_schema, resolve_settings

ROOT = Path(workflow.basedir)
SOURCES = ROOT / "src" / "mfuscope"

if "conda" in {str(method) for method in workflow.deployment_settings.deployment_method}:
    # The rules' own environments hold the dependencies but not this package.
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )

try:
    PLAN = make_plan(
        resolve_settings(
            file=config,
            command_line=workflow.config_settings.config,
            environment=os.environ,
            schema=load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml"),
        ),
        bundled_models=ROOT / "config" / "models",
    )
    if workflow.is_main_process:
        PLAN.sizes  # every page's header, before anything starts
except UserError as error:
    raise WorkflowError(f"mfuscope: {error}") from None

REPEATS = range(PLAN.settings.repeats)


wildcard_constraints:
    variant="[A-Za-z0-9][A-Za-z0-9_-]*",
    image="[A-Za-z0-9][A-Za-z0-9_.~-]*",
    repeat=r"\d+",
    resolution=r"[0-9a-z+x-]+",


def say(line):
    """Tell the user something, in order with the progress lines."""
    logger.info(f"mfuscope: {line}")


def page_path(wildcards):
    """The image file of a run."""
    return str(PLAN.images[wildcards.image].path)


def all_pages(wildcards):
    """The image files of the workflow."""
    return [str(image.path) for image in PLAN.images.values()]


def all_calibrations(wildcards):
    """One per variant and resolution that its pages have."""
    return [
        f"results/{variant}/calibration/{resolution}.json"
        for variant in PLAN.variants
        for resolution in PLAN.resolutions(variant)
    ]


def per_run(pattern):
    """An input function: one file per variant, page and repeat."""

    def files(wildcards):
        return [
            pattern.format(variant=variant, image=image, repeat=repeat)
            for variant in PLAN.variants
            for image in PLAN.images
            for repeat in REPEATS
        ]

    return files
