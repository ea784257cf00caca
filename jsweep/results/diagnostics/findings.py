"""All checks, one after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

from jsweep._runtime.text import clean
from jsweep.results.diagnostics.evidence import Evidence, Finding
from jsweep.results.diagnostics.seeds import too_few_seeds
from jsweep.results.diagnostics.space import duplicates, edge_of_space, thin_sample, without_effect
from jsweep.results.diagnostics.training import few_finite, overfitting, still_improving

CHECKS = (
    few_finite,
    edge_of_space,
    still_improving,
    overfitting,
    too_few_seeds,
    without_effect,
    duplicates,
    thin_sample,
)
OF_SPACES = {edge_of_space, without_effect, duplicates, thin_sample}


@dataclass(frozen=True)
class Diagnosis:
    """What the checks found, by which metric; prints as a list."""

    metric: str
    findings: Sequence[Finding]

    def __str__(self) -> str:
        if not self.findings:
            return f"by {clean(self.metric)}: nothing to report"
        return "\n".join([f"by {clean(self.metric)}:", *(f"- {finding}" for finding in self.findings)])


def diagnose(evidence: Evidence) -> list[Finding]:
    """Run every check, of a confirmation none of its space. Where no config is complete, only divergence is looked for."""
    checks = CHECKS if evidence.complete else (few_finite,)
    if evidence.confirms:
        checks = [check for check in checks if check not in OF_SPACES]
    return [finding for check in checks for finding in check(evidence)]
