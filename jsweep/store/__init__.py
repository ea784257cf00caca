"""The record of sweeps in one SQLite file."""

from jsweep.store.store import CheckpointRow as CheckpointRow
from jsweep.store.store import Store as Store
from jsweep.store.store import SweepRow as SweepRow
from jsweep.store.store import TestRow as TestRow
from jsweep.store.store import TrialRow as TrialRow
from jsweep.store.store import now as now
from jsweep.store.store import open_store as open_store
