"""Layers, types and errors of settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mfuscope.config.environment import ENVIRONMENT
from mfuscope.config.settings import Settings, load_schema, resolve_settings
from mfuscope.core.errors import UserError, UserErrors

ROOT = Path(__file__).parents[2]
SCHEMA = load_schema(ROOT / "workflow" / "schemas" / "config.schema.yaml")


def resolve(
    file: dict[str, Any] | None = None,
    command_line: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> Settings:
    return resolve_settings(file or {}, command_line or {}, environment or {}, SCHEMA)


def test_the_bundled_file_has_the_defaults() -> None:
    """config.yaml lists every setting, with its default."""
    bundled = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    assert resolve(bundled) == resolve()
    assert set(bundled) == set(SCHEMA["properties"])


def test_precedence() -> None:
    file, environment = {"max_new_tokens": 1}, {"DSOCR_MAX_NEW_TOKENS": "2"}
    assert resolve().inference.max_new_tokens == 64
    assert resolve(file).inference.max_new_tokens == 1
    assert resolve(file, environment=environment).inference.max_new_tokens == 2
    both = resolve(file, {"max_new_tokens": 3}, environment)
    assert both.inference.max_new_tokens == 3


def test_every_variable_of_the_environment() -> None:
    settings = resolve(
        environment={
            "DSOCR_MODEL": "deepseek-ocr-2",
            "DSOCR_IMAGE": "pages",
            "DSOCR_DEVICE": "cpu",
            "DSOCR_USE_FLASH_ATTN": "1",
            "DSOCR_MAX_NEW_TOKENS": "7",
            "MFU_PEAK_TFLOPS": "312.5",
            "MFUSCOPE_RUNTIME_DIR": "~/run",
            "MFUSCOPE_RUNTIME": "not a setting, and no typo of one",
        }
    )
    assert len(ENVIRONMENT) == 7
    assert settings.inference.model == "deepseek-ocr-2"
    assert settings.images == (Path("pages"),)
    assert settings.device == "cpu"
    assert settings.inference.attention == "flash"
    assert settings.inference.max_new_tokens == 7
    assert settings.peak_tflops == 312.5
    assert settings.runtime_dir == Path.home() / "run"
    off = resolve({"attention": "eager"}, environment={"DSOCR_USE_FLASH_ATTN": "0"})
    assert off.inference.attention == "sdpa"
    assert resolve(environment={"DSOCR_MODEL": ""}) == resolve()


def test_strings_of_the_command_line_get_their_type() -> None:
    settings = resolve(
        command_line={
            "ignore_eos": "false",
            "peak_tflops": "100",
            "repeats": "5",
            "prompt": "123",
            "profiler": {"record_shapes": True},
        }
    )
    assert settings.inference.ignore_eos is False
    assert settings.peak_tflops == 100
    assert settings.repeats == 5
    assert settings.inference.prompt == "123"
    assert settings.profiler.record_shapes is True
    assert settings.profiler.with_stack is False


def test_strings_within_nested_values_get_their_type() -> None:
    """As Snakemake hands over `--config 'profiler={"record_shapes": true}'`."""
    settings = resolve(
        file={"profiler": {"with_stack": True}},
        command_line={
            "profiler": {"record_shapes": "true"},
            "variants": {"a": {"ignore_eos": "false", "max_new_tokens": "5"}, "b": "null"},
        },
    )
    assert settings.profiler.record_shapes is True
    assert settings.profiler.with_stack is True
    assert settings.variants["a"].ignore_eos is False
    assert settings.variants["a"].max_new_tokens == 5
    assert settings.variants["b"] == settings.inference


def test_whole_floats_are_integers() -> None:
    settings = resolve({"repeats": 3.0, "variants": {"a": {"max_new_tokens": 8.0}}})
    assert isinstance(settings.repeats, int)
    assert isinstance(settings.variants["a"].max_new_tokens, int)
    assert isinstance(resolve({"peak_tflops": 100.0}).peak_tflops, float)


@pytest.mark.parametrize("passes", [2, 4.0, 0, 1001, "3"])
def test_timed_passes_are_odd_so_that_one_is_in_the_middle(passes: Any) -> None:
    assert [resolve({"timed_passes": n}).timed_passes for n in (1, 3.0, 999)] == [1, 3, 999]
    with pytest.raises(UserErrors) as caught:
        resolve({"timed_passes": passes})
    (message,) = str(caught.value).splitlines()
    assert message.startswith("setting 'timed_passes' is ")
    assert "Remedy: use an odd number from 1 to 999, so that one pass is in the middle." in message


def test_variants() -> None:
    assert list(resolve().variants) == ["baseline"]
    assert list(resolve({"variants": None}).variants) == ["baseline"]
    two = resolve({"variants": {"baseline": None, "long": {"max_new_tokens": 128}}})
    assert {name: v.max_new_tokens for name, v in two.variants.items()} == {
        "baseline": 64,
        "long": 128,
    }
    names = resolve({"variants": {"half": {"dtype": "float16"}}})
    assert names.variants["half"].dtype == "fp16"


def test_a_variant_may_be_for_one_kind_of_device() -> None:
    """Which is no override of a setting, also not of the baseline's."""
    variants = {"baseline": {"only_on": "cpu"}, "batch": {"batch_size": 8, "only_on": "cuda"}}
    settings = resolve({"variants": variants | {"static": {"cache": "static"}}})
    assert settings.only_on == {"baseline": "cpu", "batch": "cuda"}
    assert settings.variants["baseline"] == settings.inference
    assert settings.variants["batch"].batch_size == 8
    assert resolve(dict(settings.overrides)) == settings
    with pytest.raises(UserErrors, match="'only_on' does not exist"):
        resolve({"only_on": "cpu"})


def test_images_may_be_several_paths() -> None:
    several = ["a.png", "~/pages"]
    expected = (Path("a.png"), Path.home() / "pages")
    for settings in (resolve({"images": several}), resolve(command_line={"images": several})):
        assert settings.images == expected
        assert settings.overrides == {"images": several}
    # A string is one path, whatever it looks like.
    assert resolve(environment={"DSOCR_IMAGE": "[a, b]"}).images == (Path("[a, b]"),)
    with pytest.raises(UserErrors) as caught:
        resolve({"images": ["~nobody-at-all/x", "fine", "~no-other/y"]})
    assert len(caught.value.errors) == 2


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ({"file": {"modle": "x"}}, "'modle' does not exist.*write 'model'"),
        ({"file": {"profiler": {"shapes": True}}}, "'profiler.shapes' does not exist"),
        ({"file": {"variants": {"a": {"repeat": 2}}}}, "'variants.a.repeat' does not exist"),
        ({"file": {"repeats": 0}}, "'repeats' is 0.*at least 1"),
        ({"file": {"repeats": True}}, "'repeats' is true"),
        ({"file": {"warmup": -1}}, "'warmup' is -1"),
        ({"file": {"peak_tflops": 0}}, "'peak_tflops' is 0.*above 0"),
        ({"file": {"peak_tflops": float("inf")}}, "'peak_tflops' is inf"),
        ({"file": {"peak_tflops": "fast"}}, "use a number above 0"),
        ({"file": {"cost_per_hour": 0}}, "'cost_per_hour' is 0.*above 0"),
        ({"command_line": {"cost_per_hour": "2,50"}}, "'cost_per_hour' is \"2,50\""),
        ({"file": {"cost_per_hours": 2}}, "'cost_per_hours' does not exist.*'cost_per_hour'"),
        ({"file": {"worker": {"run_timeout": float("nan")}}}, "'worker.run_timeout' is nan"),
        ({"file": {"worker": {"run_timeout": 0}}}, "'worker.run_timeout' is 0.*above 0"),
        ({"file": {"profiler": 3}}, "use a mapping of keys to values"),
        ({"file": {"repeats": 2.5}}, "'repeats' is 2.5"),
        ({"file": {"attention": "fast"}}, "'attention' is \"fast\".*sdpa, eager, flash"),
        ({"file": {"device": "tpu"}}, "'device' is \"tpu\".*cuda:N"),
        ({"file": {"cache": "paged"}}, "'cache' is \"paged\".*dynamic, static"),
        ({"file": {"compile": True}}, "'compile' is true.*none, decode, all"),
        ({"file": {"experts": ""}}, "'experts' is .*text that is not empty"),
        ({"file": {"batch_size": 0}}, "'batch_size' is 0.*at least 1"),
        ({"file": {"no_repeat_ngram_size": -1}}, "'no_repeat_ngram_size' is -1.*at least 0"),
        ({"file": {"variants": {"a": {"only_on": "gpu"}}}}, "'variants.a.only_on' is.*cuda, cpu"),
        ({"file": {"images": []}}, "'images' is .*a path, or a list of 1 to 1000 paths"),
        ({"file": {"images": ["a", 3]}}, "'images.1' is 3.*text that is not empty"),
        ({"command_line": {"ignore_eos": "maybe"}}, "'ignore_eos' is \"maybe\" .--config"),
        ({"command_line": {"repeats": "many"}}, "'repeats' is \"many\""),
        ({"environment": {"MFU_PEAK_TFLOPS": "fast"}}, "'peak_tflops'.*from the environment"),
        ({"environment": {"DSOCR_USE_FLASH_ATTN": "yes"}}, "DSOCR_USE_FLASH_ATTN is 'yes'"),
        ({"file": {"variants": {"a/b": {}}}}, "'a/b' cannot name a folder"),
        ({"file": {"variants": {"baseline": {"dtype": "fp32"}}}}, "'baseline' overrides"),
    ],
)
def test_mistakes_are_named(layers: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(UserErrors, match=message) as caught:
        resolve(**layers)
    assert "\n" not in str(caught.value)
    assert "Remedy: " in str(caught.value)


@pytest.mark.parametrize("text", ["1e3", "9.9e2", "1000", "0.5"])
def test_numbers_may_have_exponents(text: str) -> None:
    for given in (
        resolve(environment={"MFU_PEAK_TFLOPS": text}),
        resolve(command_line={"peak_tflops": text}),
    ):
        assert given.peak_tflops == float(text)


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("1e1", 10), ("12", 12), ("3.0", 3)])
def test_numbers_are_decimal(text: str, number: int) -> None:
    settings = resolve_settings({}, {}, {"DSOCR_MAX_NEW_TOKENS": text}, SCHEMA)
    assert settings.inference.max_new_tokens == number
    assert type(settings.inference.max_new_tokens) is int


@pytest.mark.parametrize("text", ["1:30", "0x10", "0b1", "3.5", "ten", "true"])
def test_what_is_no_decimal_number_is_refused(text: str) -> None:
    """YAML would make numbers of some."""
    with pytest.raises(UserErrors, match="'max_new_tokens' is"):
        resolve_settings({}, {}, {"DSOCR_MAX_NEW_TOKENS": text}, SCHEMA)


@pytest.mark.parametrize(
    ("variable", "remedy"),
    [("DSOCR_IMAGES", "write DSOCR_IMAGE"), ("MFU_PEAK", "write MFU_PEAK_TFLOPS"), ("DSOCR_", "")],
)
def test_a_variable_that_sets_nothing_is_reported(variable: str, remedy: str) -> None:
    with pytest.raises(UserErrors, match=f"{variable} .*sets nothing.*{remedy}"):
        resolve_settings({}, {}, {variable: "x"}, SCHEMA)


def test_overrides_make_the_same_settings() -> None:
    settings = resolve(
        {"repeats": 4, "profiler": {"decode_steps": 2}, "variants": {"a": {"dtype": "bf16"}}},
        {"max_new_tokens": "7"},
        {"DSOCR_IMAGE": "elsewhere", "MFUSCOPE_RUNTIME_DIR": "run"},
    )
    assert settings.overrides == {
        "repeats": 4,
        "profiler": {"decode_steps": 2},
        "variants": {"a": {"dtype": "bf16"}},
        "max_new_tokens": 7,
        "images": "elsewhere",
        "worker": {"runtime_dir": "run"},
    }
    assert resolve(dict(settings.overrides)) == settings
    assert resolve().overrides == resolve({"variants": {"baseline": None}}).overrides == {}


def test_the_runtime_folder() -> None:
    assert resolve().runtime_dir == Path("/tmp")
    file = {"worker": {"runtime_dir": "/a", "keep_alive": 5}}
    assert resolve(file).runtime_dir == Path("/a")
    environment = {"MFUSCOPE_RUNTIME_DIR": "/b"}
    both = resolve(file, environment=environment)
    assert (both.runtime_dir, both.keep_alive) == (Path("/b"), 5)
    line = {"worker": {"runtime_dir": "/c"}}
    assert resolve(file, line, environment).runtime_dir == Path("/c")
    with pytest.raises(UserErrors, match=r"worker\.runtime_dir: '~nobody-at-all' names the home"):
        resolve({"worker": {"runtime_dir": "~nobody-at-all"}})


@pytest.mark.parametrize("text", ["Read {text} now", "{{x}}", "{", "models/{name}"])
def test_braces_are_text(text: str) -> None:
    settings = resolve({"prompt": text, "model": text}, {"variants": {"a": {"prompt": text}}})
    assert settings.inference.prompt == settings.inference.model == text
    assert settings.variants["a"].prompt == text


def every_key() -> list[tuple[str, ...]]:
    """The place of every setting, and of the settings that a variant may override."""
    places: list[tuple[str, ...]] = []
    for key, part in SCHEMA["properties"].items():
        places += [(key,), *((key, inner) for inner in part.get("properties", ()))]
    overrides = SCHEMA["properties"]["variants"]["additionalProperties"]["properties"]
    return places + [("variants", "mine", key) for key in overrides]


@pytest.mark.parametrize("place", every_key(), ids=".".join)
def test_a_typo_in_any_key_names_the_key(place: tuple[str, ...]) -> None:
    *outer, key = place
    for wrong in (key[:-1], key + "x", key.upper(), key[1] + key[0] + key[2:]):
        given: dict[str, Any] = {wrong: 1}
        for name in reversed(outer):
            given = {name: given}
        for layers in ({"file": given}, {"command_line": given}):
            with pytest.raises(UserErrors) as caught:
                resolve(**layers)
            (error,) = caught.value.errors
            assert error.problem.startswith(f"setting {'.'.join([*outer, wrong])!r} does not exist")
            assert error.remedy == f"write {key!r}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prompt: 2024-01-01", r"'prompt' is a date to YAML \(2024-01-01\).*write it in quotes"),
        ("repeats: .inf", "'repeats' is inf.*use a finite number"),
        ("worker: {keep_alive: .nan}", "'worker.keep_alive' is nan.*use a finite number"),
        ("repeats: 1000000000000000000000000000000", "'repeats' is beyond 64 bits"),
        ("repeats: 100000", "'repeats' is 100000.*of at least 1 up to 10000"),
        ("device: 'cuda:99999'", "one of auto, cpu, cuda, or cuda:N"),
        ('device: "cpu\\n"', "one of auto, cpu, cuda, or cuda:N"),
        ("variants: {1: {}}", "'variants' has a key that is no proper text, 1"),
        ("on: 1", "the settings have a key that is no proper text, true"),
        ("variants: [baseline]", "'variants' is .*use a mapping of keys to values"),
        ("prompt: !!binary aGk=", "'prompt' is of a kind that only YAML knows"),
        ('prompt: "\\ud800"', "'prompt' is no valid text"),
        ('images: "a\\0b"', "'images' is text with a null character"),
        ("images: ~nobody-at-all/x", "names the home folder of an unknown user"),
        ("images: ''", "use a path, or a list of 1 to 1000 paths"),
        ("flops: {resolutions: []}", "use a list that is not empty of up to 100 entries"),
        ("flops: {resolutions: ['15']}", "views of 16 to 9999 pixels"),
        ("flops: {resolutions: [1024+640x0x3]}", "views of 16 to 9999 pixels"),
        ("variants: &v {a: *v}", "more than 20 levels"),
        (
            "a: &a [[], [], []]\nb: &b [*a, *a, *a]\nrepeats: [" + "*b, " * 900 + "1]",
            "10000 values",
        ),
    ],
)
def test_values_that_only_yaml_knows_are_reported(text: str, message: str) -> None:
    with pytest.raises((UserError, UserErrors), match=message) as caught:
        resolve(yaml.safe_load(text))
    assert all(line.isprintable() and "Remedy: " in line for line in str(caught.value).splitlines())


def test_long_values_are_shortened() -> None:
    with pytest.raises(UserErrors) as caught:
        resolve({"repeats": "x" * 10_000, "y" * 10_000: 1, "variants": {"z" * 10_000: {}}})
    assert len(str(caught.value)) < 2_000


def test_strings_that_yaml_cannot_read_stay_strings() -> None:
    for text in ("2001-99-99", "[" * 500, "9" * 5_000, "*a"):
        with pytest.raises(UserErrors, match=r"'repeats' is \""):
            resolve(command_line={"repeats": text})
