"""Learning-rate schedules that trace in every parameter: optax schedule functions, ``count -> value``.

Every numeric parameter may be a Python number or a traced array, so that a schedule's shape can be a vmap lane. They work
in any optax optimizer, with or without the rest of jsweep. Conventions, unless a docstring says otherwise:

- ``count`` is the number of updates made so far, from 0; a negative one counts as 0.
- Lengths are in steps (`per_epoch` turns a schedule of epochs into one of steps), and after the end the last value holds.
- A concrete argument that is not valid raises `jsweep.ConfigError`; traced ones cannot be checked.
- The gradient is finite at every count and by every parameter.
- Values are floats of JAX's default width. Parameters are rounded to it first, so that concrete and traced arguments
  take the same path and give the same values to one unit in the last place, or two where XLA rounds a product and a sum
  at once. (So a float64 reference agrees to 1e-6 for parameters that float32 holds exactly.)
"""

from jsweep.schedules._catalogue import CATALOGUE as CATALOGUE
from jsweep.schedules._catalogue import Entry as Entry
from jsweep.schedules._combine import clip as clip
from jsweep.schedules._combine import join as join
from jsweep.schedules._combine import per_epoch as per_epoch
from jsweep.schedules._combine import scale as scale
from jsweep.schedules._combine import select as select
from jsweep.schedules._combine import warmup as warmup
from jsweep.schedules._cyclic import cosine_restarts as cosine_restarts
from jsweep.schedules._cyclic import cyclic as cyclic
from jsweep.schedules._decay import constant as constant
from jsweep.schedules._decay import cosine_decay as cosine_decay
from jsweep.schedules._decay import exponential_decay as exponential_decay
from jsweep.schedules._decay import inverse_sqrt as inverse_sqrt
from jsweep.schedules._decay import inverse_time_decay as inverse_time_decay
from jsweep.schedules._decay import linear as linear
from jsweep.schedules._decay import polynomial as polynomial
from jsweep.schedules._decay import rex as rex
from jsweep.schedules._decay import step_decay as step_decay
from jsweep.schedules._onecycle import cosine_onecycle as cosine_onecycle
from jsweep.schedules._onecycle import linear_onecycle as linear_onecycle
from jsweep.schedules._piecewise import multi_step as multi_step
from jsweep.schedules._piecewise import piecewise_constant as piecewise_constant
from jsweep.schedules._piecewise import piecewise_interpolate as piecewise_interpolate
from jsweep.schedules._piecewise import table as table
from jsweep.schedules._plateau import PlateauState as PlateauState
from jsweep.schedules._plateau import reduce_on_plateau as reduce_on_plateau
from jsweep.schedules._warmup import warmup_constant as warmup_constant
from jsweep.schedules._warmup import warmup_cosine_decay as warmup_cosine_decay
from jsweep.schedules._warmup import warmup_exponential_decay as warmup_exponential_decay
from jsweep.schedules._warmup import warmup_inverse_sqrt as warmup_inverse_sqrt
from jsweep.schedules._warmup import warmup_stable_decay as warmup_stable_decay
