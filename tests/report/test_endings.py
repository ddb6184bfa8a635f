"""How answers ended in the report: sentences, table, notice, and why nothing is known."""

from typing import Any

import pytest
from builders import a_pass, model, run
from report_data import tables, texts

from mfuscope.core import records
from mfuscope.report import endings
from mfuscope.report.data import ReportData

TOLD = {"compilation": "nothing was to be compiled"}
END = records.Ending(by="end")
LIMIT = records.Ending(by="limit")


def answers(image: str, *found: records.Ending, tokens: int = 11, **changes: Any) -> list[Any]:
    """Repeats of a page of 50 ms prefill and 20 ms a step, with real weights."""
    timed = a_pass(tokens, decode_ms=20.0 * (tokens - 1))
    changes = {"model": model(weights="checkpoint"), "absent": TOLD} | changes
    return [
        run(tokens, image=image, repeat=repeat, timed=timed, ending=one, **changes)
        for repeat, one in enumerate(found)
    ]


def some() -> list[Any]:
    """Of four pages one loops: 640 of its 801 tokens say nothing new."""
    loop = records.Ending(by="loop", repeated_tokens=640)
    return [
        *answers("a.png", END, END),
        *answers("b.png", LIMIT, LIMIT, tokens=801),
        *answers("c.png", loop, loop, tokens=801),
        *answers("d.png", END, LIMIT),
    ]


def of(runs: list[Any]) -> ReportData:
    return tables(runs).data


def test_pages_are_counted_by_their_gravest_ending() -> None:
    (sentence,) = endings.sentences(of(some()))
    # 640 of 800 steps of 20 ms, of two pages of 250 ms and two of 16,050 ms.
    share = 640 * 20 / (2 * 250 + 2 * 16_050)
    assert sentence == (
        "Of 4 pages, 1 ended with the end of sequence, 2 reached max_new_tokens and 1 reached it "
        f"in a loop; 406 new tokens a page. Loops take {100 * share:.0f}\N{NO-BREAK SPACE}% of "
        "the time."
    )


def test_the_table_has_loops_first() -> None:
    table = endings.endings(of(some()))
    rows = [[cell.text.replace("\N{NO-BREAK SPACE}", " ") for cell in row] for row in table.rows]
    assert rows == [
        ["c.png", "baseline", "loop", "801", "0.0623", "80 %"],
        ["b.png", "baseline", "limit", "801", "0.0623", "0 %"],
        ["d.png", "baseline", "limit 1×, end of sequence 1×", "11.0", "4.00", "0 %"],
        ["a.png", "baseline", "end of sequence", "11.0", "4.00", "0 %"],
    ]


def test_loops_are_a_notice_that_leads_to_them() -> None:
    made = texts(some())
    text = (
        "Loops: answers repeat themselves up to max_new_tokens (1 of 4 pages, "
        "39\N{NO-BREAK SPACE}% of the time)."
    )
    assert f'<a href="#endings"><bdi>{text}' in made.html
    assert '<h3 id="endings">How answers ended</h3>' in made.html
    assert "### How answers ended" in made.markdown
    assert "> **Loops: answers repeat" in made.markdown


def test_without_loops_there_is_no_notice() -> None:
    made = texts(answers("a.png", END, END))
    assert "Loops" not in made.html
    assert "Of 1 page, 1 ended with the end of sequence; 11.0 new tokens a page." in made.markdown


def test_a_batch_counts_its_copies_in_pages_per_second() -> None:
    changes: dict[str, Any] = {"settings": run().settings | {"batch_size": 4}}
    (one,) = of(answers("a.png", END, END, **changes)).endings
    assert one.pages_per_s == pytest.approx(4 / 0.25)


def test_what_is_not_known_says_why() -> None:
    reason = "`ignore_eos: true`: every answer goes on to max_new_tokens"
    data = of([run(repeat=repeat) for repeat in range(2)])
    assert data.endings == ()
    assert endings.sentences(data) == []
    assert endings.loops(data) == ""
    assert endings.unknown(data) == f"How the answers ended: {reason}."
    made = texts([run(repeat=repeat) for repeat in range(2)])
    assert "How the answers ended: `ignore_eos" not in made.markdown, "Markdown is escaped"
    assert "How the answers ended: \\`ignore_eos: true\\`" in made.markdown
    assert 'id="endings"' not in made.html


def test_variants_are_told_apart() -> None:
    known = answers("a.png", END, END)
    other = [run(variant="other", image="a.png", repeat=repeat) for repeat in range(2)]
    data = of([*known, *other])
    assert [text[:13] for text in endings.sentences(data)] == ["baseline: of "]
    assert endings.unknown(data).startswith("How the answers of other ended: `ignore_eos")
    assert endings.unknown(of(known)) == ""
