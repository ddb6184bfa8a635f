"""Checks of validity of what variants change: compiled code, replayed graphs, when they were run.

Each makes no check where there is nothing to be checked.
"""

from collections.abc import Iterable

from mfuscope.report.check import Check, capped
from mfuscope.report.data import ReportData
from mfuscope.report.formats import listing, plural
from mfuscope.report.survey import Compiled


def compilations(data: ReportData) -> Iterable[Check]:
    """Whether each compiled variant runs one graph, that nothing compiled anew."""
    compiled, title = data.survey.compiled, "Compiled code is whole"
    if not compiled:
        return
    on_gpu = data.hardware.device.kind == "cuda"
    wrong = {name: found for name, one in compiled.items() if (found := _faults(one, on_gpu))}
    if not wrong:
        graphs = "; their CUDA graphs were captured" if on_gpu else ""
        names = listing(list(compiled))
        text = f"{names}: no graph break and no recompilation{graphs}."
        yield Check(title=title, verdict="ok", text=text)
        return
    details = [f"{name}: {listing(found)}" for name, found in wrong.items()]
    text = "These variants did not run as one compiled graph (counts: the most in one run):"
    yield Check(title=title, verdict="warning", text=text, details=capped(details))


def _faults(one: Compiled, on_gpu: bool) -> list[str]:
    found = []
    if one.breaks:
        found.append(f"{plural(one.breaks, 'graph break')} ({'; '.join(one.reasons)})")
    if one.recompilations:
        found.append(plural(one.recompilations, "recompilation"))
    if one.discarded_passes:
        found.append(
            f"{plural(one.discarded_passes, 'timed pass', 'timed passes')} in all runs together "
            "compiled something and were discarded"
        )
    if on_gpu and not one.least_graphs:
        found.append("no CUDA graph was captured")
    return found


def replays(data: ReportData) -> Iterable[Check]:
    """Whether the kernels of replayed graphs have the operators that were captured."""
    unknown, title = data.survey.unattributed, "Replayed kernels have operators"
    if not data.survey.compiled and not unknown:
        return
    if not unknown:
        text = "Every replayed kernel has the operator under which it was captured."
        yield Check(title=title, verdict="ok", text=text)
        return
    details = [
        f"{variant}: {reason} ({runs} of {plural(data.survey.runs[variant], 'run')})"
        for (variant, reason), runs in unknown.items()
    ]
    text = "Some replayed kernels have no known operator and count as [unattributed]:"
    yield Check(title=title, verdict="warning", text=text, details=capped(details))


def simultaneity(data: ReportData) -> Iterable[Check]:
    """Whether the variants were measured in turns with the reference."""
    if not data.tried:
        return
    spans, title = data.survey.spans, "Variants were measured in turns"
    reference = data.reference.name
    first, last = spans[reference]
    apart = [
        f"{one.variant.name}: {_span(spans[one.variant.name])}"
        for one in data.tried
        if spans[one.variant.name][0] > last or spans[one.variant.name][1] < first
    ]
    if not apart:
        text = (
            "The variants took turns: each repeat measured all of them, one after the other "
            f"({plural(data.repeats, 'block')}). A host that changes its speed within a block "
            "slows some variants and not others; only more repeats average that out."
        )
        yield Check(title=title, verdict="ok", text=text)
        return
    text = (
        f"{reference} was measured {_span(spans[reference])}, and these variants entirely before "
        "or after that. If the host changed its speed meanwhile, it looks like a difference "
        "between variants, and no interval covers it."
    )
    yield Check(title=title, verdict="warning", text=text, details=capped(apart))


def _span(ends: tuple[str, str]) -> str:
    first, last = (stamp.replace("T", " ").removesuffix("Z") for stamp in ends)
    return f"{first} to {last} UTC"
