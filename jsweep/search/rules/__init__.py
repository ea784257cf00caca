"""Rules: which configs stop, go on or wait, decided between segments from their scores so far.

A rule is a pure function ``(scores, budgets, key) -> decisions`` of columns, with a row for each config:

- ``scores``: float64, (configs, evaluations, seeds): the objective, the lower the better (one that is maximised is
  negated). NaN where a config has not been evaluated yet, infinity where its score or a loss was not finite.
- ``budgets``: int64, (configs, evaluations): the steps trained at each evaluation, the same for all configs but at a
  config's last one. 0 fills the rows of shorter configs; what a stopped config will not reach is negative.
- ``key``: uint32, (2,): the data of the sweep's root key, the same at every call.
- ``decisions``: int8, (configs,): `GO` to the config's next evaluation, `STOP` for good, or `WAIT` where it stands. Those
  for configs that have ended are ignored. Configs that wait when none goes on are stopped.

A rule with a `Copying` also says, of the same columns, which row each of those that go on is a copy of.

It is asked whenever the configs that went on have arrived, so nothing it decides depends on time. `successive_halving`,
`hyperband`, `asynchronous_halving`, `median_stopping`, `percentile`, `patience`, `divergence` and `population_based_training`
make rules, and `any_of` and `all_of` join them; any function of that shape is one, too.
"""

from jsweep.search.rules._columns import Budgets as Budgets
from jsweep.search.rules._columns import Decisions as Decisions
from jsweep.search.rules._columns import Scores as Scores
from jsweep.search.rules._rule import GO as GO
from jsweep.search.rules._rule import STOP as STOP
from jsweep.search.rules._rule import WAIT as WAIT
from jsweep.search.rules._rule import Copying as Copying
from jsweep.search.rules._rule import Rule as Rule
from jsweep.search.rules._rule import all_of as all_of
from jsweep.search.rules._rule import any_of as any_of
from jsweep.search.rules._rule import per_trial as per_trial
from jsweep.search.rules._statistics import wilcoxon as wilcoxon
from jsweep.search.rules.curves import divergence as divergence
from jsweep.search.rules.curves import median_stopping as median_stopping
from jsweep.search.rules.curves import patience as patience
from jsweep.search.rules.curves import percentile as percentile
from jsweep.search.rules.halving import asynchronous_halving as asynchronous_halving
from jsweep.search.rules.halving import hyperband as hyperband
from jsweep.search.rules.halving import successive_halving as successive_halving
from jsweep.search.rules.population import population_based_training as population_based_training
