"""The network: a user's events, days and plain features come in, one state goes out; heads say what follows from it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sojourn.core import UnreadableSource, need
from sojourn.lifetime._boost import Floats
from sojourn.lifetime._sequence_input import FIRST_KIND, MOST_KINDS, Inputs
from sojourn.lifetime.spec import NetworkSpec

torch = need("torch", extra="torch", for_="lifetime's sequence models")
nn: Any = torch.nn

KIND_WIDTH = 12
DAY_CHANNELS, EVENT_NUMBERS = 5, 3
WEEKDAYS = 7
BATCH_ROWS = 512
SLICE_ROWS = 8_192
Tensor = Any
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Shape:
    """How large the network is: plain features, width of every layer, outputs of the head, share dropped out."""

    static: int
    width: int
    outputs: int
    dropout: float


class Net(nn.Module):  # type: ignore[misc]
    """Two recurrent networks (GRU, Cho et al. 2014), over events and over days, beside a layer over plain features."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width = shape.width
        self.kind = nn.Embedding(FIRST_KIND + MOST_KINDS, KIND_WIDTH, padding_idx=0)
        self.events = nn.GRU(KIND_WIDTH + EVENT_NUMBERS, width, batch_first=True)
        self.days = nn.GRU(DAY_CHANNELS, width, batch_first=True)
        self.static = nn.Sequential(nn.Linear(shape.static, 2 * width), nn.GELU(), nn.Dropout(shape.dropout))
        self.trunk = nn.Sequential(
            nn.LayerNorm(4 * width), nn.Linear(4 * width, width), nn.GELU(), nn.Dropout(shape.dropout)
        )
        self.head = nn.Linear(width, shape.outputs)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, codes: Tensor, numbers: Tensor, days: Tensor, static: Tensor) -> Tensor:
        """The head's outputs (rows, outputs)."""
        _, events = self.events(torch.cat([self.kind(codes), numbers], dim=2))
        _, daily = self.days(days)
        return self.head(self.trunk(torch.cat([events[-1], daily[-1], self.static(static)], dim=1)))


@dataclass(frozen=True)
class Lessons:
    """What a network learns from: inputs, targets (rows, horizons; NaN: not known), the score to start from."""

    inputs: Inputs
    target: Floats
    start: Floats

    def batches(self, rows: NDArray[np.int64]) -> Iterator[tuple[list[Tensor], Tensor, Tensor]]:
        """The rows in batches: the network's inputs, targets, and starts."""
        for at in range(0, len(rows), BATCH_ROWS):
            chosen = rows[at : at + BATCH_ROWS]
            pair = (torch.from_numpy(each[chosen].astype(np.float32)) for each in (self.target, self.start))
            yield _tensors(self.inputs.take(chosen)), *pair


@dataclass(frozen=True)
class Training:
    """Which network learns, from which loss, how long and how fast, and with which luck."""

    shape: Shape
    loss: Loss
    pace: NetworkSpec
    seed: int


def train_each(lessons: Lessons, *, group: NDArray[np.int64], how: Training) -> list[Net]:
    """One network per group of rows, each stopped on the group that it leaves out."""
    nets = []
    for left_out in range(int(group.max()) + 1):
        luck = replace(how, seed=how.seed + left_out)
        nets.append(_train(lessons, np.flatnonzero(group != left_out), np.flatnonzero(group == left_out), luck))
    return nets


def _train(lessons: Lessons, learn: NDArray[np.int64], held: NDArray[np.int64], how: Training) -> Net:
    """The network that did best on the rows held out, of all epochs. Torch's global luck is left as it was."""
    pace = how.pace
    order = np.random.default_rng(how.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(how.seed)
        net = Net(how.shape)
        optimizer = torch.optim.AdamW(net.parameters(), lr=pace.learning_rate, weight_decay=0.01)
        steps = pace.epochs * -(-len(learn) // BATCH_ROWS)
        slower = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=pace.learning_rate, total_steps=steps)
        best, best_loss, since = _copy(net), np.inf, 0
        for _ in range(pace.epochs):
            net.train()
            for inputs, target, start in lessons.batches(order.permutation(learn)):
                optimizer.zero_grad()
                how.loss(net(*inputs), target, start).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                slower.step()
            now = held_loss(net, lessons, held, loss=how.loss)
            best, best_loss, since = (_copy(net), now, 0) if now < best_loss else (best, best_loss, since + 1)
            if since >= pace.patience:
                break
    net.load_state_dict(best)
    return net.eval()  # type: ignore[no-any-return]


def held_loss(net: Net, lessons: Lessons, rows: NDArray[np.int64], *, loss: Loss) -> float:
    """The mean loss over these rows, without dropout."""
    net.eval()
    with torch.no_grad():
        parts = [
            (float(loss(net(*inputs), target, start)), len(target)) for inputs, target, start in lessons.batches(rows)
        ]
    return sum(part * rows for part, rows in parts) / max(sum(rows for _, rows in parts), 1)


def outputs(net: Net, inputs: Inputs) -> Floats:
    """What the network says of each row (rows, outputs)."""
    with torch.no_grad():
        slices = (np.arange(at, min(at + SLICE_ROWS, len(inputs))) for at in range(0, len(inputs), SLICE_ROWS))
        found = [net(*_tensors(inputs.take(rows))).double().numpy() for rows in slices]
    return np.concatenate(found) if found else np.zeros((0, net.head.out_features))


def ziln_loss(output: Tensor, target: Tensor, start: Tensor) -> Tensor:
    """The mean negative log likelihood of the zero-inflated log-normal (Wang, Liu and Miao 2019, equation 4).

    `output` (rows, 3 x horizons) holds the log-odds of more than nothing, then the mean of the logarithm less `start`,
    then the spread before softplus. Targets that are NaN are not counted.
    """
    odds, middle, spread = output.chunk(3, dim=1)
    known = ~torch.isnan(target)
    some = known & (target > 0)
    sigma = spread_of(spread)
    logs = torch.where(some, target, torch.ones_like(target)).log()
    miss = (logs - start - middle) / sigma
    gate = nn.functional.binary_cross_entropy_with_logits(odds, some.float(), reduction="none")
    amount = 0.5 * miss**2 + sigma.log()
    return (gate * known + amount * some).sum() / known.sum().clamp(min=1)


def daily_loss(output: Tensor, target: Tensor, start: Tensor) -> Tensor:
    """The mean log loss of days ahead (rows, days), with the log-odds that `daily_odds` makes; NaN: not known."""
    known = ~torch.isnan(target)
    truth = torch.where(known, target, torch.zeros_like(target))
    miss = nn.functional.binary_cross_entropy_with_logits(daily_odds(output, start), truth, reduction="none")
    return (miss * known).sum() / known.sum().clamp(min=1)


def daily_odds(output: Tensor, start: Tensor) -> Tensor:
    """The log-odds of each day ahead: where they start from, and what the network adds for the day and its weekday.

    `output` (rows, days + 7) holds a number for each day ahead, then one for each weekday, Monday first. `start`
    (rows, days + 1) holds the log-odds to start from, then the weekday of the first day.
    """
    days = output.shape[1] - WEEKDAYS
    weekday = (start[:, days:].long() + torch.arange(days)) % WEEKDAYS
    return start[:, :days] + output[:, :days] + output[:, days:].gather(1, weekday)


def spread_of(raw: Tensor) -> Tensor:
    """The spread of logarithms: at least 0.1, at most 3, so that no mean explodes."""
    return (0.1 + nn.functional.softplus(raw + 0.5)).clamp(max=3.0)


def save_nets(nets: list[Net], path: Path) -> None:
    """Write `net_<group>.safetensors` into the folder `path`."""
    save = need("safetensors.torch", extra="torch", for_="lifetime's sequence models").save_file
    path.mkdir(parents=True, exist_ok=True)
    for group, net in enumerate(nets):
        save({name: part.contiguous() for name, part in net.state_dict().items()}, path / f"net_{group}.safetensors")


def load_nets(path: Path, *, shape: Shape, groups: int, where: str) -> list[Net]:
    """The networks that `save_nets` wrote. Raises `UnreadableSource` where one is missing."""
    load = need("safetensors.torch", extra="torch", for_="lifetime's sequence models").load_file
    files = [path / f"net_{group}.safetensors" for group in range(groups)]
    missing = next((file for file in files if not file.exists()), None)
    if missing is not None:
        raise UnreadableSource(f"{where}: {missing} is missing. Was the model saved there?")
    nets = []
    for file in files:
        net = Net(shape)
        net.load_state_dict(load(file))
        nets.append(net.eval())
    return nets


def _tensors(inputs: Inputs) -> list[Tensor]:
    return [torch.from_numpy(each) for each in (inputs.codes, inputs.numbers, inputs.days, inputs.static)]


def _copy(net: Net) -> dict[str, Tensor]:
    return {name: part.clone() for name, part in net.state_dict().items()}
