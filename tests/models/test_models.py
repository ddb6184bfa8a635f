"""Finding, mapping, building and loading models."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from checkpoints import (
    MODELS,
    ROOT,
    published_tensors,
    small_config,
    write_llava,
    write_published,
)
from huggingface_hub.errors import LocalEntryNotFoundError
from stand_in_tokenizer import write_stand_in_tokenizer
from tokenizers import Tokenizer
from transformers import UnlimitedOcrConfig, UnlimitedOcrForConditionalGeneration

from mfuscope.core.errors import UserError
from mfuscope.models.inputs import input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.published import map_published_config
from mfuscope.models.families import Family
from mfuscope.models.spec import resolve_model
from mfuscope.pages.decoding import decode_page

CPU = torch.device("cpu")
PAGE = ROOT / "data" / "samples" / "image_eu_map.png"


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
    assert spec.resolution(1000, 1500, "auto") == spec.resolution(1000, 1500, mode)


@pytest.mark.parametrize("name", ["deepseek-ocr", "deepseek-ocr-nano", "deepseek-ocr-2"])
def test_bundled_tokenizers_are_the_stand_in(name: str, tmp_path: Path) -> None:
    config = json.loads((MODELS / name / "config.json").read_text())
    write_stand_in_tokenizer(tmp_path, config.get("image_token_id", 128815))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        assert (tmp_path / file).read_text() == (MODELS / name / file).read_text()


def test_the_published_prompt_has_its_published_length() -> None:
    tokenizer = Tokenizer.from_file(str(MODELS / "deepseek-ocr" / "tokenizer.json"))
    assert len(tokenizer.encode("\nFree OCR.").ids) == 4
    assert tokenizer.token_to_id("<image>") == 128815
    assert tokenizer.decode(tokenizer.encode("Grüße, 日本").ids) == "Grüße, 日本"


def test_full_size_has_the_published_parameters() -> None:
    published = json.loads((MODELS / "deepseek-ocr" / "config.json").read_text())
    config = UnlimitedOcrConfig(**map_published_config(published))
    with torch.device("meta"):
        model = UnlimitedOcrForConditionalGeneration._from_config(config)
    # CLIP's own patch embedding is published but never runs: SAM's features take its place.
    unused = 1024 * 3 * 14 * 14
    assert sum(p.numel() for p in model.parameters()) == 3_336_106_240 - unused
    assert len(published_tensors()) == 2710
    assert set(config.text_config.layer_types) == {"full_attention"}
    assert config.text_config.mlp_layer_types == ["dense"] + ["sparse"] * 11


@pytest.mark.parametrize("generation_config", [True, False])
def test_published_checkpoints_load(generation_config: bool, tmp_path: Path) -> None:
    tensors = write_published(tmp_path / "m", generation_config=generation_config)
    spec = resolve_model(str(tmp_path / "m"), "auto", MODELS)
    assert (spec.source, spec.weights) == ("folder", "checkpoint")
    loaded = load_model(spec, "fp32", "sdpa", CPU)  # refuses missing and unexpected keys
    state = loaded.model.state_dict()
    ours = state["model.language_model.layers.1.mlp.experts.gate_up_proj"][3]
    theirs = [
        tensors[f"model.layers.1.mlp.experts.3.{part}_proj.weight"] for part in ("gate", "up")
    ]
    assert torch.equal(ours, torch.cat(theirs).float())
    fused = tensors["model.vision_model.transformer.layers.0.self_attn.qkv_proj.weight"]
    key = "model.vision_tower.vision_encoder.encoder.layers.0.self_attn.k_proj.weight"
    assert torch.equal(state[key], fused.chunk(3)[1].float())
    made = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config).make(
        decode_page(PAGE, 150).image, "tiny", CPU, torch.float32
    )
    out = loaded.model.generate(**made.tensors, max_new_tokens=3, do_sample=False)
    assert out.shape[1] <= made.prompt_tokens + 3


def test_checkpoints_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_published(tmp_path / "m")
    config = small_config()
    config["language_config"]["num_hidden_layers"] = 3
    (tmp_path / "m" / "config.json").write_text(json.dumps(config))
    spec = resolve_model(str(tmp_path / "m"), "auto", MODELS)
    with pytest.raises(UserError, match=r"missing keys, first model\.language_model\.layers\.2"):
        load_model(spec, "fp32", "sdpa", CPU)


def test_another_architecture_loads(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    spec = resolve_model(str(tmp_path / "llava"), "auto", MODELS)
    assert (spec.family, spec.weights) == (Family.GENERIC, "checkpoint")
    assert spec.resolution(640, 682, "auto") == "native-640x682"
    loaded = load_model(spec, "fp32", "eager", CPU)
    maker = input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
    made = maker.make(decode_page(PAGE, 150).image, "auto", CPU, torch.float32)
    assert made.image_tokens == 16
    blank = maker.blank("native-640x682", CPU, torch.float32)
    assert {k: v.shape for k, v in blank.tensors.items()} == {
        k: v.shape for k, v in made.tensors.items()
    }
    dummy = load_model(resolve_model(str(tmp_path / "llava"), "dummy", MODELS), "fp32", "sdpa", CPU)
    assert dummy.parameters == loaded.parameters


def test_a_hub_id_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    revision = "0123456789" * 4
    repository = tmp_path / "models--someone--ocr"
    write_published(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    spec = resolve_model("someone/ocr", "auto", MODELS)
    assert (spec.source, spec.family) == ("hub", Family.DEEPSEEK_OCR)
    assert load_model(spec, "fp32", "sdpa", CPU).parameters > 0
    with pytest.raises(UserError, match="cannot get 'someone/else' from the hub"):
        resolve_model("someone/else", "auto", MODELS)


def test_weights_come_after_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning fetches the description, the first job the weights: still the same model."""
    write_published(tmp_path / "remote")
    snapshot = tmp_path / "cache" / "abc"
    asked: list[tuple[bool, object]] = []

    def download(
        name: str,
        *,
        revision: str | None = None,
        allow_patterns: list[str] | None = None,
        local_files_only: bool = False,
    ) -> str:
        asked.append((local_files_only, revision))
        if local_files_only and not snapshot.is_dir():
            raise LocalEntryNotFoundError("not in the cache")
        snapshot.mkdir(parents=True, exist_ok=True)
        for path in (tmp_path / "remote").iterdir():
            if not local_files_only and any(path.match(p) for p in allow_patterns or []):
                shutil.copy(path, snapshot)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    names = [path.name for path in (tmp_path / "remote").iterdir()]
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name, revision: names)
    planned = resolve_model("someone/ocr", "auto", MODELS)
    assert planned.weights == "checkpoint"
    assert not list(snapshot.glob("*.safetensors"))
    assert load_model(planned, "fp32", "sdpa", CPU).parameters > 0
    assert list(snapshot.glob("*.safetensors"))
    again = resolve_model("someone/ocr", "auto", MODELS)
    assert again.fingerprint == planned.fingerprint
    load_model(again, "fp32", "sdpa", CPU)
    # Locally, the description, the weights of that revision; then from the cache alone.
    assert asked == [(True, None), (False, None), (False, "abc"), (True, None), (True, "abc")]


def test_hub_models_without_safetensors_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_published(tmp_path / "abc")

    def download(name: str, *, local_files_only: bool = False, **_: object) -> str:
        if local_files_only:
            raise LocalEntryNotFoundError("not in the cache")
        return str(tmp_path / "abc")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda name, revision: ["model.bin"])
    with pytest.raises(UserError, match="holds no safetensors"):
        resolve_model("someone/ocr", "auto", MODELS)


def test_dummy_weights_are_seeded_and_ordinary() -> None:
    spec = resolve_model("deepseek-ocr-nano", "auto", MODELS)
    first, second = (load_model(spec, "fp32", "sdpa", CPU).model for _ in range(2))
    for (name, ours), theirs in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
        assert torch.isfinite(ours).all(), name
        if ours.ndim > 1 and not name.endswith("bias"):
            assert 0.015 < float(ours.std()) < 0.025, name
    # Buffers are computed, not left empty.
    rotary = first.model.language_model.rotary_emb.inv_freq
    assert float(rotary[0]) == 1.0


def test_fingerprints_tell_models_apart(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("language_config", "use_mla"), True, "use_mla"),
        (("projector_config", "projector_type"), "mlp", "projector_type"),
        (("projector_config", "input_dim"), 5, "input_dim"),
        (("language_config", "moe_layer_freq"), 2, "moe_layer_freq"),
    ],
)
def test_other_published_layouts_are_refused(
    path: tuple[str, str], value: object, message: str
) -> None:
    config = small_config()
    config[path[0]][path[1]] = value
    with pytest.raises(ValueError, match=message):
        map_published_config(config)


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
