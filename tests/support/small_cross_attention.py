"""Decoders that see the page by cross attention or queries, at toy size (`small_documents`)."""

from small_files import SQUARE, TEXT, VISION, Files, files


def mllama(ids: dict[str, int]) -> Files:
    return files(
        "mllama",
        "MllamaForConditionalGeneration",
        "MllamaProcessor",
        "MllamaImageProcessor",
        config={
            "image_token_index": ids["<|image|>"],
            "text_config": TEXT
            | {"model_type": "mllama_text_model", "cross_attention_layers": [1]},
            "vision_config": {
                **{key: VISION[key] for key in ("hidden_size", "intermediate_size")},
                "image_size": 56,
                "patch_size": 14,
                "num_hidden_layers": 2,
                "num_global_layers": 1,
                "attention_heads": 2,
                "vision_output_dim": 64,
                "intermediate_layers_indices": [1],
                "max_num_tiles": 4,
            },
        },
        image={"size": SQUARE, "max_image_tiles": 4},
    )


def kosmos2_5(ids: dict[str, int]) -> Files:
    return files(
        "kosmos-2.5",
        "Kosmos2_5ForConditionalGeneration",
        "Kosmos2_5Processor",
        "Kosmos2_5ImageProcessor",
        config={
            "latent_query_num": 8,
            "text_config": {
                "vocab_size": 320,
                "max_position_embeddings": 256,
                "embed_dim": 32,
                "layers": 2,
                "ffn_dim": 64,
                "attention_heads": 2,
                "bos_token_id": 0,
                "eos_token_id": 1,
                "pad_token_id": 2,
            },
            # Its processor makes 4,096 patches of every page, whatever its settings.
            "vision_config": {
                "hidden_size": 8,
                "intermediate_size": 16,
                "head_dim": 8,
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
            },
        },
        own={"num_image_tokens": 8},
        names={"boi_token": "<image>", "eoi_token": "</image>", "image_token": "<s>"},
    )
