"""Counted FLOPs and the bytes of the cache, against arithmetic done by hand from the configs.

The configs are those of tests/support/small_documents.py and small_encoder_decoders.py.
"""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from small_calls import SIZE, change_config, given_caches, session, small_key, tensor_bytes
from small_models import write_small_model

from mfuscope.core.cache import held_bytes
from mfuscope.core.records import Calibration
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.session import Generation

FP32 = 4
VOCABULARY = 320


def product(rows: int, inner: int, columns: int) -> int:
    """FLOPs of a matrix (rows, inner) times one (inner, columns)."""
    return 2 * rows * inner * columns


def attention(queries: int, keys: int, width: int) -> int:
    """FLOPs of scores and weighted sum, of all heads, whose widths add up to `width`."""
    return product(queries, width, keys) + product(queries, keys, width)


def decoder(tokens: int, keys: tuple[int, int], head: int) -> int:
    """A decoder of two layers: width 32, four query heads, two of keys and values, gated MLP of 64.

    Args:
        keys: that each of the two layers attends to.
        head: width of a head.
    """
    query_and_out = product(tokens, 32, 4 * head) + product(tokens, 4 * head, 32)
    key_and_value = 2 * product(tokens, 32, 2 * head)
    gate_up_down = 3 * product(tokens, 32, 64)
    layer = query_and_out + key_and_value + gate_up_down
    return 2 * layer + sum(attention(tokens, seen, 4 * head) for seen in keys)


# The logits of the last position alone.
HEAD = product(1, 32, VOCABULARY)


def vit_layer(tokens: int, width: int, mlp: int) -> int:
    """Query, key, value, out; scores and weighted sum; an MLP of two matrices."""
    return (
        4 * product(tokens, width, width)
        + attention(tokens, tokens, width)
        + product(tokens, width, mlp)
        + product(tokens, mlp, width)
    )


def counted(
    tmp_path: Path, family: str, implementation: str = "sdpa", **changes: dict[str, Any]
) -> Calibration:
    """Calibrate, and check the bytes of the cache against the tensors of a run of five tokens.

    Args:
        changes: of the config, by part.
    """
    write_small_model(tmp_path / family, family)
    change_config(tmp_path / family, **changes)
    made = session(tmp_path / family, implementation)
    calibration = calibrate(made, small_key(made), SIZE)
    assert not calibration.uncounted_operators
    page = made.inputs(Image.new("RGB", SIZE), "auto")
    with given_caches(made.model) as caches:
        made.generate(page, Generation(5, ignore_eos=True))
    assert calibration.cache is not None
    assert held_bytes(calibration.cache, page.prompt_tokens + 4) == tensor_bytes(caches[-1])
    return calibration


def check(calibration: Calibration, prefill: int, steps: list[int]) -> None:
    assert calibration.prefill_total["counted"] == prefill
    assert [step.total["counted"] for step in calibration.decode_steps] == steps


def kv_bytes(calibration: Calibration) -> list[int | None]:
    """Of the prefill, and of the steps."""
    return [calibration.prefill_kv_bytes, *(one.kv_bytes for one in calibration.decode_steps)]


def kv(tokens: int, heads: int, head: int) -> int:
    """Bytes of a layer's keys and values, in fp32."""
    return 2 * FP32 * tokens * heads * head


def test_qwen2_5_vl(tmp_path: Path) -> None:
    """84 x 112 pixels in patches of 14: 6 x 8, merged to 3 x 4 image tokens."""
    calibration = counted(tmp_path, "qwen2_5_vl", vision_config={"window_size": 56})
    patches, image, prompt = 48, 12, 39
    # A patch has three colours of two equal frames.
    vision = product(patches, 3 * 2 * 14 * 14, 32)
    # Three blocks: query, key and value in one matrix, out; a gated MLP.
    vision += 3 * (product(patches, 32, 3 * 32) + product(patches, 32, 32))
    vision += 3 * 3 * product(patches, 32, 64)
    # The first two in windows of 4 x 4 patches, of which the lower ones have two rows of patches.
    vision += 2 * (2 * attention(16, 16, 32) + 2 * attention(8, 8, 32))
    vision += attention(patches, patches, 32)
    # The merger joins 2 x 2 patches.
    merger = product(image, 4 * 32, 4 * 32) + product(image, 4 * 32, 32)
    language = decoder(prompt, (prompt, prompt), head=8)
    check(
        calibration,
        vision + merger + language + HEAD,
        [decoder(1, (at, at), head=8) + HEAD for at in (40, 41)],
    )
    assert kv_bytes(calibration) == [2 * kv(at, 2, 8) for at in (39, 40, 41)]


def test_internvl(tmp_path: Path) -> None:
    """4 x 3 tiles and a thumbnail, each 4 x 4 patches and a class token, of which 2 x 2 remain."""
    calibration = counted(tmp_path, "internvl")
    views, prompt = 13, 80
    vision = product(16, 3 * 14 * 14, 32) + 2 * vit_layer(17, 32, 64)
    projector = product(4, 4 * 32, 32) + product(4, 32, 32)
    language = decoder(prompt, (prompt, prompt), head=8)
    check(
        calibration,
        views * (vision + projector) + language + HEAD,
        [decoder(1, (at, at), head=8) + HEAD for at in (81, 82)],
    )
    assert kv_bytes(calibration) == [2 * kv(at, 2, 8) for at in (80, 81, 82)]


def test_got_ocr2(tmp_path: Path) -> None:
    """64 x 64 patches, padded to 5 x 5 windows of 14 x 14 for the attention."""
    calibration = counted(tmp_path, "got_ocr2", "eager")
    patches, prompt = 64 * 64, 266
    windows, area = 25, 14 * 14
    vision = product(patches, 3 * 16 * 16, 8)
    # Query, key and value in one matrix; out.
    vision += product(windows * area, 8, 3 * 8) + product(windows * area, 8, 8)
    vision += windows * attention(area, area, 8)
    # Relative positions: each query times the rows, and times the columns, of its window.
    vision += windows * 2 * product(area, 8, 14)
    vision += product(patches, 8, 8) + product(patches, 8, 8)  # MLP
    vision += product(patches, 8, 8) + product(patches, 9 * 8, 8)  # neck: 1 x 1, then 3 x 3
    # Two convolutions of 3 x 3 with stride 2, and a matrix, for 16 x 16 image tokens.
    projector = product(32 * 32, 9 * 8, 16) + product(16 * 16, 9 * 16, 32)
    projector += product(16 * 16, 32, 32)
    language = decoder(prompt, (prompt, prompt), head=8)
    check(
        calibration,
        vision + projector + language + HEAD,
        [decoder(1, (at, at), head=8) + HEAD for at in (267, 268)],
    )
    assert kv_bytes(calibration) == [2 * kv(at, 2, 8) for at in (266, 267, 268)]


def test_paddleocr_vl(tmp_path: Path) -> None:
    calibration = counted(tmp_path, "paddleocr_vl")
    patches, image, prompt = 48, 12, 39
    vision = product(patches, 3 * 14 * 14, 32) + 2 * vit_layer(patches, 32, 64)
    projector = product(image, 4 * 32, 4 * 32) + product(image, 4 * 32, 32)
    language = decoder(prompt, (prompt, prompt), head=8)
    check(
        calibration,
        vision + projector + language + HEAD,
        [decoder(1, (at, at), head=8) + HEAD for at in (40, 41)],
    )
    assert kv_bytes(calibration) == [2 * kv(at, 2, 8) for at in (39, 40, 41)]


@pytest.mark.parametrize(
    ("window", "kept", "seen"),
    [
        (16, 15, (16, 16)),  # full before the first step, which keeps room for the token after it
        (37, 35, (36, 37)),  # filled by the second step
        (64, 35, (36, 37)),
    ],
)
def test_gemma3(window: int, kept: int, seen: tuple[int, int], tmp_path: Path) -> None:
    """One sliding layer, one full; a prefill attends to every key, whatever the window."""
    calibration = counted(tmp_path, "gemma3", text_config={"sliding_window": window})
    prompt = 35
    vision = product(16, 3 * 14 * 14, 32) + 2 * vit_layer(16, 32, 64)
    projector = product(4, 32, 32)  # patches are averaged to 2 x 2 before it
    language = decoder(prompt, (prompt, prompt), head=16)
    steps = [decoder(1, keys, head=16) for keys in ((seen[0], 36), (seen[1], 37))]
    check(calibration, vision + projector + language + HEAD, [one + HEAD for one in steps])
    assert kv_bytes(calibration) == [
        kv(sliding, 2, 16) + kv(at, 2, 16)
        for sliding, at in ((kept, 35), (seen[0], 36), (seen[1], 37))
    ]


def test_donut(tmp_path: Path) -> None:
    """A Swin encoder of 24 x 16 and 12 x 8 patches, in windows of 4 x 4; an mBART decoder."""
    calibration = counted(tmp_path, "donut", "eager")

    def stage(patches: int, width: int) -> int:
        own = 4 * product(patches, width, width) + 2 * product(patches, width, 4 * width)
        return own + patches // 16 * attention(16, 16, width)

    encoder = product(24 * 16, 3 * 4 * 4, 16) + stage(24 * 16, 16)
    encoder += product(12 * 8, 4 * 16, 32) + stage(12 * 8, 32)  # merged by 2 x 2
    page, prompt = 12 * 8, 9
    # The page's keys and values of both layers, which the prefill computes once.
    cross = 2 * 2 * product(page, 32, 32)

    def decode(tokens: int, keys: int) -> int:
        own = 4 * product(tokens, 32, 32) + attention(tokens, keys, 32)
        to_page = 2 * product(tokens, 32, 32) + attention(tokens, page, 32)
        return 2 * (own + to_page + 2 * product(tokens, 32, 64))

    # This class computes the logits of every position.
    head = product(prompt, 32, VOCABULARY)
    check(
        calibration,
        encoder + cross + decode(prompt, prompt) + head,
        [decode(1, at) + HEAD for at in (10, 11)],
    )
    of_page = 2 * kv(page, 2, 16)
    assert kv_bytes(calibration) == [of_page + 2 * kv(at, 2, 16) for at in (9, 10, 11)]
