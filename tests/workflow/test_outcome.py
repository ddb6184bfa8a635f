"""What a run and a call measured, in few words."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import builders
import msgspec
import pytest
from checkouts import ROOT

from mfuscope.core.errors import InvalidFileError
from mfuscope.core.runs import RunKey
from mfuscope.storage.artefacts import write_json
from mfuscope.storage.paths import RunPaths
from mfuscope.workflow.outcome import expected_seconds, run_times, seconds_of_runs, verdict


def started(at: float, key: RunKey, process: str) -> Any:
    one = builders.a_pass(4)
    timed = replace(one, host=replace(one.host, started_at=at))
    run = builders.run(timed=timed, variant=key.variant, image=key.image, repeat=key.repeat)
    return replace(run, session=replace(run.session, process=process))


def test_the_times_of_a_run_are_those_of_its_metrics(tmp_path: Path) -> None:
    path, run = tmp_path / "0.json", builders.run()
    times = ((9, 1), (7, 3), (8, 2))
    passes = [replace(run.passes[0], prefill_ms=p, decode_ms=d) for p, d in times]
    run = replace(run, passes=passes, settings=run.settings | {"batch_size": 8})
    write_json(path, run)
    assert run_times(path).prefill_ms == run.timed.prefill_ms == 8
    tokens = 8 * (run.timed.new_tokens - 1)
    assert run_times(path).tokens_per_s == pytest.approx(tokens / (run.timed.decode_ms / 1e3))
    passes = [replace(one, step_ms=[], decode_ms=0) for one in passes]
    write_json(path, replace(run, passes=passes))
    assert run_times(path).tokens_per_s is None
    write_json(path, replace(run, passes=[]))
    with pytest.raises(InvalidFileError):
        run_times(path)


def test_earlier_runs_tell_how_long_the_next_ones_take(tmp_path: Path) -> None:
    """From the start of one to that of the next one in the same process."""
    keys = [RunKey("ab"[n % 2], f"{n}.png", 0) for n in range(6)]
    for key, at in zip(keys, (0, 10, 13, 23, 26, 500), strict=True):
        write_json(RunPaths.of(tmp_path, key).record, started(at, key, "w2" if at > 99 else "w1"))
    asked = [*keys, RunKey("a", "not there", 0)]
    seconds = seconds_of_runs(tmp_path, asked, "cuda", lambda run: True)
    assert seconds == {"a": 10, "b": 3}
    assert expected_seconds([keys[0], keys[1], keys[2]], seconds) == 23
    assert expected_seconds([RunKey("new", "0.png", 0)], seconds) is None
    assert seconds_of_runs(tmp_path, asked, "cpu", lambda run: True) == {}
    # Runs of other settings say nothing.
    assert seconds_of_runs(tmp_path, asked, "cuda", lambda run: run.variant == "b") == {"b": 13}


def stat(mean: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"n": 2, "mean": mean, "ci95_low": low, "ci95_high": high}


def said(tmp_path: Path, page: Mapping[str, Any], **changes: Any) -> list[str]:
    head = {
        "variants": [
            {
                "answer": {"new_tokens_mean": 64.0},
                "headline": {"page_ms": page},
            }
        ],
        "verdict": "The host limits it.",
        "do_first": None,
        "warnings": [],
        "measured": {"pages": 2, "repeats": 3},
    }
    (tmp_path / "report.json").write_bytes(msgspec.json.encode(head | changes))
    return list(verdict(tmp_path / "report.json"))


@pytest.mark.parametrize(
    ("page", "how_sure"),
    [
        (stat(1619, 1322, 1915), "takes 1,619 ms, 95 % interval 1,348 to 1,944 ms (2 pages × 3"),
        (stat(1619), "takes 1,619 ms, from too few pages for an interval (2 pages × 3 repeats)"),
        (stat(1619, -5, 6000), "takes 1,619 ms, give or take more than that (2 pages × 3 repeats)"),
        (stat(None), "no headline number: a rule of validity withholds it"),
    ],
)
def test_the_page_time_comes_with_how_sure_it_is(
    page: Mapping[str, Any], how_sure: str, tmp_path: Path
) -> None:
    verdict_sentence, time = said(tmp_path, page)
    assert verdict_sentence == "The host limits it."
    assert how_sure in time


@pytest.mark.parametrize(
    ("gain", "confidence", "told"),
    [
        ("at most −9 ms a page", "bound", "do first: Use x: at most −9 ms a page (bound)"),
        ("gain not known", "", "do first: Use x: gain not known"),
        ("", "", "do first: Use x"),
    ],
)
def test_what_to_do_first_and_warnings_are_told(
    gain: str, confidence: str, told: str, tmp_path: Path
) -> None:
    _, first, _, warnings = said(
        tmp_path,
        stat(1, 1, 1),
        do_first={"title": "Use x", "gain": gain, "confidence": confidence},
        warnings=[{"check": "No run stands out", "text": ""}, {"check": "Full power", "text": ""}],
    )
    assert first == told
    assert warnings == "checks not passed: No run stands out; Full power"


def test_a_real_report_has_what_is_told() -> None:
    lines = list(verdict(ROOT / "docs" / "example" / "report.json"))
    assert len(lines) >= 3
    assert all(lines)
