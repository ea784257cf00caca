"""A sweep whose rule replaces configs by copies: what it refuses, and what copies train with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt32

from jsweep.errors import ConfigError
from jsweep.planning import Group, Role, RoleKind
from jsweep.planning.groups import Lived
from jsweep.planning.lane_types import INT
from jsweep.results.lineage import Lineage
from jsweep.runner.descent import members_of, past_of, trained
from jsweep.search.rules._rule import Copying, Rule
from jsweep.search.rules.population import Explored, explore
from jsweep.space import Configs
from jsweep.space._conditions import leaves
from jsweep.space._domains import Distribution
from jsweep.storage.records import Copy, Trial


def explored_by(rule: Rule, configs: Configs, groups: Sequence[Group], roles: Mapping[str, Role]) -> Explored:
    """What a rule's copies change, within what.

    Args:
        rule: the rule, which copies.
        configs: the sweep's configs.
        groups: their compile groups.
        roles: what each name is.

    Raises:
        ConfigError: where states cannot be copied between the configs, or a name cannot change between segments.
    """
    assert rule.copying is not None
    trials = [trial for group in groups for trial in group.trials]
    if len(groups) > 1:
        varying = {n for g in groups for n, value in g.static.items() if any(o.static.get(n) != value for o in groups)}
        names = ", ".join(sorted(n for n in varying if n in roles and roles[n].kind == RoleKind.STATIC))
        raise ConfigError(
            f"rule={rule.name} copies states between configs, and these train in {len(groups)} programs as static "
            f"hyperparameters differ ({names or 'batch sizes'}): give each of these one value, or sweep them without the rule."
        )
    if len({trial.steps for trial in trials}) > 1:
        raise ConfigError(f"rule={rule.name} needs configs of one length: leave steps and epochs out of the space.")
    if len(configs.spaces) != 1:
        raise ConfigError(
            f"rule={rule.name} draws new values from the space of the configs, which here come from {len(configs.spaces)} "
            "spaces: make all of them by one search, such as js.random(space, 16, key=0)."
        )
    space = configs.spaces[0]
    wanted = rule.copying.names
    if wanted is None:
        acting = {name for group in groups for name in group.traced.used_in_training}
        wanted = tuple(n for n in space if n in acting and _floats(space[n]) and roles[n].kind == RoleKind.LANE)
    if not wanted:
        raise ConfigError(
            f"rule={rule.name} has nothing to change: draw a hyperparameter that is a lane and that each step reads "
            "from a distribution of floats, such as js.log_uniform(1e-4, 1.0), or name others by hyperparameters=."
        )
    for name in wanted:
        _check_name(rule, name, Explored(space, ()), groups, roles)
    return Explored(space, wanted)


def _floats(part: object) -> bool:
    found = [leaf for leaf in leaves(part) if isinstance(leaf, Distribution)]  # pyright: ignore[reportArgumentType]
    return bool(found) and all(leaf.kind in ("uniform", "log_uniform", "normal") for leaf in found)


def _check_name(rule: Rule, name: str, explored: Explored, groups: Sequence[Group], roles: Mapping[str, Role]) -> None:
    if name not in explored.space:
        raise ConfigError(f"rule={rule.name} names {name!r}, which the space does not have: correct it.")
    if name in ("batch_size", "steps", "epochs"):
        raise ConfigError(
            f"rule={rule.name} names {name!r}, which cannot change while a trial is trained: leave it out."
        )
    role = roles.get(name)
    lanes = [lane for group in groups for n, lane in group.lanes.items() if n == name]
    if role is None or role.kind != RoleKind.LANE or any(lane.names or lane.most for lane in lanes):
        why = "not a number in a lane" if role is None or role.kind == RoleKind.LANE else f"{role.kind}, {role.reason}"
        raise ConfigError(
            f"rule={rule.name} cannot change {name!r} between segments, as it is {why}: leave it out of hyperparameters=."
        )
    if not any(name in group.traced.used_in_training for group in groups):
        raise ConfigError(
            f"rule={rule.name} cannot change {name!r}, which init alone reads, so that a copied state holds its old value: read "
            "it in each step (with optax, without inject_hyperparams), or leave it out of hyperparameters=."
        )
    found = [leaf for leaf in leaves(explored.space[name]) if isinstance(leaf, Distribution)]
    if not found:
        raise ConfigError(
            f"rule={rule.name} changes {name!r}, which is a list of values: draw it from a distribution, such as "
            "js.log_uniform(1e-4, 1.0)."
        )
    if any(lane.dtype == INT for lane in lanes) and _floats(explored.space[name]):
        raise ConfigError(
            f"rule={rule.name} cannot change {name!r}: its lane holds whole numbers, its distribution floats."
        )


@dataclass
class Population:
    """The configs of a sweep whose rule copies.

    Attributes:
        copying: how copies change.
        explored: what they change.
        key: the words of the sweep's root key.
        lineage: the copies so far.
        members: each config's trials, by seed.
        recorded: the copies that the record has, which stand, by step and config.
    """

    copying: Copying
    explored: Explored
    key: Sequence[int]
    lineage: Lineage
    members: Mapping[str, Mapping[int, Trial]]
    recorded: Mapping[tuple[int, str], Copy]

    def note(self, step: int, sources: Mapping[str, str]) -> list[Copy]:
        """Enter what the rule has decided after ``step`` steps, each config's source; returns what is to be recorded."""
        made = []
        for config_id, source in sources.items():
            known = self.recorded.get((step, config_id))
            words = [*self.key, step, int(config_id, 16)]
            values = (
                explore(self.copying, self.explored, self.lineage.trained(source, step), words) if not known else {}
            )
            made.append(known or Copy(step, config_id, source, values))
        before = self.lineage.copies
        after = {c.config_id: [*before.get(c.config_id, ()), c] for c in made}
        self.lineage = Lineage(self.lineage.configs, {**before, **after})
        return [copy for copy in made if (step, copy.config_id) not in self.recorded]

    def pairs(self, sources: Mapping[str, str]) -> dict[str, str]:
        """The trials that are replaced, each with its source of the same seed."""
        return {
            trial.id: self.members[source][seed].id
            for config_id, source in sources.items()
            for seed, trial in self.members[config_id].items()
            if seed in self.members[source]
        }

    def trained(self, trial: Trial, step: int) -> Trial:
        """A trial with what it trains with on its way to ``step``."""
        return trained(self.lineage, trial, step)

    def past(self, trials: Iterable[Trial], step: int) -> dict[str, tuple[Lived, ...]]:
        """How the states of trials on their way to ``step`` came about; see `Tile.past`."""
        found = {trial.id: past_of(self.lineage, self.members, trial, step) for trial in trials}
        return found if any(found.values()) else {}


def make_population(
    rule: Rule, explored: Explored, root: UInt32[np.ndarray, "2"], trials: Sequence[Trial], copies: Sequence[Copy]
) -> Population:
    """The population of a sweep that is begun or resumed, before the first decision.

    Args:
        rule: its rule, which copies.
        explored: what copies change.
        root: the data of its root key.
        trials: its trials.
        copies: what the record has of copies.
    """
    assert rule.copying is not None
    configs = {trial.config_id: trial.config for trial in trials}
    recorded = {(copy.step, copy.config_id): copy for copy in copies}
    words = [int(word) for word in root]
    return Population(rule.copying, explored, words, Lineage(configs), members_of(trials), recorded)
