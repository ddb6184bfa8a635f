"""Model folders that are incomplete, damaged or malicious."""

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoints import MODELS, write_llava, write_published
from permissions import run_obeying
from safetensors.torch import load_file, save_file

from mfuscope.core.errors import UserError
from mfuscope.models.inputs import input_maker
from mfuscope.models.loader import load_model
from mfuscope.models.sizes import check_sizes
from mfuscope.models.spec import resolve_model

CPU = torch.device("cpu")
WEIGHTS, INDEX = "model-00001-of-000001.safetensors", "model.safetensors.index.json"
ONE_EXPERT = "model.layers.1.mlp.experts.3.gate_proj.weight"

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    write_published(folder / "published")
    write_llava(folder / "llava")
    return folder


@pytest.fixture
def published(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / "published", tmp_path / "published"))


@pytest.fixture
def llava(originals: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(originals / "llava", tmp_path / "llava"))


def load(folder: Path) -> None:
    """What a session does before its first run."""
    spec = resolve_model(str(folder), "auto", MODELS)
    loaded = load_model(spec, "fp32", "sdpa", CPU)
    input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)


def assert_one_line_with_remedy(caught: pytest.ExceptionInfo[UserError]) -> None:
    text = str(caught.value)
    assert "\n" not in text
    assert "Remedy: " in text


def write(name: str, content: bytes | str) -> Change:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def edit_json(name: str, *place: str, **values: Any) -> Change:
    """Set values in a mapping of a JSON file; None removes one."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        part = content
        for key in place:
            part = part[key]
        for key, value in values.items():
            if value is None:
                del part[key]
            else:
                part[key] = value
        (folder / name).write_text(json.dumps(content))

    return change


def edit_header(edit: Callable[[dict[str, Any]], object]) -> Change:
    """A header that lies, of the right length."""

    def change(folder: Path) -> None:
        content = (folder / WEIGHTS).read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + length])
        edit(header)
        text = json.dumps(header).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])

    return change


def edit_tensors(edit: Callable[[dict[str, torch.Tensor]], object]) -> Change:
    """Other tensors in valid files."""

    def change(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        edit(tensors)
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"] = dict.fromkeys(tensors, WEIGHTS)
        (folder / INDEX).write_text(json.dumps(index))

    return change


def shards(*names: object) -> Change:
    """An index that names other files."""

    def change(folder: Path) -> None:
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"] |= {f"tensor {number}": name for number, name in enumerate(names)}
        (folder / INDEX).write_text(json.dumps(index))

    return change


def _overlap(header: dict[str, Any]) -> None:
    first, second = (name for name in list(header)[:3] if name != "__metadata__")
    header[first]["data_offsets"] = header[second]["data_offsets"]


def _beyond(header: dict[str, Any]) -> None:
    tensor = header["lm_head.weight"]
    tensor["data_offsets"] = [10**15 + offset for offset in tensor["data_offsets"]]


def _unpickled_index(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "pytorch_model.bin")
    shards("pytorch_model.bin")(folder)


FILES: dict[str, tuple[Change, str]] = {
    "config gone": (lambda f: (f / "config.json").unlink(), "holds no config.json"),
    "config no JSON": (write("config.json", "{'a': 1}"), "cannot read .*config.json"),
    "config binary": (write("config.json", b"\xff\xfe\0"), "cannot read .*config.json"),
    "config a list": (write("config.json", "[]"), "no JSON object"),
    "config too deep": (write("config.json", "[" * 100_000), "cannot read .*recursion"),
    "tokenizer cut": (write("tokenizer.json", '{"model": {'), "tokenizer.json' .*truncated"),
    "tokenizer empty": (write("tokenizer.json", ""), "tokenizer.json' .*truncated"),
    "tokenizer of nothing": (write("tokenizer.json", "{}"), "it has no `model`"),
    "generation config cut": (write("generation_config.json", "{"), "generation_config.json"),
    "weights gone": (lambda f: (f / WEIGHTS).unlink(), r"holds no \*\.safetensors"),
    "a shard gone": (shards("b.safetensors"), "lacks 1 of the files .* first 'b.safetensors'"),
    "weights empty": (write(WEIGHTS, b""), "is damaged"),
    "weights of noise": (write(WEIGHTS, b"\xff" * 1000), "is damaged .*header too large"),
    "weights cut": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1000]),
        "is damaged",
    ),
    "weights too long": (
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes() + b"more"),
        "is damaged .*not fully covered",
    ),
    "header says unknown dtype": (
        edit_header(lambda h: h["lm_head.weight"].update(dtype="Q99")),
        "is damaged .*unknown variant `Q99`",
    ),
    "header says wrong shape": (
        edit_header(lambda h: h["lm_head.weight"].update(shape=[7])),
        "is damaged .*invalid shape",
    ),
    "header says negative shape": (
        edit_header(lambda h: h["lm_head.weight"].update(shape=[-1, 64])),
        "is damaged .*invalid value",
    ),
    "header overlaps": (edit_header(_overlap), "is damaged .*invalid offset"),
    "header points beyond": (edit_header(_beyond), "is damaged .*invalid offset"),
    "index cut": (write(INDEX, "{"), "cannot read .*index.json"),
    "index without a map": (write(INDEX, '{"metadata": {}}'), "it has no `weight_map`"),
    "index with a list": (write(INDEX, '{"metadata": {}, "weight_map": [1]}'), "no `weight_map`"),
    "index leaves the folder": (shards("../../etc/passwd"), "which is no file of its folder"),
    "index names a path": (shards("/etc/passwd.safetensors"), "which is no file of its folder"),
    "index names a number": (shards(5), "names 5, which is no file of its folder"),
    "index names a pickle": (_unpickled_index, "'pytorch_model.bin', which is no .safetensors"),
    "index names another tensor": (shards(WEIGHTS), f"'tensor 0' is not in '{WEIGHTS}'"),
    "no index": (lambda f: (f / INDEX).unlink(), "neither model.safetensors nor"),
    "an adapter": (write("adapter_config.json", "{}"), "holds an adapter"),
}


@pytest.mark.parametrize("case", FILES)
def test_damaged_files_are_reported_at_planning(case: str, published: Path) -> None:
    change, message = FILES[case]
    change(published)
    with pytest.raises(UserError, match=message) as caught:
        resolve_model(str(published), "auto", MODELS)
    assert_one_line_with_remedy(caught)


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
@pytest.mark.parametrize(
    "name",
    ["config.json", "tokenizer.json", "generation_config.json", "extra.jinja", WEIGHTS, INDEX],
)
def test_files_that_are_not_regular_are_refused(name: str, kind: str, published: Path) -> None:
    """A pipe would block its reader, and a device might never end."""
    path = published / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match=f"{name}' is no regular file") as caught:
        resolve_model(str(published), "auto", MODELS)
    assert_one_line_with_remedy(caught)


# What may not be read, and its mode.
LOCKED = {
    "whole": (".", 0o000),
    "not to be listed": (".", 0o311),
    "not to be entered": (".", 0o644),
    **{
        name: (name, 0o000)
        for name in ("config.json", "tokenizer.json", "chat_template.jinja", WEIGHTS, INDEX)
    },
}
RESOLVE = """
import sys
from pathlib import Path
from mfuscope.core.errors import UserError
from mfuscope.models.spec import resolve_model
for folder in sys.argv[2:]:
    try:
        resolve_model(folder, "auto", Path(sys.argv[1]))
    except UserError as error:
        print(error)
    else:
        print("nothing is wrong")
"""


def test_what_may_not_be_read_is_reported_at_planning(originals: Path, tmp_path: Path) -> None:
    """In a process of its own, which obeys the modes of files even if root runs this test."""
    for case, (name, mode) in LOCKED.items():
        folder = Path(shutil.copytree(originals / "published", tmp_path / case))
        (folder / "chat_template.jinja").touch()
        (folder / name).chmod(mode)
    folders = [str(tmp_path / case) for case in LOCKED]
    try:
        printed = run_obeying(RESOLVE, str(MODELS), *folders).splitlines()
    finally:
        for case, (name, _) in LOCKED.items():
            (tmp_path / case / name).chmod(0o755)
    for (case, (name, _)), line in zip(LOCKED.items(), printed, strict=True):
        assert line.startswith(f"model: cannot read '{tmp_path / case}"), case
        assert name == "." or name in line
        assert "Permission denied" in line
        assert "Remedy: give yourself read permission for the folder and its files (chmod" in line


LANGUAGE = ("config.json", "language_config")
SAM = ("config.json", "vision_config", "width", "sam_vit_b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_json("config.json", architectures=None), "names no architecture"),
        (edit_json("config.json", architectures="DeepseekOCRForCausalLM"), "names no architecture"),
        (edit_json("config.json", architectures=[[]]), "names no architecture"),
        (edit_json("config.json", architectures=["X"], model_type=[1]), "from its own repository"),
        (edit_json("config.json", language_config=None), "language_config is missing"),
        (edit_json("config.json", vision_config="sam"), "vision_config is missing or no mapping"),
        (edit_json(*SAM[:3], sam_vit_b=None), "width.sam_vit_b is missing"),
        (edit_json(*LANGUAGE, vocab_size=None), "vocab_size is missing"),
        (edit_json(*LANGUAGE, num_hidden_layers=0), "num_hidden_layers is 0, no whole number"),
        (edit_json(*LANGUAGE, num_hidden_layers=-1), "num_hidden_layers is -1, no whole number"),
        (edit_json(*LANGUAGE, num_hidden_layers="two"), 'num_hidden_layers is "two", no whole'),
        (edit_json(*LANGUAGE, num_hidden_layers=10**9), "is 1000000000, more than 10000"),
        (edit_json(*LANGUAGE, hidden_size=2.5), "hidden_size is 2.5, no whole number"),
        (edit_json(*LANGUAGE, hidden_size=True), "hidden_size is true, no whole number"),
        (edit_json(*LANGUAGE, hidden_size=[64]), "of the wrong type"),
        (edit_json(*LANGUAGE, num_attention_heads=3), "no multiple of num_attention_heads 3"),
        (edit_json(*LANGUAGE, num_experts_per_tok=99), "num_experts_per_tok 99 is no whole number"),
        (edit_json(*LANGUAGE, first_k_dense_replace="a"), 'first_k_dense_replace "a" is no whole'),
        (edit_json(*LANGUAGE, topk_method="best"), 'topk_method "best" is not part of'),
        (edit_json(*LANGUAGE, bos_token_id=10**6), "bos_token_id 1000000 is no token"),
        (edit_json(*LANGUAGE, eos_token_id="end"), 'eos_token_id "end" is no token'),
        (edit_json(*LANGUAGE, rope_theta="far"), "could not convert"),
        (edit_json("config.json", image_token_id=-1), "image_token_id -1 is no token"),
        (edit_json("config.json", torch_dtype="float99"), 'torch_dtype "float99" is not one of'),
        (edit_json(*SAM, width=0), "sam_vit_b.width is 0"),
        (edit_json(*SAM, heads=7), "width 48 is no multiple of heads 7"),
        (edit_json(*SAM, downsample_channels=[]), "of the wrong type"),
    ],
)
def test_configs_that_make_no_sense_are_reported_at_planning(
    change: Change, message: str, published: Path
) -> None:
    change(published)
    with pytest.raises(UserError, match=message) as caught:
        resolve_model(str(published), "dummy", MODELS)
    assert_one_line_with_remedy(caught)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"size": "large"}', 'size.height in .* is "large".*from 64 to 8192'),
        ('{"size": {"height": "x"}}', 'size.height in .* is "x"'),
        ('{"size": {"shortest_edge": 640}}', "size.height in .* is null"),
        ('{"size": null}', "size.height in .* is null"),
        ('{"size": {"height": 10000000}}', "size.height in .* is 10000000"),
        ('{"tile_size": 0}', "tile_size in .* is 0"),
        ('{"tile_size": -640}', "tile_size in .* is -640"),
        ('{"tile_size": 640.5}', "tile_size in .* is 640.5"),
        ('{"min_patches": 9, "max_patches": 2}', "min_patches in .* is 9.*from 1 to 2"),
        ('{"min_patches": 0}', "min_patches in .* is 0"),
        ('{"max_patches": 1000000000}', "max_patches in .* is 1000000000"),
        ('{"maximum_pad_value": "x"}', 'maximum_pad_value in .* is "x"'),
        ('{"resolution": ["tiny"]}', r'unknown resolution \["tiny"\]'),
        ('{"resolution": "huge"}', 'unknown resolution "huge"'),
        ("[]", "no JSON object"),
    ],
)
def test_preprocessing_that_makes_no_sense_is_reported_at_planning(
    content: str, message: str, published: Path
) -> None:
    (published / "preprocessor_config.json").write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        resolve_model(str(published), "auto", MODELS)
    assert_one_line_with_remedy(caught)


def test_sizes_may_be_absent_or_one_per_stage() -> None:
    check_sizes({"hidden_size": None, "vision": {"depth": [2, 4], "layers": {"width": 3}}})
    with pytest.raises(ValueError, match=r"vision\.depth is 0"):
        check_sizes({"vision": {"depth": [2, 0]}})


@pytest.mark.parametrize("name", ["nobody's/model", "a/b--c", "a/..b", "owner/name.git", "~none/x"])
def test_impossible_names_are_reported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model: ") as caught:
        resolve_model(name, "auto", MODELS)
    assert_one_line_with_remedy(caught)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            edit_tensors(lambda t: t.pop("lm_head.weight")),
            "does not fit its config: 1 missing keys, first lm_head.weight",
        ),
        (
            edit_tensors(lambda t: t.update(more=torch.zeros(2))),
            "does not fit its config: 1 unexpected keys, first more",
        ),
        (
            edit_tensors(lambda t: t.update({"lm_head.weight": torch.zeros(5, 64)})),
            r"1 mismatched keys, first lm_head.weight with shape \(5, 64\) for \(129280, 64\)",
        ),
        (edit_tensors(lambda t: t.pop(ONE_EXPERT)), "cannot build .* conversion of the weights"),
        (
            edit_tensors(lambda t: t.update({ONE_EXPERT: torch.zeros(32, 63)})),
            "cannot build .* conversion of the weights",
        ),
        (
            write("tokenizer.json", '{"model": {"type": "X"}}'),
            "cannot use the tokenizer .*data did not match",
        ),
    ],
)
def test_what_does_not_fit_is_reported_when_the_session_opens(
    change: Change, message: str, published: Path
) -> None:
    change(published)
    with pytest.raises(UserError, match=message) as caught:
        load(published)
    assert_one_line_with_remedy(caught)


def test_a_tokenizer_of_another_model_is_reported(published: Path) -> None:
    """Its ids may lie beyond the vocabulary: on a GPU that would be an assertion of the device."""
    change = edit_json(*LANGUAGE, vocab_size=300)
    change(published)
    edit_json("config.json", image_token_id=299)(published)
    spec = resolve_model(str(published), "dummy", MODELS)
    loaded = load_model(spec, "fp32", "sdpa", CPU)
    with pytest.raises(UserError, match=r"is no token of .*, whose vocabulary has 300") as caught:
        input_maker(spec, loaded.folder, "Free OCR.", loaded.model.config)
    assert_one_line_with_remedy(caught)


def test_a_mark_of_the_image_within_the_prompt_is_reported(published: Path) -> None:
    spec = resolve_model(str(published), "dummy", MODELS)
    loaded = load_model(spec, "fp32", "sdpa", CPU)
    with pytest.raises(UserError, match="prompt: it holds the mark of the image"):
        input_maker(spec, loaded.folder, "<image>\nFree OCR.", loaded.model.config)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit_json("config.json", "text_config", num_attention_heads=3), "multiple of the number"),
        (edit_json("config.json", vision_config="none"), "cannot use the config of"),
        (
            edit_json("config.json", quantization_config={"quant_method": "awq", "bits": 4}),
            "is quantised .awq., and",
        ),
        (edit_json("processor_config.json", "image_processor", size="x"), "cannot load the proce"),
    ],
)
def test_what_does_not_fit_another_architecture_is_reported(
    change: Change, message: str, llava: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    change(llava)
    with pytest.raises(UserError, match=message) as caught:
        load(llava)
    assert_one_line_with_remedy(caught)


def test_weights_may_not_be_named_by_the_config(llava: Path) -> None:
    """transformers takes ``adapter_model.bin`` from there, a pickle."""
    edit_json("config.json", transformers_weights="adapter_model.bin")(llava)
    with pytest.raises(UserError, match="names a file of weights"):
        resolve_model(str(llava), "auto", MODELS)


# --- nothing in a folder is run ------------------------------------------------------------------


class Bomb:
    """A pickle of it makes a file where it is read."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_pickles_beside_safetensors_are_left_alone(published: Path, tmp_path: Path) -> None:
    marker = tmp_path / "unpickled"
    bomb = pickle.dumps(Bomb(marker))
    pickle.loads(bomb)
    assert marker.exists(), "the bomb works"
    marker.unlink()
    for name in ("pytorch_model.bin", "model.pt", "training_args.bin", "adapter_model.bin"):
        (published / name).write_bytes(bomb)
    load(published)
    assert not marker.exists()
    for path in published.glob("*.safetensors*"):
        path.unlink()
    with pytest.raises(UserError, match="are pickles, which can run code"):
        load(published)
    assert not marker.exists()


@pytest.mark.parametrize("kind", ["published", "llava"])
def test_code_in_a_folder_is_not_run(
    kind: str, originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the config asks for it, and where libraries would look for it by themselves."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    folder = Path(shutil.copytree(originals / kind, tmp_path / kind))
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')\nclass Evil:\n    pass\n"
    for name in ("evil.py", "modeling_deepseekocr.py", "custom_generate/generate.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(code)
    classes = ("Config", "Model", "ModelForImageTextToText", "ImageProcessor", "Processor")
    automatic = dict.fromkeys((f"Auto{name}" for name in (*classes, "Tokenizer")), "evil.Evil")
    for name in ("config.json", "tokenizer_config.json", "processor_config.json"):
        if (folder / name).exists():
            edit_json(name, auto_map=automatic)(folder)
    load(folder)
    assert not marker.exists()
    exec(compile(code, "evil.py", "exec"))
    assert marker.exists(), "the code works"
