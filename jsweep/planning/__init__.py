"""The plan: trials, what is a lane and what is static, compile groups and tiles, and what they will cost.

Private: its public names are those of `jsweep`.
"""

from jsweep.planning.assignment import Annotations as Annotations
from jsweep.planning.assignment import RecordedRoles as RecordedRoles
from jsweep.planning.grouping import Grouped as Grouped
from jsweep.planning.grouping import make_groups as make_groups
from jsweep.planning.groups import Group as Group
from jsweep.planning.groups import Tile as Tile
from jsweep.planning.groups import seen_by_task as seen_by_task
from jsweep.planning.lane_types import LaneType as LaneType
from jsweep.planning.roles import Role as Role
from jsweep.planning.roles import RoleKind as RoleKind
from jsweep.planning.trials import make_trials as make_trials
from jsweep.planning.trials import seed_list as seed_list
from jsweep.planning.trials import trial_id as trial_id
