"""A rule on how routed experts compute."""

from collections.abc import Iterable

from mfuscope.report.formats import listing, milliseconds, percent
from mfuscope.report.recommendations import cures
from mfuscope.report.recommendations.kinds import expert_gathers, time_ms
from mfuscope.report.recommendations.rule import Facts, Recommendation


def copied_experts(facts: Facts) -> Iterable[Recommendation]:
    """Each decode step copies the weights of its experts before it multiplies with them."""
    operators, stage = facts.operators("decode"), facts.decode
    on_cpu = facts.data.hardware.device.kind == "cpu"
    if operators is None or operators.on_device == on_cpu:  # nothing, or not where it computes
        return
    gathers = expert_gathers(facts, operators)
    total = operators.device_ms if operators.on_device else operators.self_cpu_ms
    share = time_ms(operators, gathers) / total if total else 0.0
    if not share:
        return
    step_ms = facts.variant.stats["step_mean_ms"].mean or 0.0
    of_step = share * step_ms * stage.at_work_ms / stage.ms if stage.ms else 0.0
    later = " While decode is host-bound, less of this gain shows." if stage.kind == "host" else ""
    yield Recommendation(
        rule="copied_experts",
        title="Compute routed experts without copying their weights (setting experts)",
        text="generate() decodes with batched_mm, which copies the weights of each token's experts "
        "before it multiplies: two reads and a write. Other implementations read the weights in "
        "place: eager loops over the experts; sonicmoe and deepgemm are single kernels (they "
        f"need the package kernels and a GPU that they support).{later}",
        plain="Use the model's numbers where they lie, instead of copying them in every step.",
        evidence=(
            f"{percent(share)} of decode's {'CPU' if on_cpu else 'device'} time "
            f"({milliseconds(of_step)} of every step) gathers weights of experts: "
            f"{listing([row.name for row in gathers])}",
        ),
        gain_ms=stage.at_work_ms * share,
        metric="decode_ms",
        cure=cures.experts(facts),
    )
