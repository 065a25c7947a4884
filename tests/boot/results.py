"""What a scenario found out."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report."""

    what: str
    measured: str
    goal: str
    reached: bool


def at_most(what: str, seconds: float, limit_s: float) -> Result:
    """A duration that must not be longer."""
    return Result(what, f"{seconds:.2f} s", f"{limit_s:g} s", seconds <= limit_s)


def holds(what: str, true: bool, otherwise: str = "no") -> Result:
    """Something that must be so; ``otherwise`` says what was instead."""
    return Result(what, "yes" if true else otherwise, "yes", true)
