"""The keys of runs and calibrations in tables, paths and messages."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class RunKey:
    """One image x one repeat x one variant."""

    variant: str
    image: str
    repeat: int

    def __str__(self) -> str:
        return f"{self.variant}/{self.image}/{self.repeat}"


@dataclass(frozen=True, slots=True, order=True)
class CalibrationKey:
    """One variant at one canonical resolution."""

    variant: str
    resolution: str

    def __str__(self) -> str:
        return f"{self.variant} at {self.resolution}"
