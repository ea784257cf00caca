"""The memory order of a step's arrays, chosen for XLA's CPU backend.

XLA keeps an array as it is written, the features of a layer last. Its loops then run over 10 classes or 16 units at a time,
and its fast matrix products do not take a first operand whose summed axis is not the last, which the gradient of a weight
always has. So the step of a tile is traced, and written again with some arrays transposed in memory:

- an activation of few features is kept with its examples last, where all that it goes through can take it so (products,
  sums over axes, functions of single elements);
- a product is written with its operands in the order, and the one transposed, that move the fewest numbers.

The same numbers are multiplied and added as before, in sums whose order was the compiler's choice all along.
"""

from jsweep.engine.layout.rewrite import laid_out

__all__ = ["laid_out"]
