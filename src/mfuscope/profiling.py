"""Measuring one page: a model that is ready, and the two passes of a run.

The timed pass is never traced, and the traced pass is never timed: a profiler slows decode by half
or more. Both run the same call; whether they made the same tokens is recorded.
"""

import gzip
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mfuscope import records
from mfuscope.errors import UserError
from mfuscope.hardware import nvml
from mfuscope.hardware.devices import (
    describe_device,
    describe_versions,
    measuring_threads,
    pick_precision,
)
from mfuscope.images import file_sha256
from mfuscope.models.inputs import PageInputs, input_maker
from mfuscope.models.loader import DTYPES, load_model
from mfuscope.models.spec import ModelSpec, resolve_model
from mfuscope.preprocess import read_page
from mfuscope.settings import ModelSettings, ProfilerSettings
from mfuscope.stages import StageTimer

_GZIP_LEVEL = 1  # traces shrink tenfold at any level; higher ones only hold the device longer


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How a run is made with a model that is ready."""

    resolution: str
    max_new_tokens: int
    ignore_eos: bool
    warmup: int
    profiler: ProfilerSettings

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> "RunSettings":
        """From what a job gets (`planning.Plan.run_settings`)."""
        values = {field.name: settings[field.name] for field in fields(cls)}
        return cls(**values | {"profiler": ProfilerSettings(**settings["profiler"])})


def open_session(settings: Mapping[str, Any], bundled_models: Path) -> "Session":
    """A session from what a job gets (`planning.Plan.model_settings`).

    Raises:
        UserError: the model is not the one that was planned with.
    """
    names = [field.name for field in fields(ModelSettings)]
    model = ModelSettings(**{name: settings[name] for name in names})
    spec = resolve_model(model.model, model.load_format, bundled_models)
    if spec.fingerprint != settings["fingerprint"]:
        raise UserError(
            f"model: the files of {model.model!r} changed while the workflow ran",
            "run the same command again",
        )
    return Session(spec, model, settings["device"])


class Session:
    """A model on its device, ready to measure pages.

    Not bound to one run: whoever holds a session may measure any number of pages with it, and
    warms each resolution up only once.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings, device: str) -> None:
        torch.set_num_threads(measuring_threads())
        self.device = torch.device(device)
        self.facts = describe_device(device)
        self.versions = describe_versions()
        self.settings = settings
        self._warmed_up: set[tuple[str, RunSettings]] = set()
        dtype, _ = pick_precision(settings.dtype, self.facts)
        self.dtype = DTYPES[dtype]
        loaded = load_model(spec, dtype, settings.attention, self.device)
        self.model = loaded.model
        self._inputs = input_maker(spec, loaded.folder, settings.prompt, loaded.model.config)
        self.description = records.Model(
            name=spec.name,
            family=spec.family.value,
            architecture=spec.architecture,
            weights=spec.weights,
            fingerprint=spec.fingerprint,
            parameters=loaded.parameters,
            weight_bytes=loaded.weight_bytes,
            dtype=dtype,
            attention=settings.attention,
            experts_implementation=_experts_implementation(self.model),
        )

    def inputs(self, page: Image.Image, mode: str) -> PageInputs:
        """Preprocess and tokenize a page in a resolution mode and copy it to the device."""
        return self._inputs.make(page, mode, self.device, self.dtype)

    def blank_inputs(self, resolution: str) -> PageInputs:
        """Inputs of an empty page of a canonical resolution."""
        return self._inputs.blank(resolution, self.device, self.dtype)

    def generate(self, page: PageInputs, max_new_tokens: int, *, ignore_eos: bool) -> torch.Tensor:
        """New token ids of a page, shape (new_tokens,), on the device."""
        # Not as an argument: generate() fills what is None there from the model's own config, and
        # would bring the end-of-sequence token back.
        own = self.model.generation_config
        self.model.generation_config = _generation_config(own, max_new_tokens, ignore_eos)
        try:
            with torch.inference_mode():
                out = self.model.generate(**page.tensors)
        finally:
            self.model.generation_config = own
        new_tokens: torch.Tensor = out[0, page.prompt_tokens :]
        return new_tokens

    def warm_up(self, page: PageInputs, settings: RunSettings) -> int:
        """Unmeasured passes, once per resolution and settings; returns how many ran."""
        key = (page.resolution, settings)
        if key in self._warmed_up:
            return 0
        for _ in range(settings.warmup):
            self.generate(page, settings.max_new_tokens, ignore_eos=settings.ignore_eos)
        self._warmed_up.add(key)
        return settings.warmup

    def measure(
        self,
        path: Path,
        trace: Path,
        settings: RunSettings,
        *,
        variant: str,
        image: str,
        repeat: int,
    ) -> records.Run:
        """One run: warm-up if it is due, timed pass, traced pass.

        Args:
            path: the page.
            trace: where the traced pass's Chrome trace goes (gzipped JSON).
        """
        picture = read_page(path)
        page = self.inputs(picture, settings.resolution)
        warmup_passes = self.warm_up(page, settings)
        measured_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        timed = self._pass(page, settings)
        with _profiler(settings.profiler, self.device) as recording:
            # The trace says what it is of, wherever it is opened.
            label = {"model": self.description.name, "weights": self.description.weights}
            label |= {"variant": variant, "image": image, "repeat": str(repeat)}
            recording.add_metadata_json("mfuscope", json.dumps(label))
            traced = self._pass(page, settings)
        _save_trace(recording, trace)
        return records.Run(
            protocol=records.PROTOCOL,
            variant=variant,
            image=image,
            repeat=repeat,
            measured_at=measured_at,
            page=records.Page(
                path=str(path),
                sha256=file_sha256(path),
                width=picture.width,
                height=picture.height,
                resolution=page.resolution,
            ),
            model=self.description,
            prompt_tokens=page.prompt_tokens,
            image_tokens=page.image_tokens,
            context_tokens=page.prompt_tokens + timed.new_tokens,
            warmup_passes=warmup_passes,
            timed=timed,
            traced=traced,
            passes_agree=timed.token_ids_sha256 == traced.token_ids_sha256,
            settings=asdict(self.settings) | asdict(settings),
            device=self.facts,
            versions=self.versions,
            absent=page.absent,
        )

    def _pass(self, page: PageInputs, settings: RunSettings) -> records.Pass:
        uuid = self.facts.uuid
        timer = StageTimer(self.model, self.device)
        memory = _PeakMemory(self.device)
        before = nvml.read_conditions(uuid)
        energy_before, reason = nvml.read_energy_mj(uuid)
        with timer.measure():
            tokens = self.generate(page, settings.max_new_tokens, ignore_eos=settings.ignore_eos)
        energy_after, _ = nvml.read_energy_mj(uuid)
        after = nvml.read_conditions(uuid)
        peak, memory_reason = memory.read()
        absent = {}
        energy = None
        if energy_before is None or energy_after is None:
            absent["energy_j"] = reason or "NVML stopped answering during the pass"
        elif energy_after == energy_before:
            absent["energy_j"] = "the counter did not move during the pass"
        else:
            energy = (energy_after - energy_before) / 1000
        if peak is None:
            absent["peak_memory_bytes"] = memory_reason
        ids = tokens.tolist()
        times = timer.times(len(ids))
        for part in ("vision_ms", "projector_ms", "language_prefill_ms"):
            if getattr(times, part) is None:
                absent[part] = "the model has no such part under a known name"
        return records.Pass(
            **asdict(times),
            new_tokens=len(ids),
            token_ids_sha256=hashlib.sha256(",".join(map(str, ids)).encode()).hexdigest(),
            peak_memory_bytes=peak,
            energy_j=energy,
            conditions_before=before,
            conditions_after=after,
            absent=absent,
        )


def _generation_config(own: Any, max_new_tokens: int, ignore_eos: bool) -> Any:
    """A model's own generation config, made greedy and of a given length."""
    from transformers import GenerationConfig

    config = GenerationConfig.from_dict(own.to_dict())
    config.update(
        max_new_tokens=max_new_tokens,
        min_new_tokens=None,
        max_length=None,
        use_cache=True,
        num_beams=1,
        do_sample=False,
        # Sampling parameters that a checkpoint may bring; greedy decoding would warn of them.
        temperature=None,
        top_p=None,
        top_k=None,
    )
    if ignore_eos:
        config.update(eos_token_id=None, stop_strings=None)
    if config.pad_token_id is None:
        config.pad_token_id = 0  # batch size 1 pads nothing, but generate wants to know
    return config


def _experts_implementation(model: Any) -> str | None:
    """How the mixture-of-experts layers compute in prefill, None for models without experts."""
    if not any(type(module).__name__.endswith("Experts") for module in model.modules()):
        return None
    used = {str(name) for name in model.get_experts_implementation().values() if name}
    return "+".join(sorted(used)) or None


@contextmanager
def _profiler(settings: ProfilerSettings, device: torch.device) -> Iterator[torch.profiler.profile]:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(
        activities=activities,
        record_shapes=settings.record_shapes,
        profile_memory=settings.profile_memory,
        with_stack=settings.with_stack,
    ) as recording:
        yield recording


def _save_trace(recording: torch.profiler.profile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name(f".{path.name}.plain.json")
    partial = path.with_name(f".{path.name}.partial")
    try:
        recording.export_chrome_trace(str(plain))
        with plain.open("rb") as source, gzip.open(partial, "wb", _GZIP_LEVEL) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        partial.replace(path)
    finally:
        plain.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)


class _PeakMemory:
    """Peak memory of a pass: the allocator's on a GPU, the process's resident set on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reason = ""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            except OSError as error:
                self._reason = f"the peak resident set cannot be reset ({error})"

    def read(self) -> tuple[int | None, str]:
        """Bytes, or None and the reason."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device)), ""
        if self._reason:
            return None, self._reason
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        line = next((ln for ln in status.splitlines() if ln.startswith("VmHWM:")), None)
        if line is None:
            return None, "the system does not tell the peak resident set"
        return int(line.split()[1]) * 1024, ""
