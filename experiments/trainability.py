"""Where training ends: the boundary between learning rates that converge and that diverge, which is a fractal.

    python experiments/trainability.py [--side 1024] [--zoom 512] [--steps 500] [--store trainability.db] [--out trainability.png]

After Sohl-Dickstein (2024, "The boundary of neural network trainability is fractal"): a network of one hidden layer of 16 tanh
units in mean-field scaling, trained by SGD on batches of 16 of 272 random examples, with a learning rate for each of its two
layers. Each pixel is a network: a sweep of side x side configs, and a second one that zooms into a part of the boundary. The
picture shows how well networks that converge learn (the mean loss over training) and how soon others become infinite, both
from the record; printed are the time, and the box-counting dimension of the boundary beside the range that the paper reports.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jsweep as js

WIDTH, EXAMPLES, BATCH = 16, 272, 16  # as many examples as weights
LOW, HIGH = 1e-1, 1e4  # learning rates of both layers
PUBLISHED = "1.17 to 1.98 over its six settings"


def init(config, key):
    one, two = jax.random.split(key)
    return {"hidden": jax.random.normal(one, (WIDTH, WIDTH)), "out": jax.random.normal(two, (WIDTH,))}


def apply(config, params, x, key):
    return jnp.tanh(x @ params["hidden"] * np.sqrt(2 / WIDTH)) @ params["out"] / WIDTH


def optimizer(config):
    rates = {"hidden": optax.sgd(config["hidden_rate"]), "out": optax.sgd(config["out_rate"])}
    return optax.partition(rates, {"hidden": "hidden", "out": "out"})


def sweep(side, steps, store, name, hidden=(LOW, HIGH), out=(LOW, HIGH), tile="auto"):
    """A grid of ``side`` x ``side`` learning rates between the given bounds."""
    random = np.random.default_rng(0)
    x, y = random.normal(size=(EXAMPLES, WIDTH)).astype(np.float32), random.normal(size=EXAMPLES).astype(np.float32)
    few = x[:BATCH], y[:BATCH]  # nothing is chosen by validation
    task = js.supervised(
        init, apply, loss=js.losses.squared_error, optimizer=optimizer, data=js.Splits((x, y), few), batch_size=BATCH
    )
    rates = {"hidden_rate": np.geomspace(*hidden, side), "out_rate": np.geomspace(*out, side)}
    options = {"steps": steps, "evaluate_every": steps, "checkpoints": "off", "tile": tile}
    return js.Sweep(
        task, js.grid({name: own.tolist() for name, own in rates.items()}), store=store, name=name, **options
    )


def picture(session, side):
    """The mean training loss of each config (infinite where it diverged), and the step at which that was, (side, side)."""
    table = session.table()
    order = np.lexsort((table["out_rate"], table["hidden_rate"]))
    loss = np.asarray(table["train/loss"], float)[order].reshape(side, side)
    first = np.array([trial.nonfinite if trial.nonfinite is not None else -1 for trial in session.trials()])
    return np.where(np.isfinite(loss), loss, np.inf), first[order].reshape(side, side)


def boundary(diverged):
    """The pixels of which a neighbour to the right or below is on the other side."""
    edge = np.zeros_like(diverged)
    edge[:-1] |= diverged[:-1] != diverged[1:]
    edge[:, :-1] |= diverged[:, :-1] != diverged[:, 1:]
    return edge


def dimension(edge):
    """The box-counting dimension: the slope of the logarithm of the boxes that hold boundary over that of their number."""
    sizes = [size for size in (1, 2, 4, 8, 16, 32) if size * 8 <= len(edge)]
    counts = []
    for size in sizes:
        side = len(edge) // size
        boxes = edge[: side * size, : side * size].reshape(side, size, side, size)
        counts.append(boxes.any(axis=(1, 3)).sum())
    return -np.polyfit(np.log(sizes), np.log(counts), 1)[0]


def part_to_zoom(edge, hidden, out, share=16):
    """The bounds of the square, a ``share``-th of the side, that holds most boundary."""
    size = len(edge) // share
    boxes = edge[: share * size, : share * size].reshape(share, size, share, size).sum(axis=(1, 3))
    row, column = np.unravel_index(boxes.argmax(), boxes.shape)
    cut = lambda bounds, place: tuple(np.geomspace(*bounds, share + 1)[place : place + 2].tolist())
    return cut(hidden, row), cut(out, column)


def draw(path, pictures):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(pictures), figsize=(6.2 * len(pictures), 6), squeeze=False)
    for axis, (loss, first, hidden, out, title) in zip(axes[0], pictures):
        diverged = ~np.isfinite(loss)
        ranks = lambda values: values.argsort().argsort() / max(len(values), 1)
        image = np.zeros((*loss.shape, 3))
        image[~diverged] = pyplot.get_cmap("Blues_r")(0.85 * ranks(loss[~diverged]))[:, :3]
        image[diverged] = pyplot.get_cmap("Reds")(0.25 + 0.7 * ranks(-first[diverged]))[:, :3]
        axis.imshow(image, origin="lower", interpolation="nearest", aspect="auto")
        ticks = np.linspace(0, len(loss) - 1, 5)
        label = lambda bounds: [f"{value:.3g}" for value in np.geomspace(*bounds, 5)]
        axis.set_xticks(ticks, label(out))
        axis.set_yticks(ticks, label(hidden))
        axis.set(xlabel="learning rate of the output layer", ylabel="learning rate of the hidden layer", title=title)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def predicted(side, steps, name, few=64):
    """Print what an H100 would take at least, from a plan of ``few`` networks a side, to whose number it is proportional."""
    plan = js.plan(sweep(min(side, few), steps, None, name), on="h100")
    seconds = plan.seconds * max(1, side // few) ** 2
    print(f"{name}: at least {seconds:.2g} s of training on one {plan.on}, predicted by the roofline and not measured")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--zoom", type=int, default=512)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--store", default="trainability.db")
    parser.add_argument("--out", default="trainability.png")
    parser.add_argument("--tile", default="auto", type=lambda text: int(text) if text.isdigit() else text)
    given = parser.parse_args()
    hidden = out = (LOW, HIGH)
    pictures = []
    for name, side in (("whole", given.side), ("zoom", given.zoom)):
        begun = time.perf_counter()
        session = js.run(sweep(side, given.steps, given.store, name, hidden, out, given.tile))
        loss, first = picture(session, side)
        seconds = time.perf_counter() - begun
        diverged = ~np.isfinite(loss)
        edge = boundary(diverged)
        predicted(side, given.steps, name)
        print(
            f"{name}: {side}x{side} networks, {given.steps} steps each, in {seconds:.0f} s ({1e6 * seconds / side**2:.0f} us a "
            f"network); {diverged.mean():.0%} diverged; dimension {dimension(edge):.2f} (published: {PUBLISHED})",
            flush=True,
        )
        pictures.append((loss, first, hidden, out, f"{side} x {side} networks"))
        hidden, out = part_to_zoom(edge, hidden, out)
    draw(given.out, pictures)


if __name__ == "__main__":
    main()
