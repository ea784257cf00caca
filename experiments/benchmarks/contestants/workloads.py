"""What is trained: models, data and the floating-point work of a step, the same for every contestant."""

import math
from dataclasses import dataclass

import numpy as np

BATCH, CLASSES = 64, 10


@dataclass(frozen=True)
class Workload:
    """Lanes of one model on handwritten digits, with learning rates spread over two decades."""

    name: str
    model: str  # "mlp", "cnn" or "transformer"
    width: int
    lanes: int
    steps: int
    optimizer: str  # "sgd" (momentum 0.9) or "adam"

    @property
    def rates(self) -> list[float]:
        low, high = (1e-3, 1e-1) if self.optimizer == "sgd" else (1e-4, 1e-2)
        if self.lanes == 1:
            return [math.sqrt(low * high)]
        return [low * (high / low) ** (i / (self.lanes - 1)) for i in range(self.lanes)]

    @property
    def flops_a_step(self) -> float:
        """Multiplications and additions of one lane's step: forward, and twice that backward, but once for the first layer.

        Nobody needs the gradient with respect to the examples.
        """
        return 2.0 * BATCH * (3.0 * _macs(self) - _first_macs(self))


WORKLOADS = {
    w.name: w
    for w in (
        Workload("mlp16-adam", "mlp", 16, 64, 1000, "adam"),
        Workload("mlp64-adam", "mlp", 64, 64, 1000, "adam"),
        Workload("mlp128-sgd", "mlp", 128, 64, 500, "sgd"),
        Workload("mlp256-adam", "mlp", 256, 16, 300, "adam"),
        Workload("cnn-adam", "cnn", 8, 8, 100, "adam"),
        Workload("transformer-adam", "transformer", 32, 8, 100, "adam"),
        Workload("mlp32-adam", "mlp", 32, 256, 1000, "adam"),
    )
}


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,437 training digits, float32 (n, 64) in [0, 1], and int32 classes."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return (x[:1437] / 16).astype(np.float32), y[:1437].astype(np.int32)


def _macs(w: Workload) -> float:
    """Multiply-adds of one example's forward pass, in its matrix products and convolutions."""
    if w.model == "mlp":
        return 64 * w.width + w.width * w.width + w.width * CLASSES
    if w.model == "cnn":
        return 64 * 9 * w.width + 64 * 9 * w.width * 2 * w.width + 64 * 2 * w.width * CLASSES
    d, tokens = w.width, 8
    return tokens * 8 * d + 2 * (tokens * (4 * d * d + 4 * d * d) + 2 * tokens * tokens * d) + d * CLASSES


def _first_macs(w: Workload) -> float:
    """Those of the first layer."""
    return {"mlp": 64 * w.width, "cnn": 64 * 9 * w.width, "transformer": 8 * 8 * w.width}[w.model]
