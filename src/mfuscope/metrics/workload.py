"""The workload of a run: FLOPs of each FLOP model, and the minimum of bytes to move."""

import math
from dataclasses import dataclass

from mfuscope.core.cache import CacheLayers, grown_flops, read_bytes
from mfuscope.core.records import Calibration, Run


@dataclass(frozen=True, slots=True)
class Workload:
    """FLOPs of a run, and the minimum of bytes that it moves, for all copies of its batch.

    Attributes:
        prefill_flops: FLOPs of the prefill.
        step_flops: FLOPs of a decode step, mean over the run's steps.
        prefill_bytes: weights read and keys and values written; None where not known.
        step_weight_bytes, step_kv_bytes: active weights and KV cache that a decode step reads, mean
            over the steps; None where not known. The copies of a page need the same weights, as
            they are routed to the same experts; each has a KV cache of its own.
    """

    prefill_flops: float
    step_flops: float
    prefill_bytes: float | None = None
    step_weight_bytes: float | None = None
    step_kv_bytes: float | None = None

    @property
    def step_bytes(self) -> float | None:
        """All bytes that a decode step reads."""
        if self.step_weight_bytes is None or self.step_kv_bytes is None:
            return None
        return self.step_weight_bytes + self.step_kv_bytes


def headline_workload(calibration: Calibration, run: Run) -> Workload:
    """The run's workload by the headline's FLOP models."""
    contexts = step_contexts(run.prompt_tokens, run.timed.new_tokens)
    weights, kv = calibration.prefill_weight_bytes, calibration.prefill_kv_bytes
    step_kv = _step_kv_bytes(calibration, contexts)
    copies = run.batch_size
    return Workload(
        prefill_flops=copies * calibration.prefill_total["counted"],
        step_flops=copies * steps_flops(calibration, contexts) / len(contexts),
        prefill_bytes=None if weights is None or kv is None else weights + copies * kv,
        step_weight_bytes=calibration.decode_steps[0].weight_bytes,
        step_kv_bytes=None if step_kv is None else copies * step_kv,
    )


def directional_workload(calibration: Calibration, copies: int) -> Workload | None:
    """The workload of copies of a page by the directional formulas.

    None if the model's widths are not known.
    """
    prefill = calibration.prefill_total.get("directional")
    step = calibration.decode_steps[0].total.get("directional")
    if prefill is None or step is None:
        return None
    return Workload(copies * prefill, copies * step)


def answer_flops(calibration: Calibration, new_tokens: int) -> float:
    """FLOPs of a page with an answer of that length, by the headline's FLOP models, of one copy.

    Decode's grow with the context.
    """
    prefill = calibration.prefill_total["counted"]
    if new_tokens == 1:
        return float(prefill)
    return prefill + steps_flops(calibration, step_contexts(calibration.prompt_tokens, new_tokens))


def steps_flops(calibration: Calibration, contexts: range) -> float:
    """FLOPs of decode steps, one for each context, by the headline's FLOP model."""
    first = calibration.decode_steps[0].total["counted"]
    return len(contexts) * first + more_flops(calibration, contexts)


def more_flops(calibration: Calibration, contexts: range) -> int:
    """FLOPs of decode steps beyond those of as many steps like the first one.

    Each kind of layer in the cache adds what it needs for each token more that it attends to: up to
    its window. Where the cache is not known, every token adds what that of the second step did.
    """
    first, second = calibration.decode_steps[:2]
    cache = calibration.cache
    if cache is None:
        growth = int(second.total["counted"] - first.total["counted"])
        cache = [CacheLayers(kind="full", layers=0, window=None, bytes=0, flops=growth)]
    return grown_flops(cache, first.context_tokens, contexts)


def decode_flops(calibration: Calibration, flop_model: str, context: float) -> float:
    """FLOPs of a decode step at a context length, which may be a mean.

    Args:
        flop_model: ``counted``, ``architecture`` or ``directional`` (always S = 512).
    """
    first = calibration.decode_steps[0].total[flop_model]
    if flop_model == "directional":
        return first
    low = math.floor(context)
    below, above = (more_flops(calibration, range(tokens, tokens + 1)) for tokens in (low, low + 1))
    return first + below + (context - low) * (above - below)


def step_contexts(prompt_tokens: int, new_tokens: int) -> range:
    """Tokens that each decode step attends to.

    Step i (from 0) attends to ``prompt + 1 + i`` tokens: the prompt, the first new token and the
    tokens of the i steps before. There is one step per new token after the first; with a single
    new token, the context of the step that would follow.
    """
    return range(prompt_tokens + 1, prompt_tokens + 1 + max(new_tokens - 1, 1))


def mean_context(prompt_tokens: int, new_tokens: int) -> float:
    """Mean number of tokens that a run's decode steps attend to."""
    contexts = step_contexts(prompt_tokens, new_tokens)
    return (contexts[0] + contexts[-1]) / 2


def _step_kv_bytes(calibration: Calibration, contexts: range) -> float | None:
    if calibration.cache is None:
        return None
    return read_bytes(calibration.cache, contexts) / len(contexts)
