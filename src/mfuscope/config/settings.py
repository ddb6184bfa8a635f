"""Settings: four layers become one checked record, before anything is measured.

Precedence: command line (``--config``) over environment over configuration file over default. The
JSON Schema of the configuration (workflow/schemas/config.schema.yaml) is the one place that lists
types, choices, ranges and defaults.
"""

import copy
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from mfuscope.config.schema import check, defaults, typed, whole
from mfuscope.config.values import check_plain, quoted
from mfuscope.core.dtypes import SHORT_NAMES
from mfuscope.core.errors import Findings, UserError

# Environment variable -> setting. Values are strings; the schema decides what they become.
ENVIRONMENT = {
    "DSOCR_MODEL": "model",
    "DSOCR_IMAGE": "images",
    "DSOCR_DEVICE": "device",
    "DSOCR_USE_FLASH_ATTN": "attention",
    "DSOCR_MAX_NEW_TOKENS": "max_new_tokens",
    "MFU_PEAK_TFLOPS": "peak_tflops",
}
_PREFIXES = ("DSOCR_", "MFU_")  # every other name with one of them is a typo
_FLASH_SWITCH = {"1": "flash", "0": "sdpa"}
_VARIANT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")

BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class ProfilerSettings:
    """What the traced pass records beside calls and times, and of how many decode steps.

    Attributes:
        decode_steps: at the most; None for every step of the run.
    """

    decode_steps: int | None
    record_shapes: bool
    profile_memory: bool
    with_stack: bool


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """What decides how a model is built and fed."""

    model: str
    load_format: str
    dtype: str
    attention: str
    prompt: str


@dataclass(frozen=True, slots=True)
class InferenceSettings(ModelSettings):
    """What a variant may override: the model and how it is run."""

    resolution: str
    max_new_tokens: int
    ignore_eos: bool


@dataclass(frozen=True, slots=True)
class FlopsSettings:
    """What the FLOP budget covers: model names (empty: every bundled one) and resolutions."""

    models: list[str]
    resolutions: list[str]


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that a call of the workflow is told."""

    inference: InferenceSettings
    images: Path
    on_bad_image: str
    max_image_megapixels: float
    device: str
    repeats: int
    warmup: int
    peak_tflops: float | None
    profiler: ProfilerSettings
    keep_traces: str
    keep_alive: float
    run_timeout: float
    start_timeout: float
    flops: FlopsSettings
    variants: Mapping[str, InferenceSettings] = field(default_factory=dict)
    overrides: Mapping[str, Any] = field(default_factory=dict)  # what is not as by default


def resolve_settings(
    file: Mapping[str, Any],
    command_line: Mapping[str, Any],
    environment: Mapping[str, str],
    schema: Mapping[str, Any],
    findings: Findings | None = None,
) -> Settings:
    """Merge the layers, fill in defaults, check everything.

    Args:
        file: the configuration files' content.
        command_line: what ``--config`` set; its scalars may be strings.
        environment: the process's environment.
        schema: the configuration's JSON Schema.
        findings: takes what is wrong, to be told with more. The settings are then those that are
            left without it.

    Raises:
        UserErrors: unknown keys, or values of the wrong type or out of range; every one of them.
            Only without `findings`.
    """
    found = Findings() if findings is None else findings
    given: list[tuple[Mapping[str, Any], str]] = [
        (file, ""),
        (_from_environment(environment, found), " (from the environment)"),
        (command_line, " (--config)"),
    ]
    usual = merged = defaults(schema)
    for layer, origin in given:
        merged = _merge(merged, whole(_checked(layer, origin, schema, found), schema, schema))
    base = InferenceSettings(**_only(merged, InferenceSettings))
    base = replace(base, dtype=SHORT_NAMES.get(base.dtype, base.dtype))
    images = Path(usual["images"])
    with found.collect():
        images = _expanded(merged["images"])
    variants = _variants(base, merged["variants"], found)
    if findings is None:
        found.raise_any()
    return Settings(
        inference=base,
        images=images,
        on_bad_image=merged["on_bad_image"],
        max_image_megapixels=merged["max_image_megapixels"],
        device=merged["device"],
        repeats=merged["repeats"],
        warmup=merged["warmup"],
        peak_tflops=merged["peak_tflops"],
        profiler=ProfilerSettings(**_only(merged["profiler"], ProfilerSettings)),
        keep_traces=merged["profiler"]["keep_traces"],
        keep_alive=merged["worker"]["keep_alive"],
        run_timeout=merged["worker"]["run_timeout"],
        start_timeout=merged["worker"]["start_timeout"],
        flops=FlopsSettings(**merged["flops"]),
        variants=variants,
        overrides=_differing(merged | {"variants": _written_out(merged["variants"])}, usual),
    )


def _checked(
    layer: Mapping[str, Any], origin: str, schema: Mapping[str, Any], findings: Findings
) -> Mapping[str, Any]:
    """What of a layer is right, with the types that the schema asks for; the rest is noted."""

    def fits(values: Mapping[str, Any]) -> bool:
        wrong = Findings()
        check(values, schema, origin, wrong)
        return not wrong

    if not check_plain(layer, origin, findings):
        return {}
    if origin:  # a file's values have their types already
        layer = typed(layer, schema, schema)
        if not check_plain(layer, origin, findings):
            return {}
    noted = Findings()
    check(layer, schema, origin, noted)
    if not noted:
        return layer
    with findings.collect():
        noted.raise_any()
    right = {key: value for key, value in layer.items() if fits({key: value})}
    for key, usual in defaults(schema).items():
        if isinstance(usual, Mapping) and isinstance(layer.get(key), Mapping) and key not in right:
            inner = layer[key].items()
            right[key] = {name: one for name, one in inner if fits({key: {name: one}})}
    return right


def hand_over(settings: Settings, device: str) -> str:
    """Resolved settings for jobs that may run elsewhere, in another environment.

    Args:
        device: what `settings.device` came to.
    """
    return json.dumps(dict(settings.overrides) | {"device": device})


def take_over(text: str, schema: Mapping[str, Any]) -> Settings:
    """The settings that were handed over, whatever this process's environment says."""
    return resolve_settings(json.loads(text), {}, {}, schema)


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"images: {path!r} names the home folder of nobody here ({error})",
            "correct the path in `images` (or DSOCR_IMAGE)",
        ) from error


def _written_out(variants: Mapping[str, Any] | None) -> dict[str, Any]:
    """Variants as they may be given more shortly: `baseline` alone, overriding nothing, is none."""
    found = {name: dict(values or {}) for name, values in (variants or {}).items()}
    return {} if found == {"baseline": {}} else found


def _differing(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not the defaults, nested ones by their own keys."""
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
    """The values that a record has fields for."""
    return {field.name: values[field.name] for field in fields(record)}


def load_schema(path: Path) -> dict[str, Any]:
    """The configuration's JSON Schema from its YAML file."""
    schema: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return schema


def _variants(
    base: InferenceSettings,
    overrides: Mapping[str, Mapping[str, Any] | None],
    findings: Findings,
) -> dict[str, InferenceSettings]:
    variants = {}
    for name, changes in (overrides or {BASELINE: None}).items():
        if not _VARIANT_NAME.fullmatch(name):
            findings.add(
                UserError(
                    f"variants: {quoted(name)} cannot name a folder of results",
                    "use up to 40 letters, digits, '_' and '-'",
                )
            )
        if name == BASELINE and changes:
            findings.add(
                UserError(
                    "variants: 'baseline' overrides settings",
                    "leave it empty, and give the overrides to a variant of another name",
                )
            )
        variants[name] = replace(base, **(changes or {}))
        dtype = variants[name].dtype
        variants[name] = replace(variants[name], dtype=SHORT_NAMES.get(dtype, dtype))
    return variants


def _from_environment(environment: Mapping[str, str], findings: Findings) -> dict[str, Any]:
    layer = {}
    for variable in sorted(environment):
        if variable.startswith(_PREFIXES) and variable not in ENVIRONMENT:
            near = difflib.get_close_matches(variable, ENVIRONMENT, n=1, cutoff=0.5)
            remedy = f"write {near[0]}, or unset it" if near else "unset it"
            findings.add(UserError(f"{variable} (from the environment) sets nothing", remedy))
    for variable, key in ENVIRONMENT.items():
        value = environment.get(variable, "")
        if value == "":
            continue
        if variable == "DSOCR_USE_FLASH_ATTN":
            if value not in _FLASH_SWITCH:
                findings.add(UserError(f"DSOCR_USE_FLASH_ATTN is {value!r}", "set it to 1 or 0"))
                continue
            value = _FLASH_SWITCH[value]
        layer[key] = value
    return layer


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = copy.copy(below)
    for key, value in above.items():
        inner = merged.get(key)
        if key != "variants" and isinstance(inner, dict) and isinstance(value, Mapping):
            merged[key] = _merge(inner, value)
        else:
            merged[key] = value
    return merged
