"""The plan: trials, what is a lane and what is a compile group, tiles, and what they will cost."""

from jsweep.plan.groups import Group as Group
from jsweep.plan.groups import make_groups as make_groups
from jsweep.plan.trace import LaneType as LaneType
from jsweep.plan.trace import Role as Role
from jsweep.plan.trials import Trial as Trial
from jsweep.plan.trials import make_trials as make_trials
from jsweep.plan.trials import seed_list as seed_list
from jsweep.plan.trials import trial_id as trial_id
