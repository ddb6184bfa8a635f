"""A model on its device, which preprocesses pages and generates tokens."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mfuscope.config.settings import ModelSettings
from mfuscope.core import records
from mfuscope.core.dtypes import torch_dtype
from mfuscope.core.errors import UserError
from mfuscope.core.versions import commit, software_versions
from mfuscope.hardware.devices import describe_device, pick_precision, use_device
from mfuscope.hardware.memory import report_out_of_memory
from mfuscope.hardware.nvml import driver_version
from mfuscope.hardware.threads import measuring_threads
from mfuscope.measure.profiler import attach_once
from mfuscope.models.inputs import PageInputs, input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.parts import has_experts
from mfuscope.models.spec import ModelSpec, resolve_model


def open_session(settings: Mapping[str, Any], bundled_models: Path) -> "Session":
    """Open a session with a job's settings (`planning.parameters.model_parameters`).

    Raises:
        UserError: the model's files changed since planning.
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

    A session may measure any number of pages, and warms up each resolution only once.
    """

    def __init__(self, spec: ModelSpec, settings: ModelSettings, device: str) -> None:
        torch.set_num_threads(measuring_threads())
        self.device = torch.device(device)
        self.facts = describe_device(device)  # raises a user error before torch fails below
        with report_out_of_memory("preparing the device", None, self.device):
            use_device(self.device)
            attach_once(self.device)
        self.versions = software_versions(driver_version())
        self.commit, self.no_commit = commit()
        self.settings = settings
        # What was warmed up, and how many runs were measured; `measure.passes` updates both.
        self.warmed_up: set[object] = set()
        self.runs = 0
        dtype, _ = pick_precision(settings.dtype, self.facts)
        self.dtype = torch_dtype(dtype)
        if dtype == "fp32":
            # The fp32 peak is no TF32 peak: torch must not compute in TF32 instead.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
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

    @property
    def positions(self) -> int | None:
        """Number of positions of the language model, None if its config names none."""
        known = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return known if isinstance(known, int) else None

    def inputs(self, page: Image.Image, mode: str) -> PageInputs:
        """Preprocess and tokenize a page in a resolution mode and copy it to the device."""
        return self._inputs.make(page, mode, self.device, self.dtype)

    def blank_inputs(self, resolution: str) -> PageInputs:
        """Inputs for an empty page at a canonical resolution."""
        return self._inputs.blank(resolution, self.device, self.dtype)

    def generate(self, page: PageInputs, max_new_tokens: int, *, ignore_eos: bool) -> torch.Tensor:
        """Generate a page's new token ids: shape (new_tokens,), on the device."""
        # An argument would not do: generate() replaces its None values by the model's own config,
        # which would restore the end-of-sequence token.
        own = self.model.generation_config
        self.model.generation_config = _generation_config(own, max_new_tokens, ignore_eos)
        what = f"a page at {page.resolution} with {page.prompt_tokens} prompt tokens"
        try:
            with (
                torch.inference_mode(),
                report_out_of_memory(what, self.description.weight_bytes, self.device),
            ):
                out = self.model.generate(**page.tensors)
        finally:
            self.model.generation_config = own
        new_tokens: torch.Tensor = out[0, page.prompt_tokens :]
        return new_tokens


def _generation_config(own: Any, max_new_tokens: int, ignore_eos: bool) -> Any:
    """A model's own generation config, changed to greedy decoding of a given length."""
    from transformers import GenerationConfig

    config = GenerationConfig.from_dict(own.to_dict())
    config.update(
        max_new_tokens=max_new_tokens,
        min_new_tokens=None,
        max_length=None,
        use_cache=True,
        num_beams=1,
        do_sample=False,
        # A checkpoint may set sampling parameters, of which greedy decoding would warn.
        temperature=None,
        top_p=None,
        top_k=None,
    )
    if ignore_eos:
        config.update(eos_token_id=None, stop_strings=None)
    if config.pad_token_id is None:
        config.pad_token_id = 0  # generate() requires it, although batch size 1 pads nothing
    return config


def _experts_implementation(model: Any) -> str | None:
    """How the mixture-of-experts layers compute in prefill, None for models without experts."""
    if not has_experts(model):
        return None
    used = {str(name) for name in model.get_experts_implementation().values() if name}
    return "+".join(sorted(used)) or None
