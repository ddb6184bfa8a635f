"""What rules see, and what they recommend."""

from dataclasses import dataclass

from mfuscope.report.data import ReportData, Variant
from mfuscope.report.limits import StageFacts, StageName
from mfuscope.report.operators import StageOperators


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What a rule suggests.

    Attributes:
        rule: its name.
        title, text: for engineers.
        plain: for readers without technical background.
        evidence: the measured facts behind it, one per line.
        gain_ms: upper bound of the gain in a page's time; None if it only makes numbers more
            certain.
    """

    rule: str
    title: str
    text: str
    plain: str
    evidence: tuple[str, ...]
    gain_ms: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """A variant as rules see it: its two stages and their operators."""

    data: ReportData
    variant: Variant
    prefill: StageFacts
    decode: StageFacts

    def operators(self, stage: StageName) -> StageOperators | None:
        """The stage's operators; None if the traces have none."""
        return self.data.operators_of(self.variant.name, stage)
