"""Stores: sweeps recorded in one SQLite file, with a folder of checkpoints beside it."""

from jsweep.storage.records import Batch as Batch
from jsweep.storage.records import Checkpoint as Checkpoint
from jsweep.storage.records import Outcome as Outcome
from jsweep.storage.records import Score as Score
from jsweep.storage.records import Status as Status
from jsweep.storage.records import SweepRecord as SweepRecord
from jsweep.storage.records import TestOpening as TestOpening
from jsweep.storage.records import Trial as Trial
from jsweep.storage.records import now as now
from jsweep.storage.sqlite import Store as Store
from jsweep.storage.sqlite import open_store as open_store
