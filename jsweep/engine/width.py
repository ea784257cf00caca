"""The width of a tile: how many lanes one device trains together."""

import jax

from jsweep.planning import Group

L2_BYTES = 1 << 20  # of the processors in use today a core has 1 to 2 MiB
MOST_LANES_ON_CPU = 16


def tile_width(group: Group) -> int:
    """Lanes a tile: on CPU as many as keep parameters, optimizer state and gradients in a core's cache.

    It depends on the program alone, never on how many trials there are, so that a grid that grows leaves the results
    of its old trials bit-equal.
    """
    if jax.default_backend() == "cpu":
        width = 1
        while width < MOST_LANES_ON_CPU and 2 * width * group.lane_bytes <= L2_BYTES:
            width *= 2
        return width
    return 1024
