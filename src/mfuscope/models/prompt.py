"""The instruction of the DeepSeek-OCR family in tokens, without torch."""

from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from mfuscope.core.errors import UserError
from mfuscope.core.text import reason

# Published prompts begin with it. Here the image is put first automatically.
IMAGE_MARK = "<image>"

# A tokenizer makes at most one token of each byte, unless it normalises the text first.
_TOKENS_PER_BYTE = 4


def instruction_tokens(folder: Path, prompt: str) -> list[int]:
    """Tokens that follow the page in the published plain template: line break, instruction.

    Raises:
        UserError: the folder's tokenizer cannot be used.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
        return list(tokenizer.encode(_text(prompt), add_special_tokens=False).ids)
    except Exception as error:  # tokenizers has no narrower one
        raise UserError(
            f"model: cannot use the tokenizer {str(path)!r} ({reason(error)})",
            "copy or download the file again",
        ) from error


def decoder_of(folder: Path) -> Callable[[Sequence[int]], str]:
    """What makes text of tokens, special ones included, by a folder's tokenizer.

    It must be usable, as `instruction_tokens` checks.
    """
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return lambda ids: str(tokenizer.decode(list(ids), skip_special_tokens=False))


def most_instruction_tokens(prompt: str) -> int:
    """An upper bound of the tokens that a tokenizer makes of an instruction."""
    return _TOKENS_PER_BYTE * len(_text(prompt).encode(errors="surrogateescape"))


def _text(prompt: str) -> str:
    return "\n" + prompt.strip()
