"""Finding models and describing them."""

import json
import shutil
from pathlib import Path

import pytest
from checkpoints import (
    MODELS,
    write_published,
)
from small_models import write_small_model
from stand_in_tokenizer import write_stand_in_tokenizer

from mfuscope.core.errors import UserError
from mfuscope.models.families import Family
from mfuscope.models.spec import resolve_model


@pytest.mark.parametrize(
    ("name", "family", "mode", "tiles"),
    [
        ("deepseek-ocr", Family.DEEPSEEK_OCR, "gundam", 9),
        ("deepseek-ocr-nano", Family.DEEPSEEK_OCR, "tiny", 9),
        ("deepseek-ocr-2", Family.DEEPSEEK_OCR_2, "gundam", 6),
    ],
)
def test_bundled_models(name: str, family: Family, mode: str, tiles: int) -> None:
    spec = resolve_model(name, "auto", MODELS)
    assert (spec.source, spec.family, spec.default_mode) == ("bundled", family, mode)
    assert spec.weights == "dummy"
    assert spec.tiling is not None
    assert spec.tiling.max_tiles == tiles
    assert spec.geometry(1000, 1500, "auto") == spec.geometry(1000, 1500, mode)


@pytest.mark.parametrize("name", ["deepseek-ocr", "deepseek-ocr-nano", "deepseek-ocr-2"])
def test_bundled_tokenizers_are_the_stand_in(name: str, tmp_path: Path) -> None:
    config = json.loads((MODELS / name / "config.json").read_text())
    write_stand_in_tokenizer(tmp_path, config.get("image_token_id", 128815))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / file).read_text() == (MODELS / name / file).read_text()


def test_fingerprints_distinguish_models(tmp_path: Path) -> None:
    write_published(tmp_path / "m")
    first = resolve_model(str(tmp_path / "m"), "auto", MODELS).fingerprint
    for path in (tmp_path / "m").iterdir():
        path.touch()
    assert resolve_model(str(tmp_path / "m"), "auto", MODELS).fingerprint == first
    shutil.copytree(tmp_path / "m", tmp_path / "moved")
    assert resolve_model(str(tmp_path / "moved"), "auto", MODELS).fingerprint == first
    assert resolve_model(str(tmp_path / "m"), "dummy", MODELS).fingerprint != first
    (tmp_path / "m" / "generation_config.json").write_text("{}")
    assert resolve_model(str(tmp_path / "m"), "auto", MODELS).fingerprint != first


def _folder(tmp_path: Path, config: object, *extra: str) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    for name in extra:
        (folder / name).touch()
    return str(folder)


def test_unknown_models_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'deepseek-ocr-nano'"):
        resolve_model("deepseek-ocr-nan", "auto", MODELS)
    with pytest.raises(UserError, match="folder '/no/such/model' does not exist"):
        resolve_model("/no/such/model", "auto", MODELS)
    with pytest.raises(UserError, match=r"holds no config\.json"):
        resolve_model(str(tmp_path), "auto", MODELS)


@pytest.mark.parametrize(
    ("config", "files", "message"),
    [
        ({}, (), "names no architecture"),
        ([], (), "is no JSON object"),
        ({"architectures": ["X"], "model_type": "bert"}, (), "no image-text-to-text model"),
        (
            {"architectures": ["X"], "model_type": "x", "auto_map": {"AutoModel": "x.X"}},
            ("model.safetensors",),
            "code from its own repository",
        ),
        ({"architectures": ["X"], "model_type": "llava"}, (), r"holds no \*\.safetensors"),
        ({"architectures": ["X"], "model_type": "llava"}, ("m.bin",), "are pickles"),
    ],
)
def test_unusable_models_are_refused(
    config: object, files: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        resolve_model(_folder(tmp_path, config, *files), "auto", MODELS)
    assert "\n" not in str(caught.value)


def test_files_that_are_missing_are_named_before_anything_is_measured(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    write_published(folder)
    tokenizer = (folder / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        resolve_model(str(folder), "auto", MODELS)
    tokenizer.rename(folder / "tokenizer.json")
    index = folder / "model.safetensors.index.json"
    names = [path.name for path in folder.glob("*.safetensors")]
    shards = dict.fromkeys("abc", names[0]) | {"d": "model-00002-of-00002.safetensors"}
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    with pytest.raises(UserError, match=r"lacks 1 of the files .* first 'model-00002"):
        resolve_model(str(folder), "auto", MODELS)


@pytest.mark.parametrize(
    "file",
    [
        *("config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json"),
        *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        *("chat_template.json", "chat_template.jinja", "merges.txt", "vocab.txt", "spiece.model"),
        *("additional_chat_templates/ocr.jinja", "qformer_tokenizer/tokenizer.json"),
    ],
)
def test_every_file_that_is_read_is_in_the_fingerprint(file: str, tmp_path: Path) -> None:
    write_small_model(tmp_path / "m", "qwen2_vl")
    before = resolve_model(str(tmp_path / "m"), "dummy", MODELS).fingerprint
    path = tmp_path / "m" / file
    path.parent.mkdir(exist_ok=True)
    content = path.read_text() if path.exists() else "{}"
    path.write_text(content + "\n")
    after = resolve_model(str(tmp_path / "m"), "dummy", MODELS).fingerprint
    assert after != before
    (tmp_path / "m" / "README.md").write_text("What it is good for.")
    assert resolve_model(str(tmp_path / "m"), "dummy", MODELS).fingerprint == after


@pytest.mark.parametrize("load_format", ["auto", "dummy"])
@pytest.mark.parametrize("family", ["deepseek-ocr", "qwen2_vl"])
@pytest.mark.parametrize(
    ("stated", "method"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "awq"}, "awq"),
        ({"bits": 4}, "quantization_config"),
    ],
)
@pytest.mark.parametrize("part", [None, "text_config"])
def test_quantised_weights_are_refused(
    load_format: str,
    family: str,
    stated: dict[str, object],
    method: str,
    part: str | None,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "m"
    if family == "qwen2_vl":
        write_small_model(folder, family)
    else:
        shutil.copytree(MODELS / family, folder)
        part = part and "language_config"
    config = json.loads((folder / "config.json").read_text())
    (config[part] if part else config)["quantization_config"] = stated
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=rf"is quantised \({method}\)") as caught:
        resolve_model(str(folder), load_format, MODELS)
    assert str(caught.value).isprintable()
