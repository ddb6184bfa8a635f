"""What a recommendation brings, in words; and the call that measures those not measured yet."""

import json
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from mfuscope.compare.verdicts import NO_DIFFERENCE
from mfuscope.report.data import Variant
from mfuscope.report.formats import interval, milliseconds, percent
from mfuscope.report.recommendations.rule import Recommendation

Overrides = dict[str, Any]
_TIMES = {
    "page_ms": "prefill with decode",
    "prefill_ms": "prefill",
    "vision_ms": "the vision encoder",
    "decode_ms": "decode",
}
_OPTION = "variants="
_LONGEST_NAME = 40


def gain_text(one: Recommendation, page_ms: float) -> str:
    """The measured gain, else the most that is possible.

    Args:
        page_ms: the time of a page.
    """
    if one.proof is not None:
        if one.proof.verdict == NO_DIFFERENCE:
            return f"measured: {NO_DIFFERENCE}"
        return f"measured: {change(one.proof.gain_ms)} a page{_share(one.proof.gain_ms, page_ms)}"
    if one.metric is None:
        return "more certain numbers"
    if one.gain_ms is None:
        return "gain not known"
    return f"at most {change(one.gain_ms)} a page{_share(one.gain_ms, page_ms)}"


def change(gain_ms: float) -> str:
    """A gain in ms as the change of a time."""
    return f"{'−' if gain_ms >= 0 else '+'}{milliseconds(abs(gain_ms))}"


def share(gain_ms: float, of_ms: float) -> str:
    """A gain as a share of a time."""
    return percent(gain_ms / of_ms) if of_ms else "an unknown share"


def share_interval(low_ms: float, high_ms: float, of_ms: float) -> str:
    """The 95 % interval of a gain as a share of a time."""
    return f"95 % interval {interval(100 * low_ms / of_ms, 100 * high_ms / of_ms)} %".replace(
        " %", "\N{NO-BREAK SPACE}%"
    )


def _share(gain_ms: float, page_ms: float) -> str:
    return f", {share(gain_ms, page_ms)} of the page" if page_ms and gain_ms > 0 else ""


def bound_text(one: Recommendation) -> str:
    """The bound of a gain that was measured together with others; empty where there is none."""
    return "" if one.gain_ms is None else f"its own bound: {change(one.gain_ms)} a page"


def proof_text(one: Recommendation, *, together: bool = False) -> str:
    """Where the gain was measured, its interval, and how much of the bound it is; else empty.

    Args:
        together: the gain is that of several recommendations, of which no single bound is.
    """
    proof = one.proof
    if proof is None or one.metric is None:
        return ""
    changed = ", ".join(f"{name}: {value}" for name, value in proof.changes.items())
    less = "less" if proof.gain_ms >= 0 else "more"
    text = (
        f"Measured by {proof.variant}, which changes only {changed}: {_TIMES[one.metric]} takes "
        f"{milliseconds(abs(proof.gain_ms))} {less} a page, "
        f"{share(abs(proof.gain_ms), proof.of_ms)}"
    )
    if proof.ci95_low is None or proof.ci95_high is None:
        return f"{text}, from too few values for an interval."
    ends = [proof.ci95_low, proof.ci95_high]
    low, high = ends if proof.gain_ms >= 0 else [-end for end in reversed(ends)]
    text += f" ({share_interval(low, high, proof.of_ms)})"
    if proof.verdict == NO_DIFFERENCE:
        return f"{text}: {NO_DIFFERENCE}."
    if together or one.gain_ms is None or proof.of_bound is None:
        return f"{text}."
    bound = f"the bound of {milliseconds(one.gain_ms)}"
    if proof.of_bound > 1:
        return f"{text}, more than {bound}: it changed more than the bound counts."
    return f"{text}, {percent(proof.of_bound)} of {bound}."


def untested_text(one: Recommendation) -> str:
    """Why it was not measured, where no setting would; else empty."""
    if one.metric is None or one.proof is not None or one.cure is not None:
        return ""
    return "No setting of mfuscope tests it here."


class Experiment:
    """A call's variants, and those that would test what is recommended.

    Attributes:
        variants: those of the call with their overrides.
    """

    def __init__(self, command: str) -> None:
        """From the command that measures the same again (`workflow.command`)."""
        self._command = command
        self.variants = _variants_of(command)
        self._suggested: dict[str, str] = {}

    def snippet(self, variant: Variant, one: Recommendation) -> str:
        """A line for `variants` in the settings; empty where it was measured or cannot be."""
        if one.cure is None or one.proof is not None:
            return ""
        name, overrides = self._added(variant, one.cure)
        return "" if name in self.variants else f"{name}: {_flow(overrides)}"

    def command(self, found: Iterable[tuple[Variant, Recommendation]]) -> str:
        """The call that measures those that were not measured yet, each over its variant.

        Empty where there is none. What was measured already is not measured again.
        """
        added = dict(
            self._added(variant, one.cure)
            for variant, one in found
            if one.cure is not None and one.proof is None
        )
        if added.keys() <= self.variants.keys():
            return ""
        words = [word for word in shlex.split(self._command) if not word.startswith(_OPTION)]
        if "--config" not in words:
            words.append("--config")
        value = json.dumps(self.variants | added, ensure_ascii=False)
        return shlex.join([*words, f"{_OPTION}{value}"])

    def _added(self, variant: Variant, cure: Mapping[str, Any]) -> tuple[str, Overrides]:
        """The name and overrides of a variant with a cure; those of equal settings have one name.

        The name is one of `variants` where such a variant is there already.
        """
        own = self.variants.get(variant.name) or {}
        overrides = {**own, **cure}
        for known, settings in self.variants.items():
            if settings == overrides:
                return known, overrides
        same = json.dumps(overrides, sort_keys=True)
        if same in self._suggested:
            return self._suggested[same], overrides
        # The last setting of a cure is what it is about; the others are what that one needs.
        key, value = list(cure.items())[-1]
        name = f"{key}-{value}".replace("_", "-")
        if own and len(variant.name) + len(name) < _LONGEST_NAME:
            name = f"{variant.name}-{name}"
        while name in self.variants or name in self._suggested.values():
            name += "-2"
        self._suggested[same] = name
        return name, overrides


def _variants_of(command: str) -> dict[str, Overrides]:
    """The variants of a command with their overrides: the reference alone where it names none."""
    for word in shlex.split(command):
        if word.startswith(_OPTION):
            found: dict[str, Overrides | None] = json.loads(word.removeprefix(_OPTION))
            return {name: one or {} for name, one in found.items()}
    return {"baseline": {}}


def _flow(overrides: Overrides) -> str:
    """Overrides in one line of YAML."""
    pairs = (f"{key}: {_scalar(value)}" for key, value in overrides.items())
    return f"{{{', '.join(pairs)}}}"


def _scalar(value: object) -> str:
    plain = isinstance(value, str) and value.isidentifier() and value not in ("true", "false")
    return str(value) if plain else json.dumps(value, ensure_ascii=False)
