"""What decides each artefact, as sorted mappings: the parameters of rules.

Snakemake makes an artefact again when its parameters change, so each mapping holds all that decides
the artefact and nothing else.
"""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from mfuscope.config.settings import ModelSettings
from mfuscope.core.records import PROTOCOL
from mfuscope.hardware.devices import describe_planned_device
from mfuscope.measure.counters import COUNTED_TOKENS, COUNTING
from mfuscope.models.spec import bundled_names, resolve_model
from mfuscope.pages.categories import category_of, neutralised, read_categories
from mfuscope.planning.plan import Plan


def model_parameters(plan: Plan, variant: str) -> dict[str, Any]:
    """What decides how a variant's model is built and fed."""
    inference = plan.variants[variant]
    return _sorted(
        {field.name: getattr(inference, field.name) for field in fields(ModelSettings)}
        | {
            "device": plan.device,
            "fingerprint": plan.models[variant].fingerprint,
            "protocol": PROTOCOL,
        }
    )


def calibration_parameters(plan: Plan, variant: str) -> dict[str, Any]:
    """What decides a variant's calibrations."""
    return countable(model_parameters(plan, variant))


def countable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Model parameters to count with: those of a model whose every operator can be seen.

    Kernels of flash attention and of experts may bypass the dispatcher, and compiled code does.
    FLOPs follow from shapes, whatever computes: sdpa, and experts as by default, have the same.
    """
    attention = "sdpa" if parameters["attention"] == "flash" else parameters["attention"]
    eager = {"attention": attention, "experts": "auto", "compile": "none", "threads": 0}
    return dict(parameters) | eager


def run_parameters(plan: Plan, variant: str) -> dict[str, Any]:
    """What decides a variant's measurements, beside the page."""
    inference = plan.variants[variant]
    return _sorted(
        {
            "batch_size": inference.batch_size,
            "cache": inference.cache,
            "ignore_eos": inference.ignore_eos,
            "max_new_tokens": inference.max_new_tokens,
            "model": model_parameters(plan, variant),
            "no_repeat_ngram_size": inference.no_repeat_ngram_size,
            "profiler": asdict(plan.settings.profiler),
            "resolution": inference.resolution,
            "timed_passes": plan.settings.timed_passes,
            "warmup": plan.settings.warmup,
        }
    )


def counter_parameters(plan: Plan, variant: str) -> dict[str, Any]:
    """What decides a variant's hardware counters: how it runs, whatever a measurement takes.

    The length of the answer matters for a static cache alone, whose size it is.
    """
    run = run_parameters(plan, variant)
    if run["cache"] == "dynamic":
        run["max_new_tokens"] = min(run["max_new_tokens"], COUNTED_TOKENS)
    run["ignore_eos"] = True
    counted = {key: run[key] for key in run if key not in ("profiler", "timed_passes", "warmup")}
    return _sorted(counted | {"counting": COUNTING})


def device_parameters(plan: Plan) -> dict[str, Any]:
    """What decides the measurement of the device itself: base precision first."""
    dtypes = [plan.settings.inference.dtype]
    dtypes += sorted({variant.dtype for variant in plan.variants.values()} - set(dtypes))
    return {"device": plan.device, "dtypes": dtypes, "protocol": PROTOCOL}


def flops_parameters(plan: Plan) -> dict[str, Any]:
    """What decides the FLOP budget."""
    names = plan.settings.flops.models or bundled_names(plan.bundled_models)
    specs = {name: resolve_model(name, "dummy", plan.bundled_models) for name in names}
    return _sorted(
        {
            "models": {name: spec.fingerprint for name, spec in specs.items()},
            "prompt": plan.settings.inference.prompt,
            "resolutions": list(plan.settings.flops.resolutions),
        }
    )


def page_rows(plan: Plan) -> list[dict[str, Any]]:
    """The rows of inputs.csv."""
    categories = {
        folder: read_categories(folder) for folder in {page.folder for page in plan.pages.values()}
    }
    first = next(iter(plan.variants))
    return [
        {
            "image": image,
            "path": neutralised(str(page.path)),
            "sha256": plan.facts[image].sha256,
            "width": plan.facts[image].width,
            "height": plan.facts[image].height,
            "frames": plan.facts[image].frames,
            "category": neutralised(category_of(page, categories[page.folder])),
            "resolution": plan.resolution(first, image),
        }
        for image, page in plan.pages.items()
    ]


def report_settings(plan: Plan) -> dict[str, Any]:
    """Every setting as it was resolved, for the report."""
    settings = plan.settings
    asked = {
        name: {"attention": "auto"}
        for name in plan.variants
        if settings.variants[name].attention == "auto"
    }
    return _sorted(
        ({"asked": asked} if asked else {})
        | {
            "cost_per_hour": settings.cost_per_hour,
            "device": plan.device,
            "images": ", ".join(map(str, settings.images)),
            "peak_tflops": settings.peak_tflops,
            "profiler": asdict(settings.profiler),
            "repeats": settings.repeats,
            "timed_passes": settings.timed_passes,
            "variants": {name: asdict(inference) for name, inference in plan.variants.items()},
            "warmup": settings.warmup,
        }
    )


def headline(plan: Plan) -> str:
    """What will be measured on what, in one line."""
    models = {f"{spec.name} ({spec.weights} weights)": None for spec in plan.models.values()}
    return f"{', '.join(models)} on the {describe_planned_device(plan.device)}"


def _sorted(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _sorted(value) if isinstance(value, Mapping) else value
        for key, value in sorted(mapping.items())
    }
