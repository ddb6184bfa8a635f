"""What a model of the DeepSeek-OCR family is told beside its page, in tokens; without torch."""

from pathlib import Path

from tokenizers import Tokenizer

from mfuscope.core.errors import UserError

# What published prompts begin with. Here the page comes first by itself.
IMAGE_MARK = "<image>"

# A tokenizer makes at most one token of each byte, unless it rewrites the text before.
_TOKENS_PER_BYTE = 4


def instruction_tokens(folder: Path, prompt: str) -> list[int]:
    """Tokens of the published plain template behind the page: line break, instruction.

    Raises:
        UserError: the folder's tokenizer cannot be used.
    """
    path = folder / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
        return list(tokenizer.encode(_text(prompt), add_special_tokens=False).ids)
    except Exception as error:  # tokenizers has no narrower one
        reason = " ".join(str(error).split())
        raise UserError(
            f"model: cannot use the tokenizer {str(path)!r} ({reason})",
            "copy or download the file again",
        ) from error


def most_instruction_tokens(prompt: str) -> int:
    """More tokens than any tokenizer makes of an instruction."""
    return _TOKENS_PER_BYTE * len(_text(prompt).encode(errors="surrogateescape"))


def _text(prompt: str) -> str:
    return "\n" + prompt.strip()
