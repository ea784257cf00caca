"""How much each hyperparameter matters: the variance that it explains over a grid, or its part in the best configs."""

import itertools
import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from jsweep._runtime.optional import import_optional
from jsweep._runtime.text import clean
from jsweep.errors import ConfigError
from jsweep.results.ranking import ConfigScore
from jsweep.results.statistics.decomposition import variance_shares
from jsweep.results.text_table import format_table, names_of
from jsweep.space import encode, format_value
from jsweep.storage import Status, Trial

Method: TypeAlias = Literal["anova", "ped-anova"]

LEAST_CONFIGS = 20  # for PED-ANOVA: its best tenth has then two
FEW = 10  # configs among the best tenth, below which their distribution says little
TOP = 0.1  # the part of the configs whose distribution PED-ANOVA looks at
LOG_RATIO = 50  # positive numbers that span a larger factor are looked at by their logarithms
MOST_PAIRS = 10  # rows of pairs in the text


@dataclass(frozen=True, repr=False)
class Importance:
    """How much each hyperparameter matters for ``metric``; prints as a table.

    With the ``method`` "anova", ``main`` has the fraction of the variance of the configs' means that each explains by
    itself, largest first, ``pairs`` what two explain only together, ``rest`` what only more do, and ``noise`` the fraction
    to expect from the seeds alone (NaN for one seed): effects that are not well above it mean nothing. With "ped-anova",
    ``main`` adds up to one, and the others are empty or NaN. ``notes`` say what was left out.
    """

    metric: str
    method: Method
    main: Mapping[str, float]
    pairs: Mapping[tuple[str, str], float]
    rest: float
    noise: float
    configs: int
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        return self.text()

    def text(self, width: int = 80) -> str:
        """The table, in lines of at most ``width`` characters where a cell allows."""
        rows: list[tuple[str, str]] = [(clean(name), _percent(value)) for name, value in self.main.items()]
        pairs = [(f"{clean(a)} x {clean(b)}", _percent(value)) for (a, b), value in self.pairs.items()]
        rows += pairs[:MOST_PAIRS]
        if len(pairs) > MOST_PAIRS:
            rows.append((f"{len(pairs) - MOST_PAIRS} other pairs", _percent(sum([*self.pairs.values()][MOST_PAIRS:]))))
        if len(self.main) > 2 and not math.isnan(self.rest):
            rows.append(("three and more together", _percent(self.rest)))
        heading = "of the variance" if self.method == "anova" else "importance"
        title = f"{clean(self.metric)} over {self.configs} configs, by {SAID[self.method]}"
        return "\n".join([format_table(title, ["hyperparameter", heading], rows, width), *self.notes])


SAID: Mapping[Method, str] = {"anova": "functional ANOVA of the grid", "ped-anova": "PED-ANOVA"}


def common_step(ranking: Sequence[ConfigScore]) -> int | None:
    """The last step that nine tenths of the configs that were begun and have a score reached; None where that is their end."""
    begun = [
        score for score in ranking if (score.complete or score.stopped) and math.isfinite(score.mean) and score.step
    ]
    if not begun:
        return None
    slowest = sorted(begun, key=lambda score: score.step)[int(TOP * len(begun))]
    return slowest.step if slowest.stopped else None


def importance_of(
    ranking: Sequence[ConfigScore],
    trials: Sequence[Trial],
    method: Method | None,
    sweep: str,
    step: int | None = None,
) -> Importance:
    """The importance of each hyperparameter that differs between configs; see `Result.importance`.

    ``step`` is the one that the ranking is at, where that is not the configs' end.
    """
    found = _importance_of(ranking, trials, method, sweep)
    if step is None:
        return found
    note = f"By the scores at step {step}, the last that nine tenths of the configs reached before some were stopped."
    return replace(found, notes=(note, *found.notes))


def _importance_of(
    ranking: Sequence[ConfigScore], trials: Sequence[Trial], method: Method | None, sweep: str
) -> Importance:
    if method is not None and method not in get_args(Method):
        raise ConfigError(f"method={method!r} is not valid: pass 'anova', 'ped-anova' or nothing.")
    varied = _varied(ranking)
    if not varied:
        raise ConfigError(f"no hyperparameter differs between the configs of {sweep!r}: there is nothing to weigh.")
    grid = None if method == "ped-anova" else _grid_of(ranking, varied)
    if grid is not None:
        return _by_anova(ranking, grid, sweep)
    if method == "anova":
        raise ConfigError(
            f"the configs of {sweep!r} are not a full grid, whose variance alone splits exactly: pass method='ped-anova'."
        )
    under_way = {
        trial.config_id
        for trial in trials
        if trial.status in (Status.WAITING, Status.RUNNING) or (trial.status == Status.STOPPED and not trial.done)
    }
    return _by_ped_anova([score for score in ranking if score.config_id not in under_way], len(ranking), varied, sweep)


@dataclass(frozen=True)
class _Grid:
    """A full grid: each name's levels, by their text in order, and each cell's config by its levels."""

    levels: Mapping[str, Mapping[str, Any]]
    cells: Mapping[tuple[str, ...], ConfigScore]


def _grid_of(ranking: Sequence[ConfigScore], varied: Sequence[str]) -> _Grid | None:
    """The grid that the configs are; None where a combination is missing or a name is not in every config."""
    if any(name not in score.config for score in ranking for name in varied):
        return None
    levels: dict[str, dict[str, Any]] = {name: {} for name in varied}
    cells = {}
    for score in ranking:
        place = tuple(_code(score.config[name]) for name in varied)
        for name, code in zip(varied, place):
            levels[name][code] = score.config[name]
        cells[place] = score
    whole = math.prod(len(own) for own in levels.values()) == len(ranking) == len(cells)
    return _Grid(levels, cells) if whole else None


def _by_anova(ranking: Sequence[ConfigScore], grid: _Grid, sweep: str) -> Importance:
    names = [*grid.levels]
    kept, dropped = _complete_part(grid)
    cells = [grid.cells[place] for place in itertools.product(*(kept[name] for name in names))]
    if len(cells) < 2:
        raise ConfigError(
            f"too few configs of {sweep!r} have finished with finite scores for a grid of them: train the rest, or pass "
            "method='ped-anova'."
        )
    shares = variance_shares(np.array([score.mean for score in cells]).reshape([len(kept[name]) for name in names]))
    order = np.argsort(-np.nan_to_num(shares.main), kind="stable")
    main = {names[i]: float(shares.main[i]) for i in order}
    pairs = {(names[i], names[j]): float(shares.pairs[i, j]) for i, j in itertools.combinations(range(len(names)), 2)}
    largest = sorted(pairs, key=lambda pair: -np.nan_to_num(pairs[pair]))
    notes = [
        f"Left out, as it has configs that are not complete: {clean(name)}={clean(format_value(grid.levels[name][code]))}."
        for name, code in dropped
    ]
    noise = _noise(cells) / shares.variance if shares.variance else math.nan  # NaN where these overflow
    if shares.variance:
        notes.append(
            f"Of the variance, {_percent(noise)} is to be expected from the seeds alone."
            if not math.isnan(noise)
            else "With one seed, what of this is noise cannot be told."
        )
    else:
        notes.append("All configs score the same.")
    return Importance(
        ranking[0].metric, "anova", main, {p: pairs[p] for p in largest}, shares.rest, noise, len(cells), tuple(notes)
    )


def _complete_part(grid: _Grid) -> tuple[dict[str, list[str]], list[tuple[str, str]]]:
    """The levels that are left, by name, when those with the largest part of incomplete cells are dropped, and those."""
    names = [*grid.levels]
    kept = {name: [*levels] for name, levels in grid.levels.items()}
    missing = {place for place, score in grid.cells.items() if not score.complete}
    dropped: list[tuple[str, str]] = []
    while missing:
        size = math.prod(map(len, kept.values()))
        parts = {
            (name, code): sum(place[i] == code for place in missing) * len(kept[name]) / size
            for i, name in enumerate(names)
            for code in kept[name]
        }
        name, code = max(parts, key=lambda level: parts[level])
        dropped.append((name, code))
        kept[name].remove(code)
        missing = {place for place in missing if place[names.index(name)] != code}
        if not kept[name]:
            break
    return kept, dropped


def _noise(cells: Sequence[ConfigScore]) -> float:
    """The variance between configs' means that seeds alone bring about, from what is left over configs and seeds.

    An effect that a seed has on all configs alike moves no config against another, so it is taken out first.
    """
    if len({score.seeds for score in cells}) > 1 or len(cells[0].seeds) < 2:
        return math.nan
    values = np.array([score.values for score in cells], np.float64)
    values = values - values.mean()
    left = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True)
    configs, seeds = values.shape
    residual = float((left**2).sum()) / ((configs - 1) * (seeds - 1))
    return residual / seeds * (configs - 1) / configs


def _by_ped_anova(judged: Sequence[ConfigScore], configs: int, varied: Sequence[str], sweep: str) -> Importance:
    """By Optuna's evaluator, which only asks which configs are the best tenth, so that ranks stand for scores."""
    optuna = import_optional("optuna", "optuna")
    if len(judged) < LEAST_CONFIGS or sum(score.complete for score in judged) < math.ceil(TOP * len(judged)):
        raise ConfigError(
            f"{sweep!r} has {len(judged)} configs that have ended, too few of them complete: PED-ANOVA compares the best "
            f"tenth of at least {LEAST_CONFIGS} with all."
        )
    distributions = {
        name: _distribution(optuna, [s.config[name] for s in judged if name in s.config]) for name in varied
    }
    main = _ped_anova(optuna, judged, distributions)
    incomplete = sum(not score.complete for score in judged)
    notes = [f"Of being among the best {TOP:.0%} of the configs, not of the scores themselves."]
    few = math.ceil(TOP * len(judged))
    if few < FEW:
        notes.append(f"These are {few} of {len(judged)} configs: a rough estimate, which more configs make better.")
    if len(set(main.values())) == 1 < len(main):
        notes.append("The best configs are spread over every hyperparameter as all are: none of them matters for it.")
    if incomplete:
        notes.append(f"{incomplete} configs that were stopped, failed or diverged count as worse than all others.")
    if len(judged) < configs:
        notes.append(f"{configs - len(judged)} configs have not ended, or were never begun, and are left out.")
    return Importance(judged[0].metric, "ped-anova", main, {}, math.nan, math.nan, len(judged), tuple(notes))


def _ped_anova(optuna: Any, judged: Sequence[ConfigScore], distributions: Mapping[str, Any]) -> dict[str, float]:
    """Importances by name, largest first, that add up to one; ``judged`` is in order of rank."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study()
        study.add_trials([_frozen(optuna, score, rank, distributions) for rank, score in enumerate(judged)])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the evaluator is experimental
            evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=TOP)
            found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(value) for name, value in sorted(found.items(), key=lambda item: -item[1])}


def _frozen(optuna: Any, score: ConfigScore, rank: int, distributions: Mapping[str, Any]) -> Any:
    own = {name: distribution for name, distribution in distributions.items() if name in score.config}
    params = {name: _internal(score.config[name], distribution) for name, distribution in own.items()}
    return optuna.trial.create_trial(value=float(rank), params=params, distributions=own)


def _distribution(optuna: Any, values: Sequence[Any]) -> Any:
    """The range of the values tried, or their texts; a logarithmic range where a page's axis would be."""
    if not all(_is_number(value) for value in values):
        return optuna.distributions.CategoricalDistribution(tuple(dict.fromkeys(map(_code, values))))
    low, high = min(values), max(values)
    kinds = optuna.distributions
    log = low > 0 and high / low > LOG_RATIO
    if all(isinstance(value, int) for value in values):
        return kinds.IntDistribution(low, high, log=log)
    return kinds.FloatDistribution(float(low), float(high), log=log)


def _internal(value: Any, distribution: Any) -> Any:
    return _code(value) if hasattr(distribution, "choices") else value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**53


def _code(value: Any) -> str:
    """A value as text that no other value has."""
    return json.dumps(encode(value), sort_keys=True)


def _varied(ranking: Sequence[ConfigScore]) -> list[str]:
    """The names of which configs have different values, or which only some have."""
    absent = "absent"  # the code of no value, as that of a string has quotes
    return [
        name
        for name in names_of(score.config for score in ranking)
        if len({_code(s.config[name]) if name in s.config else absent for s in ranking}) > 1
    ]


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.1f}%"
