"""The plan: trials, what is a lane and what is a compile group, tiles, and what they will cost."""

from jsweep.planning.bucketing import RecordedRoles as RecordedRoles
from jsweep.planning.groups import Group as Group
from jsweep.planning.groups import Tile as Tile
from jsweep.planning.groups import make_groups as make_groups
from jsweep.planning.roles import Role as Role
from jsweep.planning.traced import LaneType as LaneType
from jsweep.planning.trials import make_trials as make_trials
from jsweep.planning.trials import seed_list as seed_list
from jsweep.planning.trials import trial_id as trial_id
