"""The record of sweeps in one SQLite file."""

from jsweep.storage.records import CheckpointRow as CheckpointRow
from jsweep.storage.records import SweepRow as SweepRow
from jsweep.storage.records import TestRow as TestRow
from jsweep.storage.records import TrialRow as TrialRow
from jsweep.storage.records import now as now
from jsweep.storage.sqlite import Store as Store
from jsweep.storage.sqlite import open_store as open_store
