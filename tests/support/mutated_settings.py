"""Wrong settings, made from a seed: in a file, as --config and in the environment."""

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
SCHEMA = yaml.safe_load((ROOT / "workflow/schemas/config.schema.yaml").read_text(encoding="utf-8"))

_VARIABLES = (
    *("DSOCR_MODEL", "DSOCR_IMAGE", "DSOCR_DEVICE", "DSOCR_USE_FLASH_ATTN"),
    *("DSOCR_MAX_NEW_TOKENS", "MFU_PEAK_TFLOPS", "MFUSCOPE_RUNTIME_DIR"),
)

# Values of every kind that YAML, JSON or a shell can bring.
_NUMBERS: tuple[Any, ...] = (0, 1, -1, 2.5, 3.0, 1e3, 1e30, 1e308, 10**12, 10**30, 2**63, -0.0)
_NOT_FINITE: tuple[Any, ...] = (float("nan"), float("inf"), float("-inf"))
_TEXTS: tuple[str, ...] = (
    *("", " ", "auto", "yes", "no", "on", "null", "~", "true", "1e3", "0x10", "010", "1_000"),
    *("2024-01-01", "2001-99-99", "12:30:45", "1:99:99", ".nan", "-.inf", "0b", "_", "1_", "="),
    *("<<", "<image>", "{x}", "<word>", "[", "{", "[[[[", "{a: b", "&a [*a]", "*a", "%", "a: b: c"),
    *("!!python/name:os.system", "!!python/object/apply:os.system [touch marker]", "'", '"', "\\"),
    *("a\0b", "\x1b[2J", "new\nline", "cpu\n", "\u202e", "é日本🙂", "\udcff", "\ufeff", "1e400"),
    *(
        "~nobody",
        "~",
        "/nowhere",
        ".",
        "../nowhere",
        "pages",
        "pages/a.png",
        "/dev/null",
        "/proc/self/mem",
    ),
    *("a/b", "a/b--c", "a/..b", "owner/x.git", "x" * 5_000, "9" * 5_000, "cuda:" + "9" * 5_000),
    *("cuda:0", "cuda:63", "cpu", "bf16", "deepseek-ocr", "deepseek-ocr-nano", "gundam", "-1"),
    *("[" * 3_000, "{a: " * 2_000, "1024+640x2x3", "0", "nan", "99999x"),
)


_WORDS = (*_TEXTS, *map(str, (*_NUMBERS, *_NOT_FINITE)))


@dataclass
class Given:
    """One case: the file, the command line and the environment."""

    file: str = ""
    command_line: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def mutated(seed: int) -> Given:
    """The case of a seed, always the same."""
    random = Random(seed)
    content = _valid()
    for _ in range(random.choice((0, 1, 1, 1, 2, 3))):
        content = _mutate(content, random)
    given = Given(file=_as_yaml(content, random))
    if random.random() < 0.3:
        given.file = _break_text(given.file, random)
    while random.random() < 0.4:
        given.command_line.append(_assignment(random))
    while random.random() < 0.3:
        given.environment[random.choice(_VARIABLES)] = _environment_text(random)
    return given


def _valid() -> dict[str, Any]:
    return {
        "model": "deepseek-ocr-nano",
        "images": "pages",
        "device": "cpu",
        "repeats": 2,
        "max_new_tokens": 8,
        "peak_tflops": 10.5,
        "prompt": "Free OCR.",
        "profiler": {"record_shapes": True, "decode_steps": 2},
        "worker": {"keep_alive": 10, "runtime_dir": "/tmp"},
        "flops": {"models": ["deepseek-ocr"], "resolutions": ["tiny", "1024+640x2x3"]},
        "variants": {"baseline": None, "eager": {"attention": "eager", "dtype": "fp32"}},
    }


def _places(content: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of every key, at any depth."""
    found = []
    if isinstance(content, dict) and len(place) < 6:
        for key, value in content.items():
            found += [(*place, key), *_places(value, (*place, key))]
    return found


def _mutate(content: dict[str, Any], random: Random) -> dict[str, Any]:
    made = copy.deepcopy(content)
    places = _places(made)
    if not places:
        return made
    *outer, key = random.choice(places)
    part: dict[Any, Any] = made
    for name in outer:
        part = part[name]
    kind = random.randrange(6)
    if kind == 0:
        part[_typo(key, random)] = part.pop(key)
    elif kind == 1:
        part[random.choice((1, None, True, 2.5, "", "é", (1, 2), "x" * 2_000, "a\nb"))] = part[key]
    elif kind == 2:
        part[key] = random.choice(([part[key]], {"a": part[key]}, [[part[key]] * 3], {}, []))
    elif kind == 3:
        known = random.choice(list(SCHEMA["properties"]))
        made[known] = _value(random)
    else:
        part[key] = _value(random)
    return made


def _typo(key: object, random: Random) -> object:
    text = str(key)
    place = random.randrange(len(text) + 1)
    letter = random.choice("abcé_- .A1")
    return random.choice(
        (
            text[:place] + text[place + 1 :],
            text[:place] + letter + text[place:],
            text[:place] + letter + text[place + 1 :],
            text[place:] + text[:place],
            text.upper(),
            text + ".",
        )
    )


def _value(random: Random, depth: int = 0) -> Any:
    kind = random.randrange(8)
    if kind < 3:
        return random.choice(_TEXTS)
    if kind == 3:
        return random.choice((*_NUMBERS, *_NOT_FINITE))
    if kind == 4:
        return random.choice((None, True, False))
    if depth > 3:
        return []
    if kind == 5:
        nested: Any = _value(random, depth + 1)
        for _ in range(random.choice((1, 3, 30, 100))):
            nested = [nested] if random.random() < 0.5 else {"a": nested}
        return nested
    several = [_value(random, depth + 1) for _ in range(random.randrange(4))]
    return several if kind == 6 else dict(zip(("a", "baseline", "dtype"), several, strict=False))


def _as_yaml(content: dict[str, Any], random: Random) -> str:
    try:
        text = yaml.dump(content, allow_unicode=random.random() < 0.5, sort_keys=False)
    except (yaml.YAMLError, UnicodeError, RecursionError):
        text = json.dumps(content, default=str, skipkeys=True)
    return str(text)


# YAML that is not JSON, as top-level lines.
_ODDITIES = (
    "repeats: 2001-01-01",
    "prompt: 2001-01-01 12:00:00",
    "max_new_tokens: 2001-99-99",
    "repeats: 010",
    "repeats: 1:30",
    "repeats: 0x10",
    "repeats: +.inf",
    "ignore_eos: yes",
    "ignore_eos: 'yes'",
    "repeats: 1\nrepeats: 2",
    "base: &base {repeats: 3}\n<<: *base",
    "<<: {repeats: 3}",
    "<<: [1, 2]",
    "profiler: &a {record_shapes: true}\nworker: *a",
    "variants: &v {a: *v}",
    "variants: &v [*v]",
    "flops: {models: &m [*m]}",
    "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b]\n"
    "d: &d [*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e]\n"
    "repeats: [*f,*f,*f,*f,*f,*f,*f,*f]",
    "variants: {a: &a {x: 1, y: 2}, b: &b {x: *a, y: *a}, c: &c {x: *b, y: *b}, d: {x: *c, y: *c}}",
    "variants: [baseline, eager]",
    "variants: {1: {}, 2: {dtype: fp32}}",
    "variants: {2001-01-01: {}}",
    "variants: {null: {}, true: {}, 1.5: {}}",
    "variants: {[1, 2]: {}}",
    "variants: {? {a: b} : {}}",
    "variants: baseline",
    "variants: {a: [dtype, fp32]}",
    "variants: {a: {dtype: [fp32]}}",
    "prompt: !!binary aGVsbG8=",
    "images: !!set {a, b}",
    "images: !!omap [a: 1]",
    "prompt: !!python/object/apply:os.system ['touch marker']",
    "prompt: !!python/name:os.system",
    "? [complex, key]\n: value",
    "prompt: |\n  several\n  lines",
    'prompt: "\\ud800"',
    'images: "\\0"',
    "flops: {resolutions: [tiny, 5]}",
    "flops: {resolutions: tiny}",
    "flops: {models: {a: b}}",
    "__use_yte__: false",
    "---\na: 1\n---\nb: 2",
    "%YAML 9.9\n---\nrepeats: 1",
    "\tprompt: tab",
    "null: 1",
    "1: 2",
    "true: false",
)


def _break_text(text: str, random: Random) -> str:
    if random.random() < 0.6:
        oddity = random.choice(_ODDITIES)
        return f"{text}{oddity}\n" if random.random() < 0.3 else f"{oddity}\n"
    letters = list(text)
    for _ in range(random.choice((1, 2, 5))):
        place = random.randrange(len(letters) + 1)
        if random.random() < 0.5:
            letters[place:place] = random.choice("\"':{}[],&*!|>%@`#-? \t\n\0é\x1b")
        else:
            del letters[place : place + random.choice((1, 10, 100))]
    return "".join(letters)


def _assignment(random: Random) -> str:
    key = random.choice(list(SCHEMA["properties"]))
    if random.random() < 0.2:
        key = str(_typo(key, random))
    if random.random() < 0.3:
        value = json.dumps(_value(random), default=str)
    else:
        value = random.choice(
            (
                *_TEXTS,
                *map(str, (*_NUMBERS, *_NOT_FINITE)),
                "{record_shapes: maybe}",
                "{a: {dtype: 1}}",
            )
        )
    return f"{key}={value}"


def _environment_text(random: Random) -> str:
    value = random.choice(_WORDS)
    return value.replace("\0", "")
