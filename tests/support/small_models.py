"""Model folders of toy size, one for each family: JSON alone.

As published: config, processor files, a tokenizer with the family's marks, a chat template. They
have no weights; `load_format: dummy` builds them.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from small_documents import FAMILIES as FAMILIES
from small_encoder_decoders import ENCODER_DECODERS as ENCODER_DECODERS
from small_others import OTHERS as OTHERS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

_BASE = ("<s>", "</s>", "<pad>")
#: The first token after <s> 0, </s> 1, <pad> 2, 256 bytes, then the marks of a family.
FIRST_MARK = 259


def write_small_model(folder: Path, family: str, *, template: bool = True) -> None:
    """Write the folder of a family.

    Args:
        family: a name of `FAMILIES`, `OTHERS` or `ENCODER_DECODERS`.
        template: whether it has its chat template, if the published one has any.
    """
    marks, chat, build = (FAMILIES | OTHERS | ENCODER_DECODERS)[family]
    ids = {mark: FIRST_MARK + number for number, mark in enumerate(marks)}
    folder.mkdir(parents=True)
    files = build(ids)
    _write_tokenizer(folder, marks, files.pop("tokenizer", {}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    if chat is not None and template:
        (folder / "chat_template.jinja").write_text(chat_template(chat))


def chat_template(image: str) -> str:
    """One user's turn with an image, whose marks are given, and a text."""
    return (
        "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}"
        + image
        + "{% else %}{{ c['text'] }}{% endif %}{% endfor %}\n{% endfor %}ASSISTANT:"
    )


def _write_tokenizer(folder: Path, marks: Sequence[str], more: dict[str, Any]) -> None:
    pieces = [*_BASE, *sorted(pre_tokenizers.ByteLevel.alphabet()), *marks]
    tokenizer = Tokenizer(models.BPE({piece: number for number, piece in enumerate(pieces)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*_BASE, *marks])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "model_max_length": 8192,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config | more))
