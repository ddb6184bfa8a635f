"""What one call of the workflow has to do: settings resolved, models found, pages checked.

Runs before every call, so it stays light: no torch, JSON files and pages only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from mfuscope.config.settings import InferenceSettings, Settings
from mfuscope.core.errors import Findings, UserError, UserErrors
from mfuscope.core.records import SkippedPage
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.hardware.devices import check_bf16, check_device_visible, plan_device
from mfuscope.hardware.threads import asked_threads
from mfuscope.models.context import check_planned_context_limit
from mfuscope.models.spec import ModelSpec, resolve_model
from mfuscope.models.support import check_cache, model_notes, pick_attention
from mfuscope.pages.checks import check_pages, skipped_page
from mfuscope.pages.decoding import PageFacts, digest_page, page_size
from mfuscope.pages.discovery import PageFile, UnusablePage, find_pages
from mfuscope.planning.combinations import check_combination, check_flops
from mfuscope.planning.host import (
    check_batch,
    check_compiler,
    check_experts_package,
)
from mfuscope.planning.resolutions import NativeResolutions
from mfuscope.planning.variants import add_named, suitable_variants
from mfuscope.storage.paths import sizes_path

_DEFAULT_MODEL = {"cuda": "deepseek-ocr", "cpu": "deepseek-ocr-nano"}


@dataclass(frozen=True)
class Plan:
    """Settings with everything looked up that they name.

    Attributes:
        settings: as resolved.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        variants: name -> inference settings, model names resolved (no ``auto``), of those variants
            that are for the device. The first one is the reference.
        models: variant -> its model.
        native: variant of a generic model -> the resolutions of page sizes.
        pages: id -> page, in the order of discovery.
        bundled_models: the folder of the bundled model folders.
        facts: id -> digest, size and frames; empty in a job, which needs its own page alone.
        skipped: pages that are left out.
        notes: what a user should know of the models, a line each.
    """

    settings: Settings
    device: str
    variants: Mapping[str, InferenceSettings]
    models: Mapping[str, ModelSpec]
    native: Mapping[str, NativeResolutions]
    pages: Mapping[str, PageFile]
    bundled_models: Path
    facts: Mapping[str, PageFacts] = field(default_factory=dict)
    skipped: Sequence[SkippedPage] = ()
    notes: Sequence[str] = ()

    @property
    def left_out(self) -> list[str]:
        """Names of the variants that are for the other kind of device."""
        return [name for name in self.settings.variants if name not in self.variants]

    def digest(self, image: str) -> str:
        """SHA-256 of a page.

        Raises:
            UserError: the page cannot be read.
        """
        if image in self.facts:
            return self.facts[image].sha256
        return digest_page(self.pages[image].path)

    def resolution(self, variant: str, image: str) -> str:
        """Canonical resolution of a page in a variant.

        Raises:
            UserError: the page cannot be read, or the model's processor cannot use it.
        """
        size = self._size(image)
        geometry = self.models[variant].geometry(*size, self.variants[variant].resolution)
        return geometry.resolution if geometry else self.native[variant].of(size)

    def _resolutions(self, variant: str) -> list[str]:
        """Canonical resolutions of the checked pages in a variant."""
        return sorted({self.resolution(variant, image) for image in self.facts})

    def _size(self, image: str) -> tuple[int, int]:
        if image in self.facts:
            return self.facts[image].width, self.facts[image].height
        return page_size(self.pages[image].path, self.settings.max_image_megapixels)

    def runs(self) -> list[RunKey]:
        """Every run: one per variant, page and repeat, in the order of the tables."""
        return [
            RunKey(variant, image, repeat)
            for variant in self.variants
            for image in self.pages
            for repeat in range(self.settings.repeats)
        ]

    def calibration(self, run: RunKey) -> CalibrationKey:
        """The calibration that a run needs."""
        return CalibrationKey(run.variant, self.resolution(run.variant, run.image))

    def counts_hardware(self, variant: str) -> bool:
        """Whether hardware counters are to be read for a variant."""
        return self.device != "cpu" and self.variants[variant].counters

    def check_counters(self) -> None:
        """Check that the device that measures has hardware counters.

        Raises:
            UserError: it is a CPU.
        """
        if self.device == "cpu":
            raise UserError(
                "counters: Nsight Compute counts on CUDA GPUs, and the CPU measures",
                "leave `counters` out, or set `device: cuda`",
            )

    def pages_at(self, key: CalibrationKey) -> list[Path]:
        """The pages of a resolution in a variant.

        Raises:
            UserError: there is none.
        """
        paths = [
            page.path
            for image, page in self.pages.items()
            if self.resolution(key.variant, image) == key.resolution
        ]
        if not paths:
            raise UserError(
                f"images: no page has the resolution {key.resolution} in the variant {key.variant}",
                "name another resolution (inputs.csv has those of the first variant)",
            )
        return paths

    def check_device(self) -> None:
        """Check that the planned device is visible to this host and has what the variants need.

        Raises:
            UserError: it is not.
            UserErrors: everything that the device or this host has not.
        """
        check_device_visible(self.device)
        by_variant = {name: Findings() for name in self.variants}
        for name, inference in self.variants.items():
            found = by_variant[name]
            with found.collect():
                if inference.dtype == "bf16":
                    check_bf16(self.device)
            with found.collect():
                check_compiler(inference, self.device)
            with found.collect():
                asked_threads(inference.threads)
            with found.collect():
                check_experts_package(inference)
            for resolution in self._resolutions(name):
                with found.collect():
                    check_batch(inference, self.models[name], resolution, self.device)
        findings = Findings()
        add_named(findings, by_variant)
        findings.raise_any()

    def refused_pages(self) -> list[UnusablePage]:
        """The pages that the processor of a generic model cannot use, each once."""
        found: dict[str, UnusablePage] = {}
        for native in self.native.values():
            refused = native.learn((facts.width, facts.height) for facts in self.facts.values())
            for image, facts in self.facts.items():
                error = refused.get((facts.width, facts.height))
                if error is not None and image not in found:
                    path = self.pages[image].path
                    why = error.problem.removeprefix("model: ")
                    remedy = "leave the page out, or set `on_bad_image: skip`"
                    told = UserError(f"images: {str(path)!r} cannot be measured: {why}", remedy)
                    found[image] = UnusablePage(image, path, told)
        return list(found.values())

    def check_context_limits(self) -> None:
        """Check that every page's prompt and its new tokens fit into its model's context.

        Raises:
            UserErrors: every resolution at which they do not.
        """
        findings = Findings()
        for name, inference in self.variants.items():
            if self.models[name].positions is None:  # only the built model knows
                continue
            for resolution in self._resolutions(name):
                with findings.collect():
                    check_planned_context_limit(
                        self.models[name], resolution, inference.prompt, inference.max_new_tokens
                    )
        findings.raise_any()


def make_plan(
    settings: Settings,
    bundled_models: Path,
    *,
    results: Path | None = None,
    known: Mapping[str, PageFacts] | None = None,
    findings: Findings | None = None,
) -> Plan:
    """Look up everything that the settings name.

    Args:
        bundled_models: the folder of the bundled model folders.
        results: the folder of results, which keeps what processors make of page sizes.
        known: facts by path of pages that were checked before (`pages.checks.known_pages`). With
            it every page is checked, and the others are decoded; without it, as in a job, none.
        findings: what is wrong with the settings themselves, reported with the rest.

    Raises:
        UserErrors: everything that cannot be found or does not fit.
    """
    findings = Findings() if findings is None else findings
    device = None
    with findings.collect():
        device = plan_device(settings.device)
    variants, models = {}, {}
    notes: list[str] = []
    resolve = cache(resolve_model)  # variants mostly share one
    suitable = settings.variants
    with findings.collect():
        suitable = suitable_variants(settings, device)
    by_variant = {name: Findings() for name in suitable}
    for name, inference in suitable.items():
        model = inference.model
        if model == "auto":
            model = _DEFAULT_MODEL[(device or "cpu").partition(":")[0]]
        with by_variant[name].collect():
            spec = resolve(model, inference.load_format, bundled_models)
            attention = inference.attention
            if attention == "auto" or known is not None:
                attention = pick_attention(spec, attention)
            if attention != inference.attention:
                notes.append(f"attention: auto is {attention} for {model!r}")
            # Resolved once here: `auto` in a recorded parameter would hide a change of its meaning.
            inference = replace(inference, model=model, attention=attention)
            variants[name], models[name] = inference, spec
            if device is not None:
                check_combination(inference, spec, device)
            if known is not None:
                check_cache(spec, inference.cache)
                notes += model_notes(spec, inference.prompt)
    add_named(findings, by_variant)
    with findings.collect():
        check_flops(settings.flops.models, bundled_models)
    pages: dict[str, PageFile] = {}
    unusable: list[UnusablePage] = []
    with findings.collect():
        pages, unusable = find_pages(*settings.images)
    plan = Plan(
        settings,
        device or "",
        variants,
        models,
        {
            name: NativeResolutions(
                spec, variants[name].prompt, None if results is None else sizes_path(results, name)
            )
            for name, spec in models.items()
            if spec.tiling is None and not by_variant[name]
        },
        pages,
        bundled_models,
        notes=tuple(dict.fromkeys(notes)),
    )
    if known is not None:
        facts, failed = check_pages(pages, known, settings.max_image_megapixels)
        plan = replace(plan, facts=facts)
        refused = plan.refused_pages()
        left = {page.id for page in refused}
        plan = replace(plan, facts={name: one for name, one in facts.items() if name not in left})
        with findings.collect():
            plan.check_context_limits()
        with findings.collect():
            plan = _with_usable_pages(plan, [*unusable, *failed, *refused])
    findings.raise_any()
    return plan


def _with_usable_pages(plan: Plan, unusable: Sequence[UnusablePage]) -> Plan:
    """The plan without its unusable pages, where the settings skip those.

    Raises:
        UserErrors: every unusable page, unless it may be skipped and another one is left.
    """
    if not unusable:
        return plan
    unusable = sorted(unusable, key=lambda page: page.path)
    if plan.settings.on_bad_image != "skip" or not plan.facts:
        raise UserErrors([page.error for page in unusable])
    pages = {image: page for image, page in plan.pages.items() if image in plan.facts}
    return replace(plan, pages=pages, skipped=tuple(map(skipped_page, unusable)))
