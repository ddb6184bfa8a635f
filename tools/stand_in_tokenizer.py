"""A stand-in tokenizer for model folders without one of their own.

The bundled model folders have no weights, so no vocabulary has a meaning there. Measurements need
DeepSeek-OCR's special tokens under their published ids and the published prompts at their true
lengths. This byte-level BPE provides both. Tests and the authors of bundled folders call it.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

BOS, EOS, PAD, IMAGE = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>", "<image>"

# DeepSeek-OCR's published prompts; their words become single tokens.
_PROMPTS = [
    "\nFree OCR.",
    "\n<|grounding|>Convert the document to markdown.",
    "\n<|grounding|>OCR this image.",
    "\nParse the figure.",
    "\nDescribe this image in detail.",
    "\nLocate this text in the image.",
]
_MAX_LEARNED = 512


def write_stand_in_tokenizer(folder: Path, image_token_id: int) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``.

    Args:
        image_token_id: id of ``<image>``, at least 771: the ids below hold the special tokens, 256
            bytes and at most 512 learned pieces.

    Raises:
        ValueError: the id belongs to another token.
    """
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained.train_from_iterator(
        _PROMPTS,
        trainers.BpeTrainer(
            vocab_size=_MAX_LEARNED,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    learned = json.loads(trained.to_str())["model"]
    pieces = sorted(learned["vocab"], key=learned["vocab"].__getitem__)
    vocab = {token: index for index, token in enumerate([BOS, EOS, PAD, *pieces])}
    if image_token_id < len(vocab):
        raise ValueError(f"image_token_id {image_token_id} is the id of another token")
    vocab[IMAGE] = image_token_id
    tokenizer = Tokenizer(models.BPE(vocab, [tuple(pair) for pair in learned["merges"]]))
    tokenizer.pre_tokenizer = trained.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([BOS, EOS, PAD, IMAGE])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "image_token": IMAGE,
        "model_max_length": 8192,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
