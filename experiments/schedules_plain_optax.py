"""A schedule of jsweep in a plain optax loop: logistic regression on handwritten digits, nothing else of jsweep.

python experiments/schedules_plain_optax.py
"""

import jax
import jax.numpy as jnp
import optax
from sklearn.datasets import load_digits

from jsweep import schedules

x, y = load_digits(return_X_y=True)
x, weights = jnp.asarray(x / 16), jnp.zeros((64, 10))
optimizer = optax.adam(schedules.warmup_stable_decay(0.0, 0.1, warmup_steps=20, stable_steps=130, decay_steps=50))
state = optimizer.init(weights)
loss = jax.jit(jax.value_and_grad(lambda w: optax.softmax_cross_entropy_with_integer_labels(x @ w, y).mean()))
for _ in range(200):
    value, gradient = loss(weights)
    updates, state = optimizer.update(gradient, state)
    weights = optax.apply_updates(weights, updates)
print(f"loss {value:.4f}, accuracy {(jnp.argmax(x @ weights, axis=1) == y).mean():.4f}")
