"""What one call of the workflow has to do: settings resolved, models found, pages listed.

Runs before every plan, so it stays light: no torch, JSON files and image headers only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from mfuscope.config.settings import InferenceSettings, ModelSettings, Settings
from mfuscope.core.errors import Findings, UserError, UserErrors
from mfuscope.core.records import PROTOCOL, SkippedPage
from mfuscope.hardware.devices import check_bf16, check_device_here, device_in_words, plan_device
from mfuscope.models.context import check_planned_length
from mfuscope.models.spec import ModelSpec, bundled_names, resolve_model
from mfuscope.pages.checks import bad_page, header_sizes, skipped_page, undecodable
from mfuscope.pages.images import ImageFile, Unusable, category_of, page_sha256, read_categories
from mfuscope.pages.listing import planned_images
from mfuscope.planning.combinations import check_combination, check_flops
from mfuscope.storage.paths import RunFiles

_DEFAULT_MODEL = {"cuda": "deepseek-ocr", "cpu": "deepseek-ocr-nano"}


@dataclass(frozen=True)
class Plan:
    """Settings with everything looked up that they name.

    Attributes:
        settings: as resolved.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        variants: name -> inference settings, model names resolved (no ``auto``).
        models: variant -> its model.
        images: id -> page, in the order of the listing.
        bundled_models: the folder of the bundled model folders.
        unusable: pages that cannot be planned with.
        skipped: pages that are left out.
    """

    settings: Settings
    device: str
    variants: Mapping[str, InferenceSettings]
    models: Mapping[str, ModelSpec]
    images: Mapping[str, ImageFile]
    bundled_models: Path
    unusable: Sequence[Unusable] = ()
    skipped: Sequence[SkippedPage] = ()
    _digests: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _headers(self) -> tuple[dict[str, tuple[int, int]], dict[str, UserError]]:
        return header_sizes(self.images)

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height by page, from their headers."""
        return self._headers[0]

    def vetted(self, known: Mapping[str, str], *, thorough: bool = False) -> "Plan":
        """The plan without the pages that cannot be measured, where the settings skip those.

        Args:
            known: see `vetting.undecodable`.
            thorough: decode pages even if all their headers are right.

        Raises:
            UserErrors: every page that cannot be read, or none is left.
        """
        skip = self.settings.on_bad_image == "skip"
        bad = [bad_page(self.images[key], error) for key, error in self._headers[1].items()]
        bad += self.unusable
        if bad or skip or thorough:  # then all at once
            rest = {key: image for key, image in self.images.items() if key in self.sizes}
            decoded = undecodable(rest, known, self.digest)
            bad += [bad_page(self.images[key], error) for key, error in decoded.items()]
        if not bad:
            return self
        bad.sort(key=lambda one: one.path)
        if not skip or self.images.keys() <= {one.id for one in bad}:
            raise UserErrors([one.error for one in bad])
        return self.without([skipped_page(one) for one in bad])

    def without(self, skipped: Sequence[SkippedPage]) -> "Plan":
        """The plan without some of its pages."""
        left_out = {page.image for page in skipped}
        kept = {key: image for key, image in self.images.items() if key not in left_out}
        return replace(self, images=kept, skipped=tuple(skipped))

    def check_device(self) -> None:
        """See that the planned device is one of this host and has what the variants need.

        Raises:
            UserError: it is not, or has not.
        """
        check_device_here(self.device)
        if any(variant.dtype == "bf16" for variant in self.variants.values()):
            check_bf16(self.device)

    def check_decodable(self, known: Mapping[str, str]) -> None:
        """Decode every page that is not known.

        Raises:
            UserErrors: every page that cannot be decoded.
        """
        if bad := undecodable(self.images, known, self.digest):
            raise UserErrors(list(bad.values()))

    def digest(self, image: str) -> str:
        """SHA-256 of a page as it was when first asked for: a job pays for its own page alone.

        Raises:
            UserError: the page cannot be read.
        """
        if image not in self._digests:
            self._digests[image] = page_sha256(self.images[image].path)
        return self._digests[image]

    def resolution(self, variant: str, image: str) -> str:
        """Canonical resolution of a page in a variant."""
        return self.models[variant].resolution(
            *self.sizes[image], self.variants[variant].resolution
        )

    def resolutions(self, variant: str) -> list[str]:
        """The canonical resolutions of a variant's pages, sorted."""
        readable = (image for image in self.images if image in self.sizes)
        return sorted({self.resolution(variant, image) for image in readable})

    def check_lengths(self) -> None:
        """See that every page's prompt and its new tokens fit into its model's positions.

        Raises:
            UserErrors: every resolution at which they do not.
        """
        findings = Findings()
        for name, inference in self.variants.items():
            for resolution in self.resolutions(name):
                with findings.collect():
                    check_planned_length(
                        self.models[name], resolution, inference.prompt, inference.max_new_tokens
                    )
        findings.raise_any()

    def runs(self, results: Path) -> list[RunFiles]:
        """What is made of every run, in the order of the tables."""
        keep = self.settings.keep_traces
        return [
            RunFiles.of(
                *(results, variant, image, repeat),
                keeps_trace=keep == "all" or (keep == "first" and repeat == 0),
            )
            for variant in self.variants
            for image in self.images
            for repeat in range(self.settings.repeats)
        ]

    def pages(self) -> list[dict[str, Any]]:
        """What inputs.csv says of every page before it is decoded."""
        categories = read_categories(self.settings.images)
        first = next(iter(self.variants))
        return [
            {
                "image": key,
                "path": str(image.path),
                "sha256": self.digest(key),
                "width": self.sizes[key][0],
                "height": self.sizes[key][1],
                "category": category_of(image, categories),
                "resolution": self.resolution(first, key),
            }
            for key, image in self.images.items()
        ]

    def model_settings(self, variant: str) -> dict[str, Any]:
        """What decides how a variant's model is built and fed, as one sorted mapping."""
        inference = self.variants[variant]
        names = [one.name for one in fields(ModelSettings)]
        return _sorted(
            {name: getattr(inference, name) for name in names}
            | {
                "device": self.device,
                "fingerprint": self.models[variant].fingerprint,
                "protocol": PROTOCOL,
            }
        )

    def calibration_settings(self, variant: str) -> dict[str, Any]:
        """What decides a variant's calibrations, as one sorted mapping."""
        return countable(self.model_settings(variant))

    def run_settings(self, variant: str) -> dict[str, Any]:
        """What decides a variant's measurements, as one sorted mapping."""
        inference = self.variants[variant]
        return _sorted(
            {
                "ignore_eos": inference.ignore_eos,
                "max_new_tokens": inference.max_new_tokens,
                "model": self.model_settings(variant),
                "profiler": asdict(self.settings.profiler),
                "resolution": inference.resolution,
                "warmup": self.settings.warmup,
            }
        )

    def flops_settings(self) -> dict[str, Any]:
        """What decides the FLOP budget, as one sorted mapping."""
        names = self.settings.flops.models or bundled_names(self.bundled_models)
        specs = {name: resolve_model(name, "dummy", self.bundled_models) for name in names}
        return _sorted(
            {
                "models": {name: spec.fingerprint for name, spec in specs.items()},
                "prompt": self.settings.inference.prompt,
                "resolutions": list(self.settings.flops.resolutions),
            }
        )

    def headline(self) -> str:
        """What will be measured on what, in one line."""
        models = {f"{spec.name} ({spec.weights} weights)": None for spec in self.models.values()}
        return f"{', '.join(models)} on the {device_in_words(self.device)}"

    def public_settings(self) -> dict[str, Any]:
        """Every setting as it was resolved, for the report."""
        settings = self.settings
        return _sorted(
            {
                "device": self.device,
                "images": str(settings.images),
                "peak_tflops": settings.peak_tflops,
                "profiler": asdict(settings.profiler),
                "repeats": settings.repeats,
                "variants": {name: asdict(inference) for name, inference in self.variants.items()},
                "warmup": settings.warmup,
            }
        )

    def device_settings(self) -> dict[str, Any]:
        """What decides the measurement of the device itself: base precision first."""
        dtypes = [self.settings.inference.dtype]
        dtypes += sorted({v.dtype for v in self.variants.values()} - set(dtypes))
        return {"device": self.device, "dtypes": dtypes, "protocol": PROTOCOL}


def countable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The model settings to count with: flash attention's own kernels may bypass the dispatcher.

    FLOPs follow from shapes, whatever the kernel: sdpa's are the same.
    """
    flash = settings["attention"] == "flash"
    return dict(settings) | ({"attention": "sdpa"} if flash else {})


def make_plan(
    settings: Settings,
    bundled_models: Path,
    *,
    known: Mapping[str, str] | None = None,
    findings: Findings | None = None,
) -> Plan:
    """Look up everything that the settings name.

    Args:
        bundled_models: the folder of the bundled model folders.
        known: see `Plan.vetted`; with it pages are vetted, and lengths checked.
        findings: what is wrong with the settings themselves, to be told with the rest.

    Raises:
        UserErrors: everything that cannot be found or does not fit.
    """
    findings = Findings() if findings is None else findings
    device = None
    with findings.collect():
        device = plan_device(settings.device)
    variants, models = {}, {}
    for name, inference in settings.variants.items():
        model = inference.model
        if model == "auto":
            model = _DEFAULT_MODEL[(device or "cpu").partition(":")[0]]
        with findings.collect():
            spec = resolve_model(model, inference.load_format, bundled_models)
            # Resolved once here: `auto` in a recorded parameter would hide a change of its meaning.
            variants[name], models[name] = replace(inference, model=model), spec
            if device is not None:
                check_combination(inference, spec, device)
    with findings.collect():
        check_flops(settings.flops.models, bundled_models)
    images: dict[str, ImageFile] = {}
    unusable: list[Unusable] = []
    with findings.collect():
        images, unusable = planned_images(settings.images)
    plan = Plan(settings, device or "", variants, models, images, bundled_models, unusable)
    if known is not None:
        with findings.collect():
            plan = plan.vetted(known, thorough=bool(findings))
        with findings.collect():
            plan.check_lengths()
    findings.raise_any()
    return plan


def _sorted(mapping: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _sorted(value) if isinstance(value, Mapping) else value
        for key, value in sorted(mapping.items())
    }
