"""The prompt of a page as text: pure, of the bundled family, and of models with their templates."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from small_calls import session
from small_models import write_small_model

from mfuscope.core.prompts import Prompt
from mfuscope.models.prompt_record import prompt_of

IMAGE = 9


def letters(ids: Sequence[int]) -> str:
    return "".join("_" if one == IMAGE else chr(ord("a") + one) for one in ids)


@given(st.lists(st.integers(0, IMAGE), min_size=1))
def test_no_token_is_lost(ids: list[int]) -> None:
    made = prompt_of({"input_ids": torch.tensor([ids])}, IMAGE, letters)
    assert made.images == ids.count(IMAGE)
    assert (made.image is None) == (made.images == 0)
    assert len(made.before) + made.images + made.between + len(made.after) == len(ids)
    assert letters(ids).startswith(made.before)
    assert letters(ids).endswith(made.after)
    assert IMAGE not in [ord(one) - ord("a") for one in made.before + made.after]


def test_without_a_known_mark_all_of_it_is_text() -> None:
    ids = {"input_ids": torch.tensor([[1, 2, IMAGE]])}
    assert prompt_of(ids, None, letters) == Prompt(before="bc_")


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        (
            "qwen2_5_vl",
            Prompt(
                before="USER: <|vision_start|>",
                image="<|image_pad|>",
                images=12,
                after="<|vision_end|>Free OCR.ASSISTANT:",
            ),
        ),
        (
            "idefics3",  # every tile has marks of its own
            Prompt(
                before="USER: <fake_token_around_image><row_1_col_1>",
                image="<image>",
                images=20,
                between=11,
                after="<fake_token_around_image>Free OCR.ASSISTANT:",
            ),
        ),
        (
            "florence2",  # its encoder reads the text
            Prompt(before="", image="<image>", images=65, after="<s>Free OCR.</s>", decoder="</s>"),
        ),
        ("donut", Prompt(before="Free OCR.")),
    ],
)
def test_the_prompt_is_what_the_model_s_template_makes(
    family: str, expected: Prompt, tmp_path: Path
) -> None:
    write_small_model(tmp_path / family, family)
    made = session(tmp_path / family, "eager")
    page = made.inputs(Image.new("RGB", (120, 90), "grey"), "auto")
    assert made.prompt(page) == expected
    assert made.end_tokens == {1}
