"""One line of the report of ``appliance check``."""

from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """What a finding means for the appliance."""

    FINE = "fine"
    WEAK = "weak"  # runs, but not as well as it could
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    subject: str
    verdict: Verdict
    text: str
    cure: str = ""
