"""Small checkpoints that tests write: DeepSeek-OCR's published names, and another architecture."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from stand_in_tokenizer import write_stand_in_tokenizer

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "config" / "models"
TENSORS = ROOT / "tests" / "data" / "deepseek-ocr-tensors.tsv"
IMAGE_TOKEN = 128815  # published checkpoints name it nowhere, the processing code knows it

LAYERS, EXPERTS, SAM_LAYERS, CLIP_LAYERS = 2, 4, 3, 2
# Published width -> ours, chosen so that equal numbers of different meaning stay apart or equal.
WIDTHS = {
    768: 48,
    2304: 144,
    3072: 192,  # SAM's MLP (4 x 48) and CLIP's fused projections (3 x 64)
    1024: 64,
    4096: 256,
    2048: 128,
    512: 32,
    1280: 64,
    6848: 96,
    896: 32,
    1792: 64,
}


def published_tensors() -> dict[str, tuple[int, ...]]:
    """Every published tensor name with its shape."""
    with TENSORS.open(newline="") as file:
        return {
            row["name"]: tuple(map(int, row["shape"].split(",")))
            for row in csv.DictReader(file, delimiter="\t")
        }


def small_tensors() -> dict[str, tuple[int, ...]]:
    """The published names of fewer layers and experts, at smaller widths."""
    limits = {
        r"^model\.layers\.(\d+)\.": LAYERS,
        r"\.experts\.(\d+)\.": EXPERTS,
        r"sam_model\.blocks\.(\d+)\.": SAM_LAYERS,
        r"transformer\.layers\.(\d+)\.": CLIP_LAYERS,
    }
    small = {}
    for name, shape in published_tensors().items():
        found = [(re.search(pattern, name), limit) for pattern, limit in limits.items()]
        if all(match is None or int(match[1]) < limit for match, limit in found):
            small[name] = _small_shape(name, shape)
    return small


def _small_shape(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    if "rel_pos" in name:
        return (shape[0], 16)  # width of a head
    if name.endswith("mlp.gate.weight"):
        return (EXPERTS, WIDTHS[1280])
    return tuple(WIDTHS.get(side, side) for side in shape)


def small_config() -> dict[str, Any]:
    """The published config of `small_tensors`."""
    config: dict[str, Any] = json.loads((MODELS / "deepseek-ocr" / "config.json").read_text())
    config["language_config"].update(
        num_hidden_layers=LAYERS,
        hidden_size=64,
        intermediate_size=96,
        moe_intermediate_size=32,
        n_routed_experts=EXPERTS,
        num_experts_per_tok=2,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    config["projector_config"].update(input_dim=128, n_embed=64)
    widths = config["vision_config"]["width"]
    widths["sam_vit_b"].update(
        width=48, layers=SAM_LAYERS, heads=3, global_attn_indexes=[2], downsample_channels=[32, 64]
    )
    widths["clip-l-14-224"].update(width=64, layers=CLIP_LAYERS, heads=4)
    return config


def small_unlimited_config() -> dict[str, Any]:
    """Unlimited-OCR's published config of `small_tensors`."""
    config = small_config() | {"model_type": "unlimited-ocr", "sliding_window": 4}
    config["architectures"] = ["UnlimitedOCRForCausalLM"]
    config["language_config"] |= {"sliding_window_size": 4, "max_position_embeddings": 32768}
    return config


def small_ocr_2_config() -> dict[str, Any]:
    """DeepSeek-OCR-2's published config, with a second encoder of toy size."""
    config = small_config() | {"architectures": ["DeepseekOCR2ForCausalLM"]}
    config["projector_config"]["input_dim"] = 32
    sam = config["vision_config"]["width"]["sam_vit_b"]
    queries = {"dim": 32, "layers": 2, "heads": 4, "kv_heads": 2, "mlp": 48}
    config["vision_config"]["width"] = {"sam_vit_b": sam, "qwen2-0-5b": queries}
    return config


def write_published_ocr_2(folder: Path) -> dict[str, torch.Tensor]:
    """A DeepSeek-OCR-2 checkpoint under the published names, which transformers writes."""
    from transformers import AutoConfig, DeepseekOcr2ForConditionalGeneration

    from mfuscope.models.published import map_published_config

    config = AutoConfig.for_model(**map_published_config(small_ocr_2_config()))
    torch.manual_seed(0)
    model = DeepseekOcr2ForConditionalGeneration(config)
    model.save_pretrained(folder)
    (folder / "config.json").write_text(json.dumps(small_ocr_2_config()))
    write_stand_in_tokenizer(folder, IMAGE_TOKEN)
    return dict(model.state_dict())


def write_published(
    folder: Path, *, generation_config: bool = True, config: dict[str, Any] | None = None
) -> dict[str, torch.Tensor]:
    """A DeepSeek-OCR checkpoint as it is published: names, layout, bf16. Returns its tensors."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config or small_config()))
    if generation_config:
        content = {"_from_model_config": True, "bos_token_id": 0, "eos_token_id": 1}
        (folder / "generation_config.json").write_text(json.dumps(content))
    write_stand_in_tokenizer(folder, IMAGE_TOKEN)
    generator = torch.Generator().manual_seed(1)
    tensors = {
        name: (torch.randn(shape, generator=generator) * 0.05).to(torch.bfloat16)
        for name, shape in small_tensors().items()
    }
    save_file(tensors, folder / "model-00001-of-000001.safetensors", metadata={"format": "pt"})
    index = {
        "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
        "weight_map": dict.fromkeys(tensors, "model-00001-of-000001.safetensors"),
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return tensors


def write_llava(folder: Path) -> None:
    """A LLaVA checkpoint of toy size with processor, tokenizer and chat template."""
    from transformers import (
        CLIPImageProcessorPil,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    image_token = 777
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=56,
            patch_size=14,
        ),
        text_config=LlamaConfig(
            vocab_size=800,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
        ),
        image_token_index=image_token,
    )
    torch.manual_seed(0)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    scratch = folder / "tokenizer"
    write_stand_in_tokenizer(scratch, image_token)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(scratch)
    shutil.rmtree(scratch)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": 56}, crop_size={"height": 56, "width": 56}
        ),
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template="USER: <image>\n{{ messages[0]['content'][1]['text'] }} ASSISTANT:",
    ).save_pretrained(folder)
