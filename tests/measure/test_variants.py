"""What variants may choose, on a small checkpoint: caches, batches, experts, compilation."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from builders import CALL
from checkpoints import MODELS, ROOT, write_llava
from transformers import CompileConfig

from mfuscope.config.settings import ModelSettings, ProfilerSettings
from mfuscope.core.errors import UserError
from mfuscope.core.records import Run
from mfuscope.core.runs import CalibrationKey, RunKey
from mfuscope.flops.attribution import label_methods, label_modules
from mfuscope.flops.counting import FlopCounter
from mfuscope.hardware.threads import measuring_threads
from mfuscope.measure import passes, warmup
from mfuscope.measure import session as sessions
from mfuscope.measure.calibration import calibrate
from mfuscope.measure.passes import RunSettings, measure
from mfuscope.measure.session import Generation, Session
from mfuscope.models.spec import resolve_model
from mfuscope.pages.decoding import decode_page

PAGE = ROOT / "data" / "samples" / "image_eu_map.png"
PLAIN = ProfilerSettings(None, False, False, False)
REFERENCE = Generation(6, ignore_eos=True)


def session(folder: Path, *, experts: str = "auto", compiling: str = "none") -> Session:
    model = ModelSettings(str(folder), "auto", "auto", "sdpa", "Free OCR.", experts, compiling, 0)
    return Session(resolve_model(str(folder), "auto", MODELS), model, "cpu")


@pytest.fixture(scope="module")
def plain(published: Path) -> Session:
    return session(published)


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        replace(REFERENCE, cache="static"),
        replace(REFERENCE, batch_size=3),
        replace(REFERENCE, batch_size=2, cache="static"),
    ],
)
@pytest.mark.parametrize("resolution", ["512", "1024+640x1x2"])
def test_every_way_makes_the_same_tokens(plain: Session, how: Generation, resolution: str) -> None:
    page = plain.blank_inputs(resolution)
    expected = plain.generate(page, REFERENCE)
    for _ in range(2):  # the second time in the same cache
        tokens = plain.generate(page, how)
        assert tokens.shape == (how.batch_size, 6)
        assert all(torch.equal(copy, expected[0]) for copy in tokens)


def test_a_shorter_pass_uses_the_same_static_cache(plain: Session) -> None:
    page, how = plain.blank_inputs("512"), replace(REFERENCE, cache="static")
    whole = plain.generate(page, how)
    caches = dict(plain._caches)
    assert torch.equal(plain.generate(page, how, most_tokens=2), whole[:, :2])
    assert plain._caches == caches
    # Without graphs, a cache of another shape replaces it.
    plain.generate(page, replace(how, max_new_tokens=3))
    assert len(plain._caches) == 1


def test_ngrams_are_not_repeated(plain: Session) -> None:
    page = plain.blank_inputs("512")
    free = plain.generate(page, Generation(24, ignore_eos=True))[0].tolist()
    kept = plain.generate(page, Generation(24, ignore_eos=True, no_repeat_ngram_size=1))[0].tolist()
    assert len(set(free)) < len(free), "the checkpoint repeats itself when it may"
    assert len(set(kept)) == len(kept)


def test_logits_are_reported_once_per_forward(plain: Session) -> None:
    page = plain.blank_inputs("512")
    calls: list[None] = []
    plain.generate(page, REFERENCE, on_logits=lambda: calls.append(None))
    assert len(calls) == 6


def test_experts_compute_as_asked(published: Path) -> None:
    made = session(published, experts="eager")
    assert made.description.experts_implementation == "eager"
    page = made.blank_inputs("512")
    assert torch.equal(made.generate(page, REFERENCE), session(published).generate(page, REFERENCE))
    made = session(published, experts="sonicmoe")
    with pytest.raises(UserError, match=r"experts: 'sonicmoe' cannot be used here \(.*kernels"):
        made.generate(page, REFERENCE)


def test_threads_are_those_asked_for(published: Path) -> None:
    how = ModelSettings(str(published), "auto", "auto", "sdpa", "Free OCR.", "auto", "none", 1)
    spec = resolve_model(str(published), "auto", MODELS)
    made = Session(spec, how, "cpu")
    assert torch.get_num_threads() == 1
    assert made.facts.threads == measuring_threads(), "of the device, whatever a variant uses"
    with pytest.raises(UserError, match=r"threads: 4096 are asked for, and \d+ may be used here"):
        Session(spec, replace(how, threads=4096), "cpu")
    session(published)
    assert torch.get_num_threads() == measuring_threads()


def test_copies_that_differ_are_no_longer_the_page(published: Path, tmp_path: Path) -> None:
    made = session(published)
    how = RunSettings("tiny", 3, True, 0, PLAIN, batch_size=2, timed_passes=1)
    key = RunKey("b", "map.png", 0)
    digests: list[str] = []
    generate = made.generate

    def changed(*arguments: object, **named: object) -> torch.Tensor:
        tokens = generate(*arguments, **named).clone()  # type: ignore[arg-type]
        tokens[1, -1] += len(digests)
        return tokens

    for _ in range(2):
        made.generate = changed  # type: ignore[method-assign]
        run = measure(made, PAGE, tmp_path / "t.json", how, key=key, max_megapixels=150, call=CALL)
        digests.append(run.timed.token_ids_sha256)
        assert run.timed.new_tokens == 3
    alone = measure(
        session(published),
        PAGE,
        tmp_path / "t.json",
        replace(how, batch_size=1),
        key=key,
        max_megapixels=150,
        call=CALL,
    )
    assert digests[0] == alone.timed.token_ids_sha256 != digests[1]


def test_another_architecture_takes_batches_and_a_static_cache(tmp_path: Path) -> None:
    write_llava(tmp_path / "llava")
    made = session(tmp_path / "llava")
    page = made.inputs(decode_page(PAGE, 150).image, "auto")
    expected = made.generate(page, REFERENCE)[0]
    for cache, copies in (("static", 1), ("dynamic", 3), ("static", 3)):
        how = replace(REFERENCE, cache=cache, batch_size=copies)
        assert all(torch.equal(copy, expected) for copy in made.generate(page, how))


def test_padding_and_copies_are_never_counted(plain: Session) -> None:
    """Whatever ran before in the session, a calibration is of one page in a dynamic cache."""
    key = CalibrationKey("v", "512")
    before = calibrate(plain, key)
    page = plain.blank_inputs("512")
    plain.generate(page, Generation(64, ignore_eos=True, cache="static", batch_size=2))
    assert calibrate(plain, key) == before
    for table in (before.prefill_flops, *(step.flops for step in before.decode_steps)):
        assert all(by["counted"] == by["architecture"] for by in table.values())
    # Counted in a static cache, a step attends to all of it.
    counter = FlopCounter()
    with counter.attribute(label_modules(plain.model), label_methods(plain.model)), counter:
        plain.generate(page, Generation(64, ignore_eos=True, cache="static"), most_tokens=2)
    flops = (before.prefill_flops, before.decode_steps[0].flops)
    assert counter.counts["attention"] > sum(table["attention"]["counted"] for table in flops)


# ---------------------------------------------------------------- compilation


@pytest.fixture
def without_inductor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamo compiles, and eager code runs: what is tested takes seconds and no C++ compiler."""
    eager = partial(CompileConfig, backend="eager", mode=None)
    monkeypatch.setattr(sessions, "CompileConfig", eager)
    torch._dynamo.reset()


def one_run(made: Session, folder: Path, *, tokens: int = 4, resolution: str = "tiny") -> Run:
    how = RunSettings(resolution, tokens, True, 1, PLAIN, cache="static", timed_passes=1)
    key = RunKey("compiled", "map.png", 0)
    return measure(made, PAGE, folder / "trace.json", how, key=key, max_megapixels=150, call=CALL)


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_compilation_ends_in_warm_up(published: Path, tmp_path: Path) -> None:
    made = session(published, compiling="decode")
    first = one_run(made, tmp_path)
    assert first.compilation is not None
    assert first.compilation.frames == 1
    assert first.compilation.recompilations == 0
    assert first.compilation.graphs == 0
    assert first.compilation.compile_s > 0
    assert first.compilation.passes == 2 <= len(first.warmup_ms)  # the second compiled nothing
    assert first.compilation.discarded_passes == 0
    assert first.passes_agree
    again = one_run(made, tmp_path)
    assert again.warmup_ms == []
    assert again.compilation == first.compilation, "of the warm-up that it relies on"
    other = one_run(made, tmp_path, resolution="small")
    assert other.compilation is not None
    assert other.compilation.frames == 1
    plain = measure(
        session(published),
        PAGE,
        tmp_path / "trace.json",
        RunSettings("tiny", 4, True, 0, PLAIN, timed_passes=1),
        key=RunKey("baseline", "map.png", 0),
        max_megapixels=150,
        call=CALL,
    )
    assert plain.compilation is None
    assert plain.timed.token_ids_sha256 == first.timed.token_ids_sha256


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_a_pass_that_compiles_is_made_again(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session(published, compiling="decode")
    one_run(made, tmp_path)
    calls = 0
    generate = made.generate

    def forget_once(*arguments: object, **named: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 1:
            torch._dynamo.reset_code_caches()  # as if a guard had failed
        return generate(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(made, "generate", forget_once)
    run = one_run(made, tmp_path)
    assert run.compilation is not None
    assert run.compilation.discarded_passes == 1
    assert calls == 3, "the pass that compiled, the timed one, the traced one"


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_passes_that_always_compile_have_no_time(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session(published, compiling="decode")
    one_run(made, tmp_path)
    generate = made.generate

    def forget(*arguments: object, **named: object) -> torch.Tensor:
        torch._dynamo.reset_code_caches()
        return generate(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(made, "generate", forget)
    monkeypatch.setattr(passes, "_DISCARDED", 2)
    monkeypatch.setattr(warmup, "_MORE", 1)
    with pytest.raises(UserError, match=r"compile: 2 timed passes .* compiled something"):
        one_run(made, tmp_path)
    with pytest.raises(UserError, match="after 2 passes a page at 640 still compiles"):
        one_run(made, tmp_path, resolution="small")


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_breaks_of_the_graph_are_named(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session(published, compiling="decode")
    language = made.model.get_decoder()
    forward = language.forward

    def broken(*arguments: object, **named: object) -> object:
        torch._dynamo.graph_break()
        return forward(*arguments, **named)

    monkeypatch.setattr(language, "forward", broken)
    run = one_run(made, tmp_path)
    assert run.compilation is not None
    assert len(run.compilation.graph_breaks) >= 1
    assert "graph_break" in run.compilation.graph_breaks[0]


@pytest.mark.usefixtures("without_inductor")
def test_what_transformers_does_not_compile_is_refused(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = session(published, compiling="decode")
    monkeypatch.setattr(made.model, "_valid_auto_compile_criteria", lambda *_: False)
    with pytest.raises(UserError, match="compile: transformers compiled nothing of"):
        one_run(made, tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("without_inductor")
def test_an_early_end_of_sequence_leaves_nothing_to_compile_later(
    published: Path, tmp_path: Path
) -> None:
    made = session(published, compiling="decode")
    page = made.inputs(decode_page(PAGE, 150).image, "tiny")
    first = int(made.generate(page, replace(REFERENCE, cache="static"), most_tokens=1)[0, 0])
    made.model.generation_config.eos_token_id = first
    how = RunSettings("tiny", 4, ignore_eos=False, warmup=1, profiler=PLAIN, cache="static")
    key = RunKey("compiled", "map.png", 0)
    run = measure(made, PAGE, tmp_path / "t.json", how, key=key, max_megapixels=150, call=CALL)
    assert run.timed.new_tokens == 1
    assert run.compilation is not None
    assert (run.compilation.frames, run.compilation.discarded_passes) == (1, 0)
