"""Planning, calibration and a run of the model folders of toy size (`small_models`)."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from checkpoints import MODELS, ROOT
from PIL import Image
from small_models import ENCODER_DECODERS, FAMILIES, FIRST_MARK, OTHERS

from mfuscope.config.settings import ModelSettings, load_schema, resolve_settings
from mfuscope.core import records
from mfuscope.core.cache import held_bytes
from mfuscope.core.runs import CalibrationKey
from mfuscope.flops.meta import build_on_meta
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.one_pass import timed_call
from mfuscope.measure.session import Generation, Session
from mfuscope.measure.stages import StageTimes
from mfuscope.models.parts import find_decoder
from mfuscope.models.spec import resolve_model
from mfuscope.planning.plan import Plan, make_plan

SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


def plan(folder: Path, **more: Any) -> Plan:
    """The plan of a call with a model folder; `more` are settings."""
    given = {"model": str(folder), "images": str(PAGE), "device": "cpu", "load_format": "dummy"}
    return make_plan(resolve_settings(given | more, {}, {}, SCHEMA), MODELS, known={})


def on_meta(family: str) -> Any:
    """A family's model without its weights."""
    from transformers import AutoConfig, AutoModelForImageTextToText

    marks, _, files = (FAMILIES | OTHERS | ENCODER_DECODERS)[family]
    made = files({mark: FIRST_MARK + number for number, mark in enumerate(marks)})["config"]
    config = AutoConfig.for_model(**made)
    model_class: Any = AutoModelForImageTextToText._model_mapping[type(config)]
    return build_on_meta(model_class, config, "eager")


def session(
    folder: Path, attention: str = "sdpa", load_format: str = "dummy", prompt: str = "Free OCR."
) -> Session:
    """A session on the CPU, in fp32."""
    name = str(folder)
    settings = ModelSettings(name, load_format, "fp32", attention, prompt, "auto", "none", 1)
    return Session(resolve_model(name, load_format, MODELS), settings, "cpu", traces=False)


def change_config(folder: Path, **parts: dict[str, Any]) -> None:
    """Change values in parts of a folder's config."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for part, values in parts.items():
        config[part] |= values
    path.write_text(json.dumps(config))


@contextmanager
def given_caches(model: Any) -> Iterator[list[Any]]:
    """The caches that a model's decoder is given in the body, a new one for each call."""
    found: list[Any] = []

    def note(_module: object, _args: object, given: dict[str, Any]) -> None:
        cache = given.get("past_key_values")
        if cache is not None and all(one is not cache for one in found):
            found.append(cache)

    handles = [one.register_forward_pre_hook(note, with_kwargs=True) for one in find_decoder(model)]
    yield found
    for handle in handles:
        handle.remove()


def tensor_bytes(cache: Any) -> int:
    """Bytes of every tensor of numbers that a cache holds, wherever it is."""
    if isinstance(cache, torch.Tensor):
        return cache.nbytes if cache.is_floating_point() else 0
    if isinstance(cache, dict):
        return sum(map(tensor_bytes, cache.values()))
    if isinstance(cache, list | tuple):
        return sum(map(tensor_bytes, cache))
    return tensor_bytes(vars(cache)) if hasattr(cache, "__dict__") else 0


SIZE = 120, 90  # of a small page, in pixels


def small_key(made: Session) -> CalibrationKey:
    """The calibration of a small page."""
    return CalibrationKey("v", made.inputs(Image.new("RGB", SIZE), "auto").resolution)


def run_small(made: Session) -> records.Calibration:
    """Calibrate for a page's size, then run two copies of a page; both agree on its tokens."""
    calibration = calibrate(made, small_key(made), SIZE)
    assert (calibration.prefill_total["counted"] or 0) > 0
    first, second = (step.total["counted"] for step in calibration.decode_steps)
    assert first is not None
    assert second is not None
    assert second >= first > 0
    page = made.inputs(Image.new("RGB", SIZE, "grey"), "auto")
    assert page.prompt_tokens == calibration.prompt_tokens
    with given_caches(made.model) as caches:
        times, tokens = timed_call(made, page, Generation(3, ignore_eos=True, batch_size=2), None)
    assert calibration.cache is not None, calibration.absent
    assert tensor_bytes(caches[-1]) == 2 * held_bytes(calibration.cache, page.prompt_tokens + 2)
    assert tokens.shape == (2, 3)
    assert times.forwards == 3
    assert len(times.step_ms) == 2
    _check_parts(times, calibration)
    return calibration


def _check_parts(times: StageTimes, calibration: records.Calibration) -> None:
    """Parts ran in prefill, one after the other, and all FLOPs are theirs or the LM head's."""
    parts = times.vision_ms, times.projector_ms, times.language_prefill_ms
    assert parts[0]
    assert parts[2]
    assert 0 < sum(ms or 0.0 for ms in parts) < times.prefill_ms
    flops = calibration.prefill_flops
    assert flops.keys() - {"projector"} == {"vision", "language_model", "lm_head"}
    assert ("projector" in flops) == (times.projector_ms is not None)
    step = calibration.decode_steps[0].flops
    assert step.keys() == {"language_model", "lm_head"}
