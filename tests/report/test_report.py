"""The report: the same facts in every format, and safe with any name."""

import html
import re
from dataclasses import replace

import pytest
from builders import (
    a_pass,
    activity,
    calibration,
    model,
    page,
    run,
)
from report_data import (
    cpu_tables,
    on_cpu,
    repeats,
    tables,
    texts,
)
from report_reader import Reader, section

from mfuscope.core.records import MissingRun, StageActivity
from mfuscope.report.definitions import DEFINITIONS
from mfuscope.report.render import Texts, breakable, markdown, render
from mfuscope.report.wording import time_sentence

NASTY = "<script>alert(1)</script> | `id` *x* _y_.png"


def test_every_image_is_named_in_both_texts() -> None:
    images = [f"page-{number}.png" for number in range(12)] + ["scan~0123abcd.png"]
    made = texts([r for image in images for r in repeats(image=image)])
    for image in images:
        assert image in section(made.markdown, "Where the time goes")
        assert image in made.html.split('id="time"')[1].split('id="mfu"')[0]


def test_path_is_shown_where_the_id_is_not_the_file_name() -> None:
    one = page(path="scans/first page.png")
    made = texts(repeats(image="first-page~0123abcd.png", page=one))
    assert "scans/first page.png" in section(made.markdown, "Where the time goes")
    assert "pages/page.png" not in section(texts(repeats()).markdown, "Where the time goes")


def test_nasty_names_are_escaped() -> None:
    runs = repeats(image=NASTY, page=page(path=f"a\nb/{NASTY}"), model=model(name="<b>`m`|"))
    made = texts(runs, settings={"prompt": "</style>|`x`\n<img>"})
    assert NASTY not in made.html
    assert html.escape(NASTY, quote=False) in made.html
    assert not {"img", "b"} & set(Reader(made.html).tags)
    assert Reader(made.html).tags.count("script") == 1  # the page's own
    for text in (made.markdown, made.stakeholder, made.operators):
        assert not re.search(r"<(script|img|b)\b", text)
        for line in text.splitlines():
            if line.startswith("| "):
                assert len(re.findall(r"(?<!\\)\|", line)) >= 2
    columns = {
        len(re.findall(r"(?<!\\)\|", line))
        for line in section(made.markdown, "Where the time goes").splitlines()
        if line.startswith("|")
    }
    assert len(columns) == 1


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("mixed_en-form.v2~1a.png", "mixed_ en- form. v2~ 1a. png"),
        ("a...b__c_", "a... b__ c_"),
        ("aten::_softmax", "aten::_softmax"),
        ("_a.png", "_a. png"),
        ("a_<b>&'c'.png", "a_ &lt;b&gt;&amp;&#39;c&#39;. png"),
        ("a_\u202eb", "a_ &lt;U+202E&gt;b"),
    ],
)
def test_names_may_be_broken_after_their_separators(text: str, broken: str) -> None:
    assert breakable(text) == broken.replace(" ", "<wbr>")


def test_names_in_tables_may_be_broken_and_can_be_searched_for() -> None:
    made = texts(repeats(image="mixed_en_form.png", variant="a-b"))
    assert "<bdi>mixed_<wbr>en_<wbr>form.<wbr>png</bdi>" in made.html
    assert "<bdi>a-<wbr>b</bdi>" in made.html
    assert 'aria-label="mixed_en_form.png, ' in made.html
    assert not re.search(r"""["'][^"'<>]*<wbr>""", made.html)
    assert "wbr" not in made.markdown + made.stakeholder + made.operators


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("`a`", r"\`a\`"),
        ("<b> & c", "&lt;b&gt; &amp; c"),
        ("a\nb\r\tc", "a b  c"),
        ("text_ar_vocalised.png", "text_ar_vocalised.png"),
        ("_a_ b", r"\_a\_ b"),
        ("aten::_softmax", "aten::_softmax"),
        ("a~1.png", "a~1.png"),
        ("~~a~~", r"\~\~a\~\~"),
        ("[a](b)", r"\[a\](b)"),
        ("# a", r"\# a"),
        ("1. a", r"1\. a"),
        ("1.5 s", "1.5 s"),
        ("back\\slash", r"back\\slash"),
        ("a\u202eb", "a&lt;U+202E&gt;b"),
    ],
)
def test_markdown_shows_text_as_it_is(text: str, escaped: str) -> None:
    assert markdown(text) == escaped


def test_dummy_weights_are_stated_and_checkpoints_are_not_called_dummies() -> None:
    made = texts(repeats())
    for text in (made.markdown, made.html, made.stakeholder):
        assert "Dummy weights: random numbers" in text
    made = texts(repeats(model=model(weights="checkpoint")))
    for text in (made.markdown, made.html, made.stakeholder, made.operators):
        assert "dumm" not in text


def test_variants_with_dummies_are_named_where_others_have_weights() -> None:
    runs = repeats(variant="real", model=model(weights="checkpoint")) + repeats(variant="fake")
    assert "Dummy weights of variant fake" in texts(runs).markdown


def test_stand_in_on_a_cpu_is_stated() -> None:
    made = texts(on_cpu(model=model(name="deepseek-ocr-nano")), **cpu_tables())
    for text in (made.markdown, made.html, made.stakeholder):
        assert "small stand-in for DeepSeek-OCR" in text
    for text in (made.markdown, made.html):
        assert "measured on a CPU" in text
    assert "Here the peak is the best matrix product measured" in made.markdown
    assert "stand-in" not in texts(repeats()).stakeholder


def test_absent_values_are_a_dash_with_a_reason_and_never_zero() -> None:
    made = texts(on_cpu(), **cpu_tables())
    rows = section(made.markdown, "What was not measured").splitlines()
    assert any("energy_j" in row and "not a GPU" in row for row in rows)
    assert "| power, W | – |" in made.markdown
    assert '<abbr class="absent" title="not a GPU">–</abbr>' in made.html


def bound(**timed: float) -> Texts:
    """A report of runs with these stages."""
    return texts(repeats(timed=timed))


def test_other_bottlenecks_give_other_texts() -> None:
    seeing = {"prefill_ms": 900.0, "vision_ms": 850.0, "decode_ms": 60.0}
    reading = {"prefill_ms": 900.0, "language_prefill_ms": 850.0, "decode_ms": 60.0}
    writing = {"prefill_ms": 50.0, "decode_ms": 900.0}
    made = [bound(**stages) for stages in (seeing, reading, writing)]
    assert "900 ms in prefill and 60.0 ms in decode" in made[0].markdown
    assert "the vision encoder: 850 ms" in made[0].markdown
    assert "the language model's prefill: 850 ms" in made[1].markdown
    assert "900 ms in decode and 50.0 ms in prefill" in made[2].markdown
    assert len({section(m.stakeholder, "Where the time goes") for m in made}) == 3


def test_host_bound_and_compute_bound_give_other_reports() -> None:
    def report(prefill_ms: float, decode_ms: float, busy: tuple[float, float]) -> Texts:
        timed = a_pass(prefill_ms=prefill_ms, decode_ms=decode_ms)
        stages = {
            name: StageActivity(wall_ms=900.0, steps=steps, kernels=700, device_busy_ms=ms)
            for name, steps, ms in (("prefill", 0, busy[0]), ("decode", 3, busy[1]))
        }
        return texts(
            [run(repeat=repeat, timed=timed) for repeat in range(3)],
            activities=[activity(stages=stages)] * 3,
            calibrations=[calibration(prefill_weight_bytes=1_000_000_000)],
        )

    waiting, working = report(50.0, 900.0, (30.0, 60.0)), report(3.0, 2.5, (3.0, 2.2))
    for title in ("Headline", "What to try next"):
        assert section(waiting.markdown, title) != section(working.markdown, title)
    assert "**The host limits deepseek-ocr: decode takes" in section(waiting.markdown, "Headline")
    assert "**Arithmetic limits deepseek-ocr: prefill" in section(working.markdown, "Headline")
    assert "Launch decode as CUDA graphs" in section(waiting.markdown, "What to try next")
    assert "Compute prefill in FP8" in section(working.markdown, "What to try next")
    for title in ("Where the time goes", "What to do first"):
        assert section(waiting.stakeholder, title) != section(working.stakeholder, title)
    for made in (waiting, working):  # HTML says the same
        for one in re.findall(r"^\d\. \*\*(.+?)\*\*", made.markdown, re.MULTILINE):
            assert f"<strong><bdi>{html.escape(one)}</bdi></strong>" in made.html


@pytest.mark.parametrize(
    ("decode_ms", "stages"),
    [
        (44.0, "56.0 ms in prefill and 44.0 ms in decode"),
        (56.0, "56.0 ms in decode and 44.0 ms in prefill"),
    ],
)
def test_the_longer_stage_is_said_first(decode_ms: float, stages: str) -> None:
    timed = a_pass(prefill_ms=100.0 - decode_ms, decode_ms=decode_ms)
    said = time_sentence(tables([run(timed=timed)]).data.reference)
    assert f"takes 100 ms: {stages}." in said.replace("\N{NO-BREAK SPACE}", " ")


def test_prefill_without_known_parts_is_one_cost_centre() -> None:
    none = dict.fromkeys(("vision_ms", "projector_ms", "language_prefill_ms"))
    reason = "prefill called no module that is known to be this part"
    made = tables(repeats(timed=none | {"absent": dict.fromkeys(none, reason)}))
    variant = made.data.variants[0]
    assert [centre.key for centre in variant.centres] == ["decode", "prefill"]
    assert "not known separately" in time_sentence(variant)
    text = render(made.data)
    assert f'title="{reason}"' in text.html
    assert '<rect class="prefill"' in text.html


@pytest.mark.parametrize("missing", ["vision_ms", "language_prefill_ms"])
def test_what_may_hold_a_part_that_is_not_known_is_unknown(missing: str) -> None:
    timed = {missing: None, "absent": {missing: "not known"}}
    made = tables(repeats(timed=timed))
    variant = made.data.variants[0]
    assert variant.stats["rest_ms"].mean is None
    assert [centre.key for centre in variant.centres] == ["decode", "prefill"]
    assert "not known separately" in time_sentence(variant)
    assert '<rect class="prefill"' in render(made.data).html


def test_a_model_may_have_no_projector() -> None:
    made = tables(repeats(timed={"projector_ms": None, "absent": {"projector_ms": "no such part"}}))
    variant = made.data.variants[0]
    keys = {centre.key for centre in variant.centres}
    assert keys == {"vision", "language", "rest", "decode"}
    assert "The largest part of prefill is the vision encoder" in time_sentence(variant)


def test_one_repeat_shows_no_spread() -> None:
    made = texts(repeats(1))
    times = section(made.markdown, "Where the time goes")
    row = next(line for line in times.splitlines() if line.startswith("| page.png"))
    assert "±" not in row
    assert "50.0" in row
    assert "nan" not in made.html.lower().replace("nano", "")
    assert "Every page was measured once" in made.markdown
    assert "±" not in re.sub(r"mean ± (std|standard)", "", made.html)


def test_one_new_token_has_no_decode_steps() -> None:
    timed = a_pass(1, decode_ms=0.5)
    made = texts([run(1, timed=timed, traced=a_pass(1)), run(1, timed=timed, repeat=1)])
    assert "one new token: no decode step" in made.html
    assert "in prefill and 0.500 ms in decode" in made.markdown


def test_page_is_self_contained() -> None:
    text = texts(repeats()).html
    assert text.lstrip().startswith("<!DOCTYPE html>")
    assert '<html lang="en">' in text
    tags = Reader(text).tags
    assert not {"link", "img", "iframe"} & set(tags)
    assert "http" not in text
    assert "url(" not in text.replace("url(#", "")
    assert " src=" not in text
    assert tags.count("table") == tags.count("caption")


def test_settings_and_images_are_reproduced() -> None:
    made = texts(
        repeats(),
        settings={"variants": {"a": {"prompt": ""}}, "ignore_eos": True},
        command="DSOCR_IMAGE=pages snakemake",
    )
    for text in (made.markdown, made.html.replace("<wbr>", "")):
        assert "variants.a.prompt" in text
        assert "(not set)" in text
        assert run().page.sha256 in text
        assert "DSOCR_IMAGE=pages snakemake" in text
    assert "| ignore_eos | true |" in made.markdown


def test_ceiling_and_bandwidth_are_defined_before_their_table() -> None:
    made = texts(repeats())
    columns = Reader(made.html).grid("Shares of the measured ceiling").rows[0]
    assert columns == [
        "Variant",
        "Page, % of ceiling",
        "Prefill, % of ceiling",
        "Decode, % of ceiling",
        "MBU of decode, %",
        "Prefill, FLOP per byte",
        "Decode, FLOP per byte",
    ]
    for text in (made.markdown, html.unescape(made.html)):
        before = text.split("Shares of the measured ceiling")[0]
        assert DEFINITIONS["utilisation"] in before


def test_captions_are_as_wide_as_what_is_seen_of_their_table() -> None:
    text = texts(repeats()).html
    assert "container-type: inline-size" in text.split(".scroll {")[1].split("}")[0]
    assert "100cqi" in text.split("caption span {")[1].split("}")[0]


@pytest.mark.parametrize("variant", ["baseline", "eager"])
def test_missing_runs_name_their_variant_where_there_are_several(variant: str) -> None:
    gap = MissingRun(variant=variant, image="page.png", repeat=7, reason="it failed")
    made = render(replace(tables(repeats()).data, missing=(gap,)))
    several = variant != "baseline"
    row = "| eager | page.png | 7 | it failed |" if several else "| page.png | 7 | it failed |"
    assert row in made.markdown.splitlines()
    _, _, table = made.html.partition("<span>Missing runs</span>")
    assert (">Variant</th>" in table.partition("</table>")[0]) == several
