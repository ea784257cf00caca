"""Statistics of scores, on NumPy arrays: intervals, comparisons over seeds, aggregates over tasks, effort and luck.

Nothing here reads a record; `Result` and `Session` have methods that do. SciPy is needed (the extra ``statistics``).
"""

from jsweep.results.statistics.aggregate import interquartile_mean as interquartile_mean
from jsweep.results.statistics.aggregate import stratified_interval as stratified_interval
from jsweep.results.statistics.decomposition import VarianceShares as VarianceShares
from jsweep.results.statistics.decomposition import sensitivity as sensitivity
from jsweep.results.statistics.decomposition import variance_shares as variance_shares
from jsweep.results.statistics.effort import expected_best as expected_best
from jsweep.results.statistics.examples import BiasCorrected as BiasCorrected
from jsweep.results.statistics.examples import McNemar as McNemar
from jsweep.results.statistics.examples import bias_corrected as bias_corrected
from jsweep.results.statistics.examples import mcnemar as mcnemar
from jsweep.results.statistics.intervals import Interval as Interval
from jsweep.results.statistics.intervals import corrected_interval as corrected_interval
from jsweep.results.statistics.intervals import mean_interval as mean_interval
from jsweep.results.statistics.intervals import paired_interval as paired_interval
from jsweep.results.statistics.intervals import unpaired_interval as unpaired_interval
from jsweep.results.statistics.luck import expected_maximum as expected_maximum
from jsweep.results.statistics.luck import optimism as optimism
from jsweep.results.statistics.luck import posterior_means as posterior_means
from jsweep.results.statistics.wins import Outperformance as Outperformance
from jsweep.results.statistics.wins import outperformance as outperformance
from jsweep.results.statistics.wins import seeds_needed as seeds_needed
