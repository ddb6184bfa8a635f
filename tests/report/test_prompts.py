"""The prompts that the report shows, and the attention that was picked."""

from dataclasses import replace

from builders import page, run
from report_data import SETTINGS, tables, texts

from mfuscope.core.records import Prompt, Run
from mfuscope.report import prompts
from mfuscope.report.wording import facts

HOSTILE = "</bdi><script>alert(1)</script>\x1b[2J\u202e|`x`"


def runs(*found: Prompt) -> list[Run]:
    """A run of a page each."""
    return [
        replace(run(image=f"{i}.png", page=page(path=f"{i}.png")), prompt=prompt, prompt_tokens=278)
        for i, prompt in enumerate(found)
    ]


def rows(*found: Prompt) -> list[list[str]]:
    table = prompts.prompts(tables(runs(*found)).data)
    return [[cell.text for cell in row] for row in table.rows]


def test_image_tokens_are_counted_and_special_ones_are_shown() -> None:
    begin = "<｜begin▁of▁sentence｜>"
    prompt = Prompt(before=begin, image="<image>", images=273, after="\n<|grounding|>Free OCR.")
    text = f"{begin}<image> × 273\\n<|grounding|>Free OCR."
    assert rows(prompt) == [["baseline", text, "5", "273"]]
    made = texts(runs(prompt))
    assert "&lt;image&gt; × 273\\n&lt;|grounding|" in made.html.replace("<wbr>", "")
    assert "The prompt as the model gets it" in made.markdown


def test_prompts_that_differ_in_the_number_of_their_image_tokens_share_a_row() -> None:
    first = Prompt(before="a", image="[IMG]", images=200, between=9, after="b")
    other = replace(first, images=264, between=11)
    text = "a[IMG] × 200 to 264 (and 9 to 11 other tokens between)b"
    assert rows(first, other) == [["baseline", text, "14 to 78", "200 to 264"]]
    assert len(rows(first, replace(first, after="c"))) == 2


def test_what_the_model_does_not_tell_is_absent() -> None:
    assert rows(Prompt(before="abc")) == [["baseline", "abc", "278", "–"]]
    encoded = Prompt(before="", image="<image>", images=65, after="x", decoder="</s>")
    assert rows(encoded) == [["baseline", "<image> × 65x → </s>", "278", "–"]]


def test_hostile_text_stays_text() -> None:
    made = texts(runs(Prompt(before=HOSTILE, image=HOSTILE, images=3, after=HOSTILE)))
    assert "alert(1)" in made.html
    assert "<script>alert" not in made.html
    for text in (made.html, made.markdown):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "\\\\x1b\\[2J\\\\u202e\\|" in made.markdown


def test_records_of_older_versions_have_none() -> None:
    made = texts([replace(run(repeat=repeat), prompt=None) for repeat in range(2)])
    assert "The prompt as the model gets it" not in made.markdown


def test_the_attention_that_auto_picked_is_told() -> None:
    asked = SETTINGS | {"asked": {"baseline": {"attention": "auto"}}}
    made = tables(runs(Prompt(before="a")), settings=asked)
    assert ("Attention", "sdpa (what auto picked)") in facts(made.data)
    assert ("Attention", "sdpa") in facts(tables(runs(Prompt(before="a"))).data)
