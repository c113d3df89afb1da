from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from vultus.errors import VultusError
from vultus.losses.pairs import DISTANCE_FLOOR, Contrastive, PairLoss, Triplet

LOSSES = [
    *(
        Triplet(mining=mining, margin=margin)
        for mining in ("semi_hard", "batch_hard", "batch_all")
        for margin in (0.2, 1)
    ),
    Contrastive(),
    Contrastive(margin=1.4),
]
BATCHES = {
    "P x K": [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3],
    "mixed": [7, 3, 7, 7, 7, 7, 5, 9, 3, 11],
    "one pair": [4, 1, 4],
    "no negative": [2, 2, 2, 2],
    "no positive": [0, 1, 2, 3],
    "one": [5],
}
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=str)
every_batch = pytest.mark.parametrize("labels", BATCHES.values(), ids=BATCHES.keys())


def embeddings_of(labels: list[int], spread: float = 1.0, dim: int = 5, seed: int = 0) -> Tensor:
    """Raw embeddings around one direction for each label, float64, of lengths about 1 to 5."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(labels) + 1, dim, generator=generator, dtype=torch.float64)
    noise = torch.randn(len(labels), dim, generator=generator, dtype=torch.float64)
    return (centres[labels] + spread * noise).requires_grad_()


def distance_squared(x: Tensor, i: int, j: int) -> Tensor:
    return (x[i] / x[i].norm() - x[j] / x[j].norm()).square().sum()


def mean_of(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).mean() if losses else torch.zeros((), dtype=torch.float64)


def naive_triplets(loss: Triplet, x: Tensor, labels: list[int]) -> list[Tensor]:
    """d(a, p)^2 - d(a, n)^2 + margin of every triplet that the mining offers."""
    samples = range(len(labels))
    triplets = []
    for a in samples:
        positives = [distance_squared(x, a, p) for p in samples if p != a and labels[p] == labels[a]]
        negatives = [distance_squared(x, a, n) for n in samples if labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        if loss.mining == "batch_hard":
            triplets.append(max(positives) - min(negatives) + loss.margin)
        for near in positives:
            if loss.mining == "batch_all":
                triplets += [near - far + loss.margin for far in negatives]
            if loss.mining == "semi_hard":
                window = [far for far in negatives if near < far < near + loss.margin]
                triplets.append(near - (min(window) if window else max(negatives)) + loss.margin)
    return triplets


def naive(loss: PairLoss, x: Tensor, labels: list[int]) -> tuple[Tensor, int, float]:
    """The loss, how many triplets or pairs there are, and the share of them with a loss above 0, straight down."""
    if isinstance(loss, Triplet):
        losses = [hinge.clamp_min(0) for hinge in naive_triplets(loss, x, labels)]
        active = [value for value in losses if value > 0]
        value = mean_of(active if loss.mining == "batch_all" else losses)
    else:
        assert isinstance(loss, Contrastive)
        positives, negatives = [], []
        for i, j in itertools.combinations(range(len(labels)), 2):
            squared = distance_squared(x, i, j)
            if labels[i] == labels[j]:
                positives.append(squared)
            else:
                negatives.append((loss.margin - squared.sqrt()).clamp_min(0).square())
        value, losses = mean_of(positives) + mean_of(negatives), positives + negatives
        active = [value for value in losses if value > 0]
    return value, len(losses), len(active) / max(1, len(losses))


def gradient(value: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(value, x)[0]


@every_loss
@every_batch
@pytest.mark.parametrize("spread", [0.1, 1.0])
def test_values_gradients_and_counts_are_those_of_a_loop(loss: PairLoss, labels: list[int], spread: float):
    x = embeddings_of(labels, spread)
    value = loss(x, torch.tensor(labels))
    expected, count, active = naive(loss, x, labels)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)
    slope = gradient(value, x)
    wanted = gradient(expected, x) if expected.requires_grad else torch.zeros_like(x)
    torch.testing.assert_close(slope, wanted, rtol=1e-10, atol=1e-12)
    assert loss.observed["triplets" if isinstance(loss, Triplet) else "pairs"] == count
    assert loss.observed["active"].item() == pytest.approx(active)


@pytest.mark.parametrize("mining", ["semi_hard", "batch_all"])
def test_a_batch_of_many_identities(mining: str):
    labels = torch.randint(12, (40,), generator=torch.Generator().manual_seed(1)).tolist()
    for spread in (0.2, 0.7, 3.0):
        x = embeddings_of(labels, spread)
        loss = Triplet(mining=mining)
        value, expected = loss(x, torch.tensor(labels)), naive(loss, x, labels)[0]
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(gradient(value, x), gradient(expected, x))


def test_semi_hard_takes_the_hardest_of_the_window_or_else_the_farthest():
    def hinge(negative: float) -> float:
        cosine = [math.cos(math.radians(degrees)) for degrees in (40, negative)]
        return max(0.0, 2 * cosine[1] - 2 * cosine[0] + 0.2)

    def mined(*negatives: float) -> float:
        """Loss of one anchor at 0 and its positive at 40 degrees, with negatives at these angles."""
        degrees = torch.tensor([0, 40, *negatives], dtype=torch.float64)
        squared = 2 - 2 * torch.cos(torch.deg2rad(degrees[:, None] - degrees))
        row, column = torch.zeros_like(squared).bool(), torch.arange(len(degrees))
        row[0] = True
        return Triplet().measure(squared, row & (column == 1), row & (column > 1))[0].item()

    assert mined(20, 44, 42, 90) == pytest.approx(hinge(42))
    assert mined(20, -41, 43) == pytest.approx(hinge(41))
    assert mined(20, 90) == 0  # none in the window, one beyond it
    assert mined(20, 30, 10) == pytest.approx(hinge(30))  # all nearer than the positive: the farthest of them


@every_loss
def test_gradcheck(loss: PairLoss):
    labels = torch.tensor(BATCHES["P x K"])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), embeddings_of(labels.tolist(), 0.8))


@pytest.mark.parametrize("loss", [*LOSSES[:6], Contrastive()], ids=str)
def test_a_solved_batch_costs_nothing(loss: PairLoss):
    x = torch.eye(4, dtype=torch.float64).repeat_interleave(3, 0).requires_grad_()
    value = loss(x, torch.arange(4).repeat_interleave(3))
    assert value.item() == 0 and loss.observed["active"] == 0
    assert not gradient(value, x).any()


@every_loss
def test_float32_follows_float64(loss: PairLoss):
    labels = torch.arange(32).repeat_interleave(4)
    x64 = embeddings_of(labels.tolist(), 1.0, dim=64)
    x = x64.detach().float().requires_grad_()
    value, value64 = loss(x, labels), loss(x64, labels)
    assert value.dtype == torch.float32 and value64.dtype == torch.float64
    torch.testing.assert_close(value.double(), value64, rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(gradient(value, x).double(), gradient(value64, x64), rtol=1e-3, atol=1e-5)


@every_loss
def test_computes_in_float32_under_autocast_and_from_half_precision(loss: PairLoss):
    labels = torch.arange(8).repeat_interleave(3)
    half = embeddings_of(labels.tolist(), 0.5, dim=16).detach().bfloat16().requires_grad_()
    single = half.detach().float().requires_grad_()
    wanted = loss(single, labels)
    wanted_slope = gradient(wanted, single)
    for x in (half, single):
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(x, labels)
        assert value.dtype == torch.float32 and torch.equal(value, wanted)
        slope = gradient(value, x)
        assert slope.dtype == x.dtype
        torch.testing.assert_close(slope.float(), wanted_slope, rtol=1e-2, atol=1e-5)


@every_loss
@pytest.mark.parametrize("labels", [[1, 1, 1], [0, 1, 2], [3]], ids=["no negative", "no positive", "one"])
def test_nothing_to_learn_is_0_with_a_gradient_of_0(loss: PairLoss, labels: list[int]):
    x = embeddings_of(labels, 0.1, dim=8)
    value = loss(x, torch.tensor(labels))
    slope = gradient(value, x)
    assert value.isfinite() and slope.isfinite().all()
    if isinstance(loss, Triplet) or len(labels) == 1:
        assert value.item() == 0 and not slope.any() and loss.observed["active"] == 0
    assert loss.observed["target_cos"].isnan() == (len(set(labels)) == len(labels))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_identical_embeddings(loss: PairLoss, dtype: torch.dtype):
    labels = torch.tensor(BATCHES["P x K"])
    x = torch.tensor([[3.0, 1, 2]], dtype=dtype).expand(len(labels), -1).clone().requires_grad_()
    value = loss(x, labels)
    expected = loss.margin if isinstance(loss, Triplet) else loss.margin**2  # pyright: ignore
    assert value.item() == pytest.approx(expected, rel=2e-3)  # a distance of sqrt(ulp) in float32
    assert gradient(value, x).isfinite().all()
    assert loss.observed["target_cos"].item() == pytest.approx(1)


@every_loss
def test_embeddings_of_no_length_or_no_number_are_named(loss: PairLoss):
    labels = torch.tensor(BATCHES["P x K"])
    for value, words in ((0.0, "row 1 has length 0"), (math.nan, "row 1 holds nan")):
        x = embeddings_of(labels.tolist(), 0.5).detach().float()
        x[1] = value
        with pytest.raises(VultusError, match=words):
            loss(x, labels)


def test_the_distance_is_bounded_in_slope_and_close_to_the_root():
    angle = torch.tensor([0.0, 1e-9, 1e-6, 5e-4, 1.001e-3, 0.1, 3.1], dtype=torch.float64)
    for theta in angle.tolist():
        x = torch.tensor([[1.0, 0.0], [math.cos(theta), math.sin(theta)]], dtype=torch.float64, requires_grad=True)
        value = Contrastive(margin=2)(x, torch.tensor([0, 1]))
        assert 2 - value.sqrt().item() == pytest.approx(2 * math.sin(theta / 2), abs=DISTANCE_FLOOR / 4 + 1e-8)
        assert gradient(value, x).norm(dim=1).max() <= 2 * 2 * 2


def test_observed():
    labels = [0, 0, 0, 1, 1, 2]
    x = embeddings_of(labels)
    norm = x.detach().norm(dim=1)
    cos = torch.nn.functional.normalize(x.detach(), dim=1)
    cos = cos @ cos.T
    for loss in LOSSES:
        loss(x, torch.tensor(labels))
        got = loss.observed
        assert set(got) == {
            "triplets" if isinstance(loss, Triplet) else "pairs",
            *("active", "norm_mean", "norm_std", "target_cos"),
        }
        assert all(value.ndim == 0 and not value.requires_grad for value in got.values())
        torch.testing.assert_close(got["norm_mean"], norm.mean())
        torch.testing.assert_close(got["norm_std"], (norm - norm.mean()).square().mean().sqrt())
        torch.testing.assert_close(got["target_cos"], (cos[0, 1] + cos[0, 2] + cos[1, 2] + cos[3, 4]) / 4)


def test_length_order_and_names_of_labels_do_not_matter():
    labels = torch.tensor(BATCHES["mixed"])
    x = embeddings_of(labels.tolist()).detach()
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))
    for loss in LOSSES:
        value = loss(x, labels)
        torch.testing.assert_close(loss(x * torch.linspace(0.1, 9, len(x))[:, None], labels), value)
        torch.testing.assert_close(loss(x[order], labels[order].int()), value)
        torch.testing.assert_close(loss(x, 100 - 3 * labels), value)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Triplet, {"margin": 0}, r"margin=0: must be above 0 and at most 4"),
        (Triplet, {"margin": 4.5}, r"margin=4\.5: .* at most 4 \(a squared distance"),
        (Triplet, {"margin": math.nan}, r"margin=nan"),
        (Triplet, {"margin": "wide"}, r"margin=wide"),
        (Triplet, {"mining": "hard"}, r'mining: unknown choice "hard"; use "semi_hard", "batch_hard" or "batch_all"'),
        (Contrastive, {"margin": -1}, r"margin=-1: must be above 0 and at most 2"),
        (Contrastive, {"margin": 2.1}, r"margin=2\.1"),
    ],
)
def test_wrong_options_are_named(kind: type[PairLoss], options: dict[str, Any], message: str):
    with pytest.raises(VultusError, match=message):
        kind(**options)


@pytest.mark.parametrize(
    ("embeddings", "labels", "message"),
    [
        (torch.zeros(3), torch.zeros(3, dtype=torch.long), "embeddings"),
        (torch.zeros(3, 2, dtype=torch.long), torch.zeros(3, dtype=torch.long), "embeddings"),
        (torch.zeros(3, 2), torch.zeros(3), "labels"),
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.long), "labels"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), "labels"),
    ],
)
def test_wrong_batches_are_named(embeddings: Tensor, labels: Tensor, message: str):
    with pytest.raises(VultusError, match=message):
        Triplet()(embeddings, labels)


def test_the_options_are_shown():
    assert str(Triplet(mining="batch_all")) == "Triplet(margin=0.2, mining='batch_all')"
    assert str(Contrastive()) == "Contrastive(margin=1.0)"
