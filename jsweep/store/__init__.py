"""The record of sweeps in one SQLite file."""

from jsweep.store.rows import CheckpointRow as CheckpointRow
from jsweep.store.rows import SweepRow as SweepRow
from jsweep.store.rows import TestRow as TestRow
from jsweep.store.rows import TrialRow as TrialRow
from jsweep.store.rows import now as now
from jsweep.store.store import Store as Store
from jsweep.store.store import open_store as open_store
