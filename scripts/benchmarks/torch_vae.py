"""How does a small VAE in plain PyTorch train, and what would a monitor be fed meanwhile?

A `Run` says all of one training; `train` does it, and returns what was recorded of a fixed set of
rows. Every loss is in nats per datum, KL summed over latents:
||x - y||^2 / (2 gamma) + (d / 2) log gamma + beta KL, without the logarithm where gamma is fixed:
with gamma = d / 2 that is nn.MSELoss() + beta KL. Energies are twice that, as the paper has them,
the logarithm always in: squared / gamma + d log gamma + beta (2 KL + k).
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

__all__ = [
    "ACTIVE_NATS",
    "VAE",
    "Run",
    "Trained",
    "autoregressive",
    "plain",
    "skip",
    "threshold",
    "train",
]

ACTIVE_NATS = 0.01  # KL of a latent, averaged over data, from which it is active
ROWS = 256  # that are recorded
RECORDS = 80  # about so many times, the denser the earlier
DRAWS = 8  # of latents, for the energy of all data
FLOOR = -9.0  # of the logarithm of a variance that is a network
Knots = tuple[tuple[float, float], ...]  # (share of the steps, value), linear between


class Run(NamedTuple):
    """One training.

    way: how it comes to what it ends as. data: (n, d) when called. latent: k. cause: what is
    replaced for the run without the cause. kinds: the paper's kinds that its end may be called.
    hidden: widths of the encoder's hidden layers; the decoder's are the reverse. activation: of
    both. decoder: made of (run, d). start: changes initial parameters in place. likelihood:
    "gaussian" or "bernoulli". gamma: decoder variance, or where it starts. learned: whether it is
    learned. per_datum: whether it is a network of x instead. beta: weight of the KL part. free:
    nats of each latent below which KL is not penalized. sampled: whether latents are drawn; else
    it is an autoencoder, whose log deviations are nobody's. rate: of Adam, fading: its factor.
    gamma_rate: factor of the rate for log gamma and its network. steps, batch, seed.
    """

    way: str
    data: Callable[[], np.ndarray]
    latent: int
    cause: dict[str, Any]
    kinds: tuple[str, ...] = ()
    hidden: tuple[int, ...] = (64,)
    activation: type[nn.Module] = nn.Tanh
    decoder: Callable[["Run", int], nn.Module] | None = None
    start: Callable[["VAE"], None] | None = None
    likelihood: str = "gaussian"
    gamma: float = 1.0
    learned: bool = True
    per_datum: bool = False
    beta: Knots = ((0.0, 1.0),)
    free: float = 0.0
    sampled: bool = True
    rate: float = 2e-3
    fading: Knots = ((0.0, 1.0),)
    gamma_rate: float = 1.0
    steps: int = 3000
    batch: int = 128
    seed: int = 0

    @property
    def gaussian(self) -> bool:
        """Whether there is a gamma."""
        return self.likelihood == "gaussian"


class Trained(NamedTuple):
    """What came of a run.

    records: arrays with the records as leading axis, but for x. kl: (records, k), nats, over all
    data. energy: of the end, all data. error: squared error per coordinate there, at the mean.
    seconds: it took.
    """

    records: dict[str, np.ndarray]
    kl: np.ndarray
    energy: float
    error: float
    seconds: float


class Plain(nn.Module):
    """A decoder that sees latents alone."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.net(z)


class Autoregressive(Plain):
    """Each coordinate sees those before it as well, through one masked linear map."""

    def __init__(self, net: nn.Module, d: int) -> None:
        super().__init__(net)
        self.before = nn.Parameter(torch.zeros(d, d))

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.net(z) + x @ torch.tril(self.before, -1).T


class Skip(Plain):
    """Features of x go past the latents, as in a U-Net."""

    def __init__(self, net: nn.Module, features: nn.Module) -> None:
        super().__init__(net)
        self.features = features

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.net(torch.cat([z, self.features(x)], 1))


class Threshold(nn.Module):
    """The paper's decoder, eq. 5: pi_alpha(W z) + b."""

    def __init__(self, latent: int, d: int, alpha: float) -> None:
        super().__init__()
        self.linear = nn.Linear(latent, d, bias=False)
        self.bias = nn.Parameter(torch.zeros(d))
        self.threshold = nn.Softshrink(alpha)

    def forward(self, z: Tensor, x: Tensor) -> Tensor:
        return self.threshold(self.linear(z)) + self.bias


def layers(widths: tuple[int, ...], activation: type[nn.Module]) -> nn.Sequential:
    """Fully connected, without an activation at the end."""
    modules: list[nn.Module] = []
    for before, after in pairwise(widths):
        modules += [nn.Linear(before, after), activation()]
    return nn.Sequential(*modules[:-1])


def plain(run: Run, d: int) -> nn.Module:
    """The decoder that mirrors the encoder."""
    return Plain(layers((run.latent, *run.hidden[::-1], d), run.activation))


def autoregressive(run: Run, d: int) -> nn.Module:
    """The same, and what came before."""
    return Autoregressive(layers((run.latent, *run.hidden[::-1], d), run.activation), d)


def skip(width: int) -> Callable[[Run, int], nn.Module]:
    """The same, and this many features of x."""

    def decoder(run: Run, d: int) -> nn.Module:
        net = layers((run.latent + width, *run.hidden[::-1], d), run.activation)
        return Skip(net, layers((d, *run.hidden, width), run.activation))

    return decoder


def threshold(alpha: float) -> Callable[[Run, int], nn.Module]:
    """The paper's at this alpha."""
    return lambda run, d: Threshold(run.latent, d, alpha)


class VAE(nn.Module):
    """Encoder, decoder and log gamma."""

    def __init__(self, run: Run, d: int) -> None:
        super().__init__()
        self.encoder = layers((d, *run.hidden, 2 * run.latent), run.activation)
        self.decoder = (run.decoder or plain)(run, d)
        self.log_gamma = nn.Parameter(torch.tensor(run.gamma).log(), run.learned)
        self.variance = layers((d, *run.hidden, 1), run.activation) if run.per_datum else None

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means (n, k) and log deviations (n, k)."""
        mean, log_std = self.encoder(x).chunk(2, dim=1)
        return mean, log_std

    def log_variance(self, x: Tensor) -> Tensor:
        """log gamma, (), or (n, 1)."""
        if self.variance is None:
            return self.log_gamma
        return (self.variance(x) + self.log_gamma).clamp(min=FLOOR)


def kl_parts(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL (n, k) to N(0, 1)."""
    return 0.5 * (mean**2 + (2.0 * log_std).exp() - 2.0 * log_std - 1.0)


def latents(run: Run, mean: Tensor, log_std: Tensor, generator: torch.Generator) -> Tensor:
    """One draw (n, k)."""
    if not run.sampled:
        return mean
    return mean + log_std.exp() * torch.randn(mean.shape, generator=generator)


def misfit(run: Run, model: VAE, x: Tensor, output: Tensor) -> Tensor:
    """Negative log-likelihood of a datum, mean over x, up to a constant."""
    if not run.gaussian:
        cross_entropy = nn.functional.binary_cross_entropy_with_logits
        return cross_entropy(output, x, reduction="none").sum(1).mean()
    log_gamma = model.log_variance(x)
    terms = (x - output) ** 2 / log_gamma.exp()
    if model.log_gamma.requires_grad:
        terms = terms + log_gamma
    return 0.5 * terms.sum(1).mean()


def loss_of(run: Run, model: VAE, x: Tensor, beta: float, generator: torch.Generator) -> Tensor:
    """What is descended."""
    mean, log_std = model.encode(x)
    output = model.decoder(latents(run, mean, log_std, generator), x)
    if not run.sampled:
        return misfit(run, model, x, output)
    kl = kl_parts(mean, log_std).mean(0)
    if run.free:
        kl = kl.clamp(min=run.free)
    return misfit(run, model, x, output) + beta * kl.sum()


def at(knots: Knots, share: float) -> float:
    """The value of a schedule at this share of the steps."""
    shares, values = zip(*knots, strict=True)
    return float(np.interp(share, shares, values))


def record_steps(steps: int) -> np.ndarray:
    """Steps that are recorded: spaced quadratically, 0 and the last among them."""
    return np.unique(np.round(steps * (np.arange(RECORDS + 1) / RECORDS) ** 2).astype(int))


@torch.no_grad()
def record(run: Run, model: VAE, x: Tensor, generator: torch.Generator) -> dict[str, np.ndarray]:
    """What a monitor is fed, of rows (n, d)."""
    mean, log_std = model.encode(x)
    link = nn.Identity() if run.gaussian else nn.Sigmoid()
    gamma = model.log_variance(x).exp()
    arrays = {
        "mean": mean,
        "log_std": log_std,
        "reconstruction": link(model.decoder(mean, x)),
        "sampled_reconstruction": link(model.decoder(latents(run, mean, log_std, generator), x)),
        "gamma": gamma.flatten() if model.variance is not None else gamma,
    }
    return {name: array.numpy().copy() for name, array in arrays.items()}


@torch.no_grad()
def mean_kl(model: VAE, x: Tensor) -> np.ndarray:
    """KL (k,) averaged over data, nats."""
    return kl_parts(*model.encode(x)).mean(0).numpy()


@torch.no_grad()
def energy_of(run: Run, model: VAE, x: Tensor, generator: torch.Generator) -> float:
    """The energy of the end in the paper's units, its beta that of the last step."""
    mean, log_std = model.encode(x)
    beta, total = at(run.beta, 1.0), 0.0
    for _ in range(DRAWS):
        output = model.decoder(latents(run, mean, log_std, generator), x)
        total += 2.0 * float(misfit(run, model, x, output)) / DRAWS
    if run.gaussian and not run.learned:
        total += x.shape[1] * float(model.log_gamma)
    return total + beta * (2.0 * float(kl_parts(mean, log_std).sum(1).mean()) + run.latent)


@torch.no_grad()
def error_of(run: Run, model: VAE, x: Tensor) -> float:
    """Squared error per coordinate, latents at the mean."""
    output = model.decoder(model.encode(x)[0], x)
    answer = output if run.gaussian else output.sigmoid()
    return float(((x - answer) ** 2).mean())


def optimizer(run: Run, model: VAE) -> torch.optim.Adam:
    """Adam, with all of gamma, where it is learned, in a group of its own."""
    networks = [*model.encoder.parameters(), *model.decoder.parameters()]
    groups: list[dict[str, Any]] = [{"params": networks, "factor": 1.0}]
    if run.learned and run.gaussian:
        variances = [] if model.variance is None else [*model.variance.parameters()]
        groups.append({"params": [model.log_gamma, *variances], "factor": run.gamma_rate})
    return torch.optim.Adam(groups, lr=run.rate, fused=True)


def train(run: Run) -> Trained:
    """The training, recorded."""
    torch.manual_seed(run.seed)
    generator = torch.Generator().manual_seed(run.seed + 1)
    x = torch.tensor(run.data(), dtype=torch.float32)
    model = VAE(run, x.shape[1])
    if run.start is not None:
        run.start(model)
    adam = optimizer(run, model)
    wanted, begun = set(record_steps(run.steps).tolist()), time.perf_counter()
    rows: list[dict[str, Any]] = []
    kl, losses = [], []
    for step in range(run.steps + 1):
        beta = at(run.beta, step / run.steps)
        batch = x[torch.randint(len(x), (run.batch,), generator=generator)]
        loss = loss_of(run, model, batch, beta, generator)
        losses.append(float(loss.detach()))
        if step in wanted:
            row = {"steps": step, "beta": np.float32(beta), "loss": np.float32(np.mean(losses))}
            rows.append(row | record(run, model, x[:ROWS], generator))
            kl.append(mean_kl(model, x))
            losses.clear()
        if step < run.steps:
            for group in adam.param_groups:
                group["lr"] = run.rate * group["factor"] * at(run.fading, step / run.steps)
            adam.zero_grad()
            loss.backward()
            adam.step()
    records = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return Trained(
        records={"x": x[:ROWS].numpy(), **records},
        kl=np.stack(kl),
        energy=energy_of(run, model, x, generator),
        error=error_of(run, model, x),
        seconds=time.perf_counter() - begun,
    )
