"""(d) PyTorch's eager loop, (e) a ``torch.func`` ensemble, and (g) Optuna around (d)."""

import time

import torch
from contestants.workloads import BATCH, CLASSES, Workload, digits
from torch import nn
from torch.func import functional_call, grad_and_value, vmap


class Cnn(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.two = nn.Conv2d(width, 2 * width, 3, padding=1, bias=False)
        self.out = nn.Linear(64 * 2 * width, CLASSES)

    def forward(self, x):
        x = torch.relu(self.two(torch.relu(self.one(x.reshape(-1, 1, 8, 8)))))
        return self.out(x.flatten(1))


class Layer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.d, self.heads = d, 4
        self.qkv, self.mix = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 2 * d), nn.Linear(2 * d, d)

    def forward(self, x):
        normed = lambda v: nn.functional.layer_norm(v, (self.d,))
        b, t, d = x.shape
        q, k, v = (
            p.reshape(b, t, self.heads, d // self.heads).transpose(1, 2) for p in self.qkv(normed(x)).chunk(3, -1)
        )
        weights = torch.softmax(q @ k.transpose(-1, -2) / (d / self.heads) ** 0.5, -1)
        x = x + self.mix((weights @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.down(torch.relu(self.up(normed(x))))


class Transformer(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.d = d
        self.into, self.out = nn.Linear(8, d), nn.Linear(d, CLASSES)
        self.layers = nn.Sequential(Layer(d), Layer(d))

    def forward(self, x):
        x = self.layers(self.into(x.reshape(-1, 8, 8)))
        return self.out(nn.functional.layer_norm(x, (self.d,)).mean(1))


def model(w: Workload) -> nn.Module:
    if w.model == "cnn":
        return Cnn(w.width)
    if w.model == "transformer":
        return Transformer(w.width)
    return nn.Sequential(
        nn.Linear(64, w.width), nn.ReLU(), nn.Linear(w.width, w.width), nn.ReLU(), nn.Linear(w.width, CLASSES)
    )


def _data():
    x, y = digits()
    return torch.tensor(x), torch.tensor(y).long()


def train(w: Workload, rate: float, steps: int) -> float:
    x, y = _data()
    net = model(w)
    made = (
        torch.optim.SGD(net.parameters(), rate, momentum=0.9)
        if w.optimizer == "sgd"
        else torch.optim.Adam(net.parameters(), rate)
    )
    losses = []
    for step in range(steps):
        rows = torch.randint(0, len(y), (BATCH,))
        made.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        made.step()
        if step >= steps - 20:
            losses.append(float(loss))
    return sum(losses) / len(losses)


def eager(w: Workload):
    """A round trains one lane."""

    def one_round():
        begun = time.perf_counter()
        loss = train(w, w.rates[-1], w.steps)
        return time.perf_counter() - begun, [loss]

    return one_round


def ensemble(w: Workload):
    """vmap of grad over stacked parameters, the optimizer written out over them; a tenth of the steps, scaled."""
    x, y = _data()
    net = model(w)
    gradients = vmap(grad_and_value(lambda p, bx, by: nn.functional.cross_entropy(functional_call(net, p, (bx,)), by)))
    rates = torch.tensor(w.rates)
    steps = max(20, w.steps // 10)

    def one_round():
        nets = [model(w) for _ in range(w.lanes)]
        params = {
            k: torch.stack([dict(n.named_parameters())[k].detach() for n in nets]) for k, _ in net.named_parameters()
        }
        one = {k: torch.zeros_like(v) for k, v in params.items()}
        two = {k: torch.zeros_like(v) for k, v in params.items()}
        begun = time.perf_counter()
        loss = None
        for step in range(1, steps + 1):
            rows = torch.randint(0, len(y), (w.lanes, BATCH))
            found, loss = gradients(params, x[rows], y[rows])
            for k, g in found.items():
                rate = rates.view(-1, *[1] * (g.dim() - 1))
                if w.optimizer == "sgd":
                    one[k].mul_(0.9).add_(g)
                    params[k].sub_(rate * one[k])
                else:
                    one[k].mul_(0.9).add_(g, alpha=0.1)
                    two[k].mul_(0.999).addcmul_(g, g, value=0.001)
                    scale = rate / (1 - 0.9**step)
                    params[k].sub_(scale * one[k] / ((two[k] / (1 - 0.999**step)).sqrt() + 1e-8))
        seconds = time.perf_counter() - begun
        return seconds * w.steps / steps / w.lanes, loss.tolist() if loss is not None else []

    return one_round


def optuna_study(w: Workload):
    """A round is a study of two trials by Optuna's default sampler, each the eager loop."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def one_round():
        begun = time.perf_counter()
        study = optuna.create_study()
        study.optimize(
            lambda t: train(w, t.suggest_float("lr", w.rates[0], w.rates[-1], log=True), w.steps), n_trials=2
        )
        return (time.perf_counter() - begun) / 2, [study.best_value]

    return one_round
