"""The workload of a run: FLOPs of each FLOP model, and the minimum of bytes to move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mfuscope.core.dtypes import BYTES_PER_VALUE
from mfuscope.core.records import Calibration, Run
from mfuscope.flops import architecture


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
    step_kv = _step_kv_bytes(calibration, run, contexts)
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
    """FLOPs of decode steps, one for each context, by the headline's FLOP model.

    They grow linearly with the context, up to where a sliding window is full and from there on: the
    sum of each piece is its length times the mean of its ends.
    """
    language, prompt = calibration.language, calibration.prompt_tokens

    def at(context: int) -> float:
        if language is None:
            return decode_flops(calibration, "counted", context)
        return float(sum(architecture.decode_flops(language, context, prompt).values()))

    full = 0
    if language is not None and language.window is not None:
        full = sum(context <= prompt + language.window for context in contexts)
    pieces = (contexts[:full], contexts[full:])
    return sum(len(piece) * (at(piece[0]) + at(piece[-1])) / 2 for piece in pieces if piece)


def decode_flops(calibration: Calibration, flop_model: str, context: float) -> float:
    """FLOPs of a decode step at a context length, linear through two counted steps.

    Args:
        flop_model: ``counted``, ``architecture`` or ``directional`` (always S = 512).
    """
    points = [(s.context_tokens, s.total[flop_model]) for s in calibration.decode_steps]
    return _line(points, context)


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


def _line(points: Sequence[tuple[int, float]], at: float) -> float:
    """Linear through two counted steps: only attention grows, by the same amount per token."""
    (x0, y0), (x1, y1) = points[:2]
    return y0 + (y1 - y0) / (x1 - x0) * (at - x0)


def _step_kv_bytes(calibration: Calibration, run: Run, contexts: range) -> float | None:
    first, second = calibration.decode_steps[:2]
    if first.kv_bytes is None or second.kv_bytes is None:
        return None
    language = calibration.language
    if language is not None:
        size = BYTES_PER_VALUE[run.model.dtype]
        kv = [
            float(architecture.kv_bytes(language, at, run.prompt_tokens, size)) for at in contexts
        ]
    else:
        points = [(s.context_tokens, s.kv_bytes) for s in (first, second) if s.kv_bytes]
        kv = [_line(points, at) for at in contexts]
    return float(np.mean(kv))
