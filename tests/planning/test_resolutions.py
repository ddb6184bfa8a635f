"""Which resolution a generic model's processor makes of which page size, and what is kept of it."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from checkpoints import MODELS
from PIL import Image
from small_calls import SCHEMA, session
from small_models import write_small_model

from mfuscope.config.settings import resolve_settings
from mfuscope.core.errors import UserError, UserErrors
from mfuscope.measure.calibration import calibrate
from mfuscope.models.spec import ModelSpec, resolve_model
from mfuscope.planning import resolutions
from mfuscope.planning.plan import Plan, make_plan
from mfuscope.planning.resolutions import NativeResolutions, size_at
from mfuscope.storage.paths import sizes_path

PROMPT = "Free OCR."


def model(folder: Path, family: str) -> ModelSpec:
    """A model folder of toy size."""
    write_small_model(folder / family, family)
    return resolve_model(str(folder / family), "dummy", MODELS)


def plan(folder: Path, spec: ModelSpec, sizes: list[tuple[int, int]], **more: Any) -> Plan:
    """The plan of a call with pages of these sizes."""
    pages = folder / "pages"
    pages.mkdir(exist_ok=True)
    for width, height in sizes:
        Image.new("RGB", (width, height), "white").save(pages / f"{width}x{height}.png")
    given = {"model": spec.name, "images": str(pages), "device": "cpu", "attention": "auto"}
    settings = resolve_settings(
        given | {"load_format": "dummy", "prompt": PROMPT} | more, {}, {}, SCHEMA
    )
    return make_plan(settings, MODELS, results=folder / "results", known={})


def calibrations(made: Plan) -> set[str]:
    """The resolutions of all calibrations."""
    return {made.calibration(run).resolution for run in made.runs()}


def test_a_processor_of_one_shape_needs_one_calibration(tmp_path: Path) -> None:
    sizes = list(itertools.islice(itertools.product(range(60, 95, 5), range(60, 115, 5)), 77))
    made = plan(tmp_path, model(tmp_path, "llava"), sizes)
    (resolution,) = calibrations(made)
    assert len(made.pages) == 77
    assert resolution.startswith("native-3x")
    assert size_at(tmp_path / "results", "baseline", resolution) in sizes


def test_sizes_that_become_other_shapes_are_other_resolutions(tmp_path: Path) -> None:
    """28 pixels are a patch after merging: the same grid, its transpose, and a larger one."""
    spec = model(tmp_path, "qwen2_vl")
    known = NativeResolutions(spec, PROMPT, None)
    sizes = [(120, 90), (118, 88), (90, 120), (240, 180)]
    first, same, turned, larger = map(known.of, sizes)
    assert first == same
    assert len({first, turned, larger}) == 3


@pytest.mark.parametrize("family", ["got_ocr2", "qwen2_vl", "internvl", "idefics3", "llava_next"])
def test_a_run_has_the_resolution_that_was_planned(tmp_path: Path, family: str) -> None:
    """Its pixels are other ones, in the model's own type; calibration takes any page of it."""
    spec = model(tmp_path, family)
    made = session(Path(spec.name), "eager", prompt=PROMPT)
    for size in ((120, 90), (200, 333)):
        planned = NativeResolutions(spec, PROMPT, None).of(size)
        page = made.inputs(Image.effect_noise(size, 99).convert("RGB"), "auto")
        assert page.resolution == planned
        blank = made.blank_inputs(planned, size)
        shapes = {name: value.shape for name, value in page.tensors.items()}
        assert {name: value.shape for name, value in blank.tensors.items()} == shapes
    with pytest.raises(UserError, match="of a page of 120x90 pixels, and made native-x of it"):
        made.blank_inputs("native-x", (120, 90))


def test_the_file_spares_jobs_and_later_calls_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model(tmp_path, "got_ocr2")
    expected = calibrations(plan(tmp_path, spec, [(70, 50), (50, 70)]))
    asked: list[tuple[int, int]] = []

    def processed(_spec: ModelSpec, _prompt: str, size: tuple[int, int]) -> str:
        asked.append(size)
        return "native-new"

    monkeypatch.setattr(resolutions, "_processed", processed)
    made = plan(tmp_path, spec, [])
    assert calibrations(made) == expected
    assert calibrations(make_plan(made.settings, MODELS, results=tmp_path / "results")) == expected
    assert asked == []
    assert calibrations(plan(tmp_path, spec, [(60, 60)])) == {*expected, "native-new"}
    assert asked == [(60, 60)]
    # Another prompt is tokenized to other numbers, and a damaged file tells nothing.
    del asked[:]
    plan(tmp_path, spec, [], prompt="Read.")
    assert len(asked) == 3
    sizes_path(tmp_path / "results", "baseline").write_text("{")
    plan(tmp_path, spec, [], prompt="Read.")
    assert len(asked) == 6


def test_a_page_that_a_processor_cannot_use_is_one_line(tmp_path: Path) -> None:
    spec = model(tmp_path, "qwen2_vl")
    with pytest.raises(UserErrors) as refused:
        plan(tmp_path, spec, [(60, 60), (2000, 4)])
    (line,) = str(refused.value).splitlines()
    assert "2000x4.png' cannot be measured: the processor of " in line
    assert "fails on a page of 2000x4 pixels" in line
    assert line.endswith("Remedy: leave the page out, or set `on_bad_image: skip`.")
    made = plan(tmp_path, spec, [], on_bad_image="skip")
    assert list(made.pages) == ["60x60.png"]
    assert [page.image for page in made.skipped] == ["2000x4.png"]


def test_what_no_file_knows_is_said(tmp_path: Path) -> None:
    assert size_at(tmp_path, "v", "1024+640x2x3") is None, "the name has the shapes"
    with pytest.raises(UserError, match=r"page_sizes\.json knows no page of the resolution"):
        size_at(tmp_path, "v", "native-3x8x8-0a0a0a")
    spec = model(tmp_path, "got_ocr2")
    NativeResolutions(spec, PROMPT, sizes_path(tmp_path, "v")).learn([(60, 60)])
    with pytest.raises(UserError, match="run the same command again"):
        size_at(tmp_path, "v", "native-3x8x8-0a0a0a")


def test_equal_sizes_share_a_calibration_that_is_theirs(tmp_path: Path) -> None:
    spec = model(tmp_path, "qwen2_vl")
    results = tmp_path / "results"
    made = plan(tmp_path, spec, [(118, 88), (120, 90)])
    (key,) = {made.calibration(run) for run in made.runs()}
    counted = calibrate(
        session(Path(spec.name), "eager", prompt=PROMPT),
        key,
        size_at(results, key.variant, key.resolution),
    )
    assert counted.resolution == key.resolution
    assert counted.prefill_total["counted"]
