"""Encoder-decoders as model folders of toy size (`small_models`); none has a chat template."""

from collections.abc import Sequence
from typing import Any

from small_files import SIGLIP, SQUARE, TEXT, VISION, Files, files

_TOKENS = {"vocab_size": 320, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
_BART = _TOKENS | {
    "d_model": 32,
    "max_position_embeddings": 256,
    "encoder_layers": 2,
    "encoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 2,
    "decoder_start_token_id": 1,
    "forced_bos_token_id": 0,
    "forced_eos_token_id": 1,
}
_DECODER = {"is_decoder": True, "add_cross_attention": True, "is_encoder_decoder": False}


def _florence2(ids: dict[str, int]) -> Files:
    # A feature per patch of 8 pixels, and their mean.
    return files(
        "florence2",
        "Florence2ForConditionalGeneration",
        "Florence2Processor",
        "CLIPImageProcessor",
        config={
            "image_token_id": ids["<image>"],
            "text_config": _BART | {"model_type": "bart"},
            "vision_config": {
                "model_type": "florence_vision",
                "depths": [1, 1],
                "patch_size": [7, 3],
                "patch_stride": [4, 2],
                "patch_padding": [3, 1],
                "patch_prenorm": [False, True],
                "embed_dim": [16, 32],
                "num_heads": [2, 2],
                "num_groups": [2, 2],
                "window_size": 4,
                "projection_dim": 32,
                "max_temporal_embeddings": 4,
                "max_position_embeddings": 16,
            },
        },
        image={
            "size": {"height": 64, "width": 64},
            "do_center_crop": False,
            "image_seq_length": 65,
        },
        names={"image_token": "<image>"},
    )


def _pix2struct(is_vqa: bool) -> Any:
    # Its processor makes 2,048 patches of every page, whatever its settings.
    def build(_: dict[str, int]) -> Files:
        heads = {"hidden_size": 16, "d_kv": 8, "d_ff": 32}
        return files(
            "pix2struct",
            "Pix2StructForConditionalGeneration",
            "Pix2StructProcessor",
            "Pix2StructImageProcessor",
            config={
                "is_vqa": is_vqa,
                "text_config": heads
                | {"vocab_size": 320, "num_layers": 2, "num_heads": 2}
                | {"decoder_start_token_id": 2, "eos_token_id": 1, "pad_token_id": 2},
                "vision_config": heads
                | {"patch_embed_hidden_size": 768, "num_hidden_layers": 1}
                | {"num_attention_heads": 1, "seq_len": 64},
            },
            image={"is_vqa": is_vqa},
        )

    return build


def _vision_encoder_decoder(
    encoder: dict[str, Any],
    decoder: dict[str, Any],
    processor: str,
    image_processor: str,
    size: dict[str, int],
) -> Any:
    def build(_: dict[str, int]) -> Files:
        tokens = {"decoder_start_token_id": 1, "eos_token_id": 1, "pad_token_id": 2}
        return files(
            "vision-encoder-decoder",
            "VisionEncoderDecoderModel",
            processor,
            image_processor,
            config={"encoder": encoder, "decoder": decoder | _DECODER} | tokens,
            image={"size": size},
        )

    return build


_SWIN = {
    "model_type": "donut-swin",
    "image_size": [96, 64],
    "patch_size": 4,
    "embed_dim": 16,
    "depths": [1, 1],
    "num_heads": [2, 2],
    "window_size": 4,
}
_TROCR = _TOKENS | {
    "model_type": "trocr",
    "d_model": 48,
    "decoder_layers": 2,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 256,
    "cross_attention_hidden_size": 32,
}


def _t5gemma2(ids: dict[str, int]) -> Files:
    kinds = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
    text = TEXT | kinds | {"head_dim": 16}
    marks = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    return files(
        "t5gemma2",
        "T5Gemma2ForConditionalGeneration",
        "Gemma3Processor",
        "Gemma3ImageProcessor",
        config={
            "image_token_index": ids["<image_soft_token>"],
            "encoder": {
                "model_type": "t5gemma2_encoder",
                "mm_tokens_per_image": 4,
                "image_token_index": ids["<image_soft_token>"],
                "boi_token_index": ids["<start_of_image>"],
                "eoi_token_index": ids["<end_of_image>"],
                "text_config": text | {"model_type": "t5gemma2_text"},
                "vision_config": SIGLIP,
            },
            "decoder": text | {"model_type": "t5gemma2_decoder"},
        },
        image={"size": SQUARE},
        own={"image_seq_length": 4},
        names=marks | {"image_token": "<image_soft_token>"},
    )


#: As `small_documents.FAMILIES`.
ENCODER_DECODERS: dict[str, tuple[Sequence[str], str | None, Any]] = {
    "florence2": (("<image>", "<OCR>"), None, _florence2),
    "pix2struct": ((), None, _pix2struct(is_vqa=False)),
    "pix2struct_vqa": ((), None, _pix2struct(is_vqa=True)),
    "donut": (
        ("<s_cord-v2>",),
        None,
        _vision_encoder_decoder(
            _SWIN,
            _BART | {"model_type": "mbart"},
            "DonutProcessor",
            "DonutImageProcessor",
            {"height": 96, "width": 64},
        ),
    ),
    "trocr": (
        (),
        None,
        _vision_encoder_decoder(
            VISION | {"model_type": "vit"}, _TROCR, "TrOCRProcessor", "ViTImageProcessor", SQUARE
        ),
    ),
    "t5gemma2": (("<start_of_image>", "<end_of_image>", "<image_soft_token>"), None, _t5gemma2),
}
