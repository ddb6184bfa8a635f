"""Settings: four layers are merged into one checked record before anything is measured.

Precedence: command line (``--config``) over environment over configuration file over default. The
JSON Schema workflow/schemas/config.schema.yaml is the only place that lists types, choices, ranges
and defaults.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from mfuscope.config.environment import read_environment
from mfuscope.config.schema import check, defaults, typed, whole
from mfuscope.config.values import check_plain
from mfuscope.config.variants import BASELINE, check_names
from mfuscope.core.dtypes import SHORT_NAMES
from mfuscope.core.errors import Findings, UserError


@dataclass(frozen=True, slots=True)
class ProfilerSettings:
    """What the traced pass records beside calls and times.

    Attributes:
        decode_steps: how many decode steps are traced at most; None for every step of the run.
    """

    decode_steps: int | None
    record_shapes: bool
    profile_memory: bool
    with_stack: bool


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """The settings that decide how a model is built and which prompt it gets."""

    model: str
    load_format: str
    dtype: str
    attention: str
    prompt: str
    experts: str
    compile: str
    threads: int


@dataclass(frozen=True, slots=True)
class InferenceSettings(ModelSettings):
    """The settings that a variant may override: the model and how it runs."""

    resolution: str
    max_new_tokens: int
    ignore_eos: bool
    cache: str
    batch_size: int
    no_repeat_ngram_size: int
    counters: bool


@dataclass(frozen=True, slots=True)
class FlopsSettings:
    """What `snakemake flops` counts: models (empty: every bundled one) and resolutions."""

    models: list[str]
    resolutions: list[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one call of the workflow.

    Attributes:
        images: files and folders.
        cost_per_hour: of the device, in units of any currency; None where it is not known.
        runtime_dir: the folder in which the workers keep their sockets and locks.
        variants: name -> the settings of that variant; never empty.
        only_on: name of a variant -> the only kind of device that it is for, ``cuda`` or ``cpu``.
        overrides: the given settings that differ from the defaults, as a configuration file would
            hold them; `resolve_settings` makes the same record of them.
    """

    inference: InferenceSettings
    images: tuple[Path, ...]
    on_bad_image: str
    max_image_megapixels: float
    device: str
    repeats: int
    warmup: int
    timed_passes: int
    peak_tflops: float | None
    cost_per_hour: float | None
    profiler: ProfilerSettings
    keep_traces: str
    keep_alive: float
    run_timeout: float
    start_timeout: float
    runtime_dir: Path
    flops: FlopsSettings
    variants: Mapping[str, InferenceSettings] = field(default_factory=dict)
    only_on: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)


def resolve_settings(
    file: Mapping[str, Any],
    command_line: Mapping[str, Any],
    environment: Mapping[str, str],
    schema: Mapping[str, Any],
    findings: Findings | None = None,
) -> Settings:
    """Merge the layers, fill in defaults, check everything.

    Args:
        file: the content of the configuration files.
        command_line: what ``--config`` set; its scalars may be strings.
        environment: the process's environment.
        schema: the configuration's JSON Schema.
        findings: collects the errors, to be reported together with others. The returned settings
            are then made without the wrong values.

    Raises:
        UserErrors: every unknown key, and every value of the wrong type or out of range. Only
            without `findings`.
    """
    found = Findings() if findings is None else findings
    given: list[tuple[Mapping[str, Any], str]] = [
        (file, ""),
        (read_environment(environment, found), " (from the environment)"),
        (command_line, " (--config)"),
    ]
    usual = merged = defaults(schema)
    for values, layer in given:
        merged = _merge(merged, whole(_checked(values, layer, schema, found), schema, schema))
    base = InferenceSettings(**_only(merged, InferenceSettings))
    base = replace(base, dtype=SHORT_NAMES.get(base.dtype, base.dtype))
    images, runtime_dir = [], Path(usual["worker"]["runtime_dir"])
    named = merged["images"]
    for path in named if isinstance(named, list) else [named]:
        with found.collect():
            images.append(_expanded(path, "images", "DSOCR_IMAGE"))
    with found.collect():
        runtime_dir = _expanded(
            merged["worker"]["runtime_dir"], "worker.runtime_dir", "MFUSCOPE_RUNTIME_DIR"
        )
    overrides, only_on = _split_variants(merged["variants"])
    variants = _variants(base, overrides, found)
    if findings is None:
        found.raise_any()
    return Settings(
        inference=base,
        images=tuple(images),
        on_bad_image=merged["on_bad_image"],
        max_image_megapixels=merged["max_image_megapixels"],
        device=merged["device"],
        repeats=merged["repeats"],
        warmup=merged["warmup"],
        timed_passes=merged["timed_passes"],
        peak_tflops=merged["peak_tflops"],
        cost_per_hour=merged["cost_per_hour"],
        profiler=ProfilerSettings(**_only(merged["profiler"], ProfilerSettings)),
        keep_traces=merged["profiler"]["keep_traces"],
        keep_alive=merged["worker"]["keep_alive"],
        run_timeout=merged["worker"]["run_timeout"],
        start_timeout=merged["worker"]["start_timeout"],
        runtime_dir=runtime_dir,
        flops=FlopsSettings(**merged["flops"]),
        variants=variants,
        only_on=only_on,
        overrides=_differing(merged | {"variants": _normalised(merged["variants"])}, usual),
    )


def _checked(
    values: Mapping[str, Any], layer: str, schema: Mapping[str, Any], findings: Findings
) -> Mapping[str, Any]:
    """The valid part of a layer, with the types of the schema; the rest becomes findings."""

    def fits(part: Mapping[str, Any]) -> bool:
        wrong = Findings()
        check(part, schema, layer, wrong)
        return not wrong

    if not check_plain(values, layer, findings):
        return {}
    if layer:  # a file's values have their types already
        values = typed(values, schema, schema)
        if not check_plain(values, layer, findings):
            return {}
    noted = Findings()
    check(values, schema, layer, noted)
    if not noted:
        return values
    with findings.collect():
        noted.raise_any()
    right = {key: value for key, value in values.items() if fits({key: value})}
    for key, usual in defaults(schema).items():
        if isinstance(usual, Mapping) and isinstance(values.get(key), Mapping) and key not in right:
            inner = values[key].items()
            right[key] = {name: one for name, one in inner if fits({key: {name: one}})}
    return right


def _expanded(path: str, setting: str, variable: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"{setting}: {path!r} names the home folder of an unknown user ({error})",
            f"correct the path in `{setting}` (or {variable})",
        ) from error


def _normalised(variants: Mapping[str, Any] | None) -> dict[str, Any]:
    """Variants in one spelling: `baseline` alone without overrides is the same as no variant."""
    found = {name: dict(values or {}) for name, values in (variants or {}).items()}
    return {} if found == {"baseline": {}} else found


def _differing(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from the defaults, nested ones key by key."""
    found = {}
    for key, value in settings.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping) and default:
            value = _differing(value, default)
            default = {}
        if value != default:
            found[key] = value
    return found


def _only(values: Mapping[str, Any], record: type) -> dict[str, Any]:
    """The values for the fields of a record."""
    return {field.name: values[field.name] for field in fields(record)}


def load_schema(path: Path) -> dict[str, Any]:
    """The configuration's JSON Schema from its YAML file."""
    schema: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return schema


def _split_variants(
    variants: Mapping[str, Mapping[str, Any] | None] | None,
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The overrides of each variant, and the only kind of device of those that name one."""
    overrides = {name: dict(values or {}) for name, values in (variants or {}).items()}
    only_on = {name: one.pop("only_on") for name, one in overrides.items() if "only_on" in one}
    return overrides, only_on


def _variants(
    base: InferenceSettings, overrides: Mapping[str, Mapping[str, Any]], findings: Findings
) -> dict[str, InferenceSettings]:
    check_names(overrides, findings)
    variants = {}
    for name, changes in (overrides or {BASELINE: {}}).items():
        if name == BASELINE and changes:
            findings.add(
                UserError(
                    f"variants: {BASELINE!r} overrides settings",
                    "leave it empty, and give the overrides to a variant of another name",
                )
            )
        variant = replace(base, **changes)
        variants[name] = replace(variant, dtype=SHORT_NAMES.get(variant.dtype, variant.dtype))
    return variants


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.copy(below)
    for key, value in above.items():
        inner = merged.get(key)
        if key != "variants" and isinstance(inner, dict) and isinstance(value, Mapping):
            merged[key] = _merge(inner, value)
        else:
            merged[key] = value
    return merged
