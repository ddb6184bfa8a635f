"""What rules see, and what they recommend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mfuscope.compare.verdicts import Verdict
from mfuscope.report.data import ReportData, Variant
from mfuscope.report.limits import StageFacts, StageName
from mfuscope.report.operators import StageOperators


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What a recommendation brought when it was measured as a variant.

    Attributes:
        variant: the variant that follows it.
        changes: the settings in which it differs, with its own values; all of them are the cure's.
        gain_ms: what it took off a page's time in ms; negative where it took longer.
        of_ms: the reference's mean of that time, of a page.
        ci95_low, ci95_high: the gain at the ends of the ratio's 95 % interval and the reference's
            mean; None where there is none.
        of_bound: gain / bound; None without a bound, or where no gain was shown.
        verdict: on the time that the recommendation is about.
    """

    variant: str
    changes: Mapping[str, Any]
    gain_ms: float
    of_ms: float
    ci95_low: float | None
    ci95_high: float | None
    of_bound: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What a rule suggests.

    Attributes:
        rule: its name.
        title, text: for engineers.
        plain: for readers without technical background.
        evidence: the measured facts behind it, one per line.
        gain_ms: upper bound of the gain in a page's time; None if it is not known, or only makes
            numbers more certain.
        metric: the time that it shortens; None if it only makes numbers more certain.
        cure: the settings that test it, over those of the variant; None if no setting does.
        proof: what it brought where a variant tested it.
    """

    rule: str
    title: str
    text: str
    plain: str
    evidence: tuple[str, ...]
    gain_ms: float | None
    metric: str | None = None
    cure: Mapping[str, Any] | None = None
    proof: Proof | None = None

    @property
    def worth_ms(self) -> float:
        """The gain by which it is ranked: the measured one, else its bound."""
        if self.proof is not None:
            return self.proof.gain_ms
        return -1.0 if self.gain_ms is None else self.gain_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A variant as rules see it: its two stages and their operators."""

    data: ReportData
    variant: Variant
    prefill: StageFacts
    decode: StageFacts

    @property
    def settings(self) -> Mapping[str, Any]:
        """The variant's settings, as they were resolved."""
        return self.data.settings_of(self.variant.name)

    def operators(self, stage: StageName) -> StageOperators | None:
        """The stage's operators; None if the traces have none."""
        return self.data.operators_of(self.variant.name, stage)
