"""What a sweep's scores say about the sweep itself, in words: each check is a function from evidence to findings."""

from jsweep.results.diagnostics.evidence import Evidence as Evidence
from jsweep.results.diagnostics.evidence import Finding as Finding
from jsweep.results.diagnostics.findings import Diagnosis as Diagnosis
from jsweep.results.diagnostics.findings import diagnose as diagnose
