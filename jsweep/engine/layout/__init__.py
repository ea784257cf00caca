"""The memory layout of a step's arrays, chosen for XLA's CPU backend.

XLA keeps an array in its default layout, with the features of a network's layer last. Its loops then run over 10 classes or
16 units at a time, and its fast matrix products do not take a first operand whose contracted axis is not the last, which the
gradient of a weight always has. So the step of a tile is traced and rewritten with some arrays transposed in memory:

- an activation of few features is kept with its examples last, where all operations on it allow that (products, reductions
  over axes, elementwise functions);
- weights of few outputs, and what an optimizer keeps of them, stay transposed from one step to the next where that saves moves;
- a product is written with its operands in the order, and with the one transposed, that moves the fewest numbers.

The rewritten step multiplies and adds the same numbers, in sums whose order was the compiler's choice before as well.
"""

from jsweep.engine.layout.rewrite import LoopBody, loop_body, optimize_layout

__all__ = ["LoopBody", "loop_body", "optimize_layout"]
