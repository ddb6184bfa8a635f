"""A model on its device, which preprocesses pages and generates tokens."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image
from transformers import CompileConfig, GenerationConfig, StaticCache

from mfuscope.config.settings import ModelSettings
from mfuscope.core import records
from mfuscope.core.dtypes import torch_dtype
from mfuscope.core.errors import UserError
from mfuscope.core.versions import commit, host_id, software_versions
from mfuscope.hardware.devices import describe_device, pick_precision, use_device
from mfuscope.hardware.memory import report_out_of_memory
from mfuscope.hardware.nvml import driver_version
from mfuscope.hardware.threads import asked_threads, measuring_threads
from mfuscope.measure.logits import LogitsMark, logits_processors
from mfuscope.measure.profiler import attach_once
from mfuscope.models.inputs import PageInputs, input_maker
from mfuscope.models.loader import experts_unusable, load_model
from mfuscope.models.parts import has_experts
from mfuscope.models.spec import ModelSpec, resolve_model
from mfuscope.pages.decoding import decode_page

if TYPE_CHECKING:
    from mfuscope.measure.compilation import CompilationMonitor


def open_session(
    settings: Mapping[str, Any], bundled_models: Path, *, traces: bool = True
) -> "Session":
    """Open a session with a job's settings (`planning.parameters.model_parameters`).

    Args:
        traces: whether passes will be traced.

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
    return Session(spec, model, settings["device"], traces=traces)


def read_page(
    session: "Session", path: Path, resolution: str, max_megapixels: float
) -> tuple[PageInputs, records.Page]:
    """A page's inputs on the device, and its record.

    Args:
        resolution: a resolution mode.
        max_megapixels: limit of the page's pixels, in millions.

    Raises:
        UserError: the page cannot be read.
    """
    decoded = decode_page(path, max_megapixels)
    page = session.inputs(decoded.image, resolution)
    return page, records.Page(
        path=str(path),
        sha256=decoded.facts.sha256,
        width=decoded.facts.width,
        height=decoded.facts.height,
        resolution=page.resolution,
    )


@dataclass(frozen=True, slots=True)
class Generation:
    """How a page's tokens are generated: greedily, and as the settings of these names say."""

    max_new_tokens: int
    ignore_eos: bool
    cache: str = "dynamic"
    batch_size: int = 1
    no_repeat_ngram_size: int = 0


class Session:
    """A model on its device, ready to measure pages.

    A session may measure any number of pages, and warms up each resolution only once.
    """

    def __init__(
        self, spec: ModelSpec, settings: ModelSettings, device: str, *, traces: bool = True
    ) -> None:
        """Build the model.

        Args:
            traces: whether passes will be traced. Tracing excludes Nsight Compute's counters.
        """
        torch.set_num_threads(measuring_threads())
        self.device = torch.device(device)
        # Of the device with all threads, whatever a variant uses; raises a user error before torch
        # fails below.
        self.facts = describe_device(device)
        torch.set_num_threads(asked_threads(settings.threads))
        with report_out_of_memory("preparing the device", None, self.device):
            use_device(self.device)
            if traces:
                attach_once(self.device)
        self.versions = software_versions(driver_version())
        self.commit, self.no_commit = commit()
        self.settings = settings
        #: A random id of this process, and one of its host.
        self.process, self.host = secrets.token_hex(6), host_id()
        # What was warmed up, references by session and work, and how many runs were measured;
        # `measure.warmup` and `measure.passes` update them.
        self.warmed_up: dict[object, records.Compilation | None] = {}
        self.references: dict[object, records.Reference] = {}
        self.runs = 0
        dtype, _ = pick_precision(settings.dtype, self.facts)
        self.dtype = torch_dtype(dtype)
        if dtype == "fp32":
            # The fp32 peak is no TF32 peak: torch must not compute in TF32 instead.
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        loaded = load_model(spec, dtype, settings.attention, self.device, settings.experts)
        self.model = loaded.model
        self._caches: dict[tuple[int, int], Any] = {}  # by copies and tokens
        #: What torch.compile does; None if nothing is to be compiled.
        self.compilation: CompilationMonitor | None = None
        if settings.compile != "none":
            from mfuscope.measure import compilation  # importing the compiler takes seconds

            self.compilation = compilation.CompilationMonitor(self.device, traces=traces)
            if settings.compile == "all":
                compilation.compile_vision(self.model)
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
            positions=self.positions,
            quantisation=spec.quantisation,
        )

    @property
    def positions(self) -> int | None:
        """Number of positions of the language model, None if its config names none."""
        decoder = self.model.config.get_text_config(decoder=True)
        known = getattr(decoder, "max_position_embeddings", None)
        return known if isinstance(known, int) else None

    def inputs(self, page: Image.Image, mode: str) -> PageInputs:
        """Preprocess and tokenize a page in a resolution mode and copy it to the device."""
        return self._inputs.make(page, mode, self.device, self.dtype)

    def blank_inputs(self, resolution: str, size: tuple[int, int] | None = None) -> PageInputs:
        """Inputs for an empty page at a canonical resolution; see `InputMaker.blank`."""
        return self._inputs.blank(resolution, self.device, self.dtype, size)

    def prompt(self, page: PageInputs) -> records.Prompt:
        """The prompt of a page, as text."""
        return self._inputs.prompt(page)

    @property
    def end_tokens(self) -> frozenset[int]:
        """The tokens of which each ends an answer; empty where the model names none."""
        named = self.model.generation_config.eos_token_id
        return frozenset(named if isinstance(named, list) else [] if named is None else [named])

    def generate(
        self,
        page: PageInputs,
        generation: Generation,
        *,
        most_tokens: int | None = None,
        on_logits: Callable[[], None] = lambda: None,
    ) -> torch.Tensor:
        """Generate a page's new token ids.

        Args:
            most_tokens: end after so many tokens, fewer than `generation` asks for, in a cache of
                the same size.
            on_logits: called after each forward, when its logits are computed.

        Returns:
            Shape (batch_size, new_tokens), on the device.
        """
        # An argument would not do: generate() replaces its None values by the model's own config,
        # which would restore the end-of-sequence token.
        own = self.model.generation_config
        tokens = generation.max_new_tokens if most_tokens is None else most_tokens
        self.model.generation_config = self._config(own, generation, tokens)
        copies = f"{generation.batch_size} copies of " if generation.batch_size > 1 else ""
        what = f"{copies}a page at {page.resolution} with {page.prompt_tokens} prompt tokens"
        mark = LogitsMark(on_logits)
        try:
            with (
                torch.inference_mode(),
                report_out_of_memory(
                    what,
                    self.description.weight_bytes,
                    self.device,
                    settings=("batch_size",) if copies else (),
                ),
            ):
                out = self.model.generate(
                    **page.batch(generation.batch_size),
                    **self._cache(page.prompt_tokens, generation),
                    logits_processor=logits_processors(mark, generation.no_repeat_ngram_size),
                )
        except ImportError as error:  # of a package that an implementation of experts needs
            if self.settings.experts == "auto":
                raise
            raise experts_unusable(self.settings.experts, error) from error
        finally:
            self.model.generation_config = own
        if mark.prompt_tokens != page.prompt_tokens:
            raise RuntimeError(
                f"a prompt of {page.prompt_tokens} tokens became one of {mark.prompt_tokens}"
            )
        new_tokens: torch.Tensor = out[:, page.prompt_tokens :]
        return new_tokens

    def _config(self, own: Any, generation: Generation, tokens: int) -> Any:
        """A clean generation config: of the model's own only the special tokens are taken over."""
        compiling = None
        if self.settings.compile != "none":
            # Shapes are fixed for a resolution: code for one shape is faster than code for all.
            compiling = CompileConfig(dynamic=False)
            compiling._compile_all_devices = True  # the CPU too
        return GenerationConfig(
            max_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            bos_token_id=own.bos_token_id,
            decoder_start_token_id=own.decoder_start_token_id,
            eos_token_id=None if generation.ignore_eos else own.eos_token_id,
            # generate() requires one, although batches of equal copies pad nothing.
            pad_token_id=0 if own.pad_token_id is None else own.pad_token_id,
            compile_config=compiling,
            # A static cache would be compiled without being asked.
            disable_compile=compiling is None,
        )

    def _cache(self, prompt_tokens: int, generation: Generation) -> dict[str, Any]:
        """The static KV cache as an argument of ``generate``; none for the dynamic one.

        ``generate`` would make a static cache for each call, whose new addresses invalidate every
        captured graph. So it is kept, for each number of copies and of tokens.
        """
        if generation.cache == "dynamic":
            if self.compilation is None:
                self._caches.clear()  # the memory of another variant
            return {}
        shape = generation.batch_size, prompt_tokens + generation.max_new_tokens
        if shape not in self._caches:
            if self.compilation is None:
                self._caches.clear()  # no graph needs the others
            self._caches[shape] = StaticCache(
                config=self.model.config.get_text_config(decoder=True), max_cache_len=shape[1]
            )
        self._caches[shape].reset()
        return {"past_key_values": self._caches[shape]}


def _experts_implementation(model: Any) -> str | None:
    """How the mixture-of-experts layers compute in prefill, None for models without experts."""
    if not has_experts(model):
        return None
    used = {str(name) for name in model.get_experts_implementation().values() if name}
    return "+".join(sorted(used)) or None
