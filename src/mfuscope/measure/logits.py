"""Processors of logits: the mark by which every forward of ``generate`` is seen from outside.

A mark changes no token, and sees compiled forwards as it sees eager ones.
"""

from collections.abc import Callable

import torch
from transformers import LogitsProcessor, LogitsProcessorList, NoRepeatNGramLogitsProcessor


class LogitsMark(LogitsProcessor):  # type: ignore[misc]
    """Calls a function whenever ``generate`` has new logits, and leaves them as they are.

    Attributes:
        prompt_tokens: length of what the first new token follows, None before it.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self.prompt_tokens: int | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Mark new logits.

        Args:
            input_ids: shape (batch_size, tokens): the prompt and the new tokens so far.
            scores: shape (batch_size, vocabulary): the logits.

        Returns:
            `scores`, as they are.
        """
        self._call()
        if self.prompt_tokens is None:
            self.prompt_tokens = input_ids.shape[1]
        return scores


def logits_processors(mark: LogitsMark, no_repeat_ngram_size: int) -> LogitsProcessorList:
    """The mark first, so that what changes logits is part of a step.

    Args:
        no_repeat_ngram_size: length of n-grams that may not occur twice, in tokens; 0 for none.
    """
    processors = LogitsProcessorList([mark])
    if no_repeat_ngram_size:
        processors.append(NoRepeatNGramLogitsProcessor(no_repeat_ngram_size))
    return processors
