"""What a head does around the formula: sampling, updating, watching, refusing."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vultus.errors import VultusError
from vultus.losses import RowAdamW, RowSGD, create_loss, list_losses

OPTIMIZERS = {
    "sgd": lambda p: RowSGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
    "nesterov": lambda p: RowSGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    "plain": lambda p: RowSGD(p, lr=0.1, weight_decay=0.1),
    "adamw": lambda p: RowAdamW(p, lr=0.1, weight_decay=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "softmax"])
def test_an_untouched_centre_stays_exactly_where_it_is(name: str, optimizer: str, make):
    """Not moved by weight decay, nor by the momentum of steps in which it was sampled; its momentum frozen."""
    torch.manual_seed(0)
    loss, x, labels = make(name, batch=4, classes=40, sample=0.3, dtype=torch.float32)
    step = OPTIMIZERS[optimizer](loss.parameters())
    weight, seen = loss.centers.weight, []
    chosen = loss.centers.choose
    loss.centers.choose = lambda positives: seen.append(chosen(positives)) or seen[-1]
    everyone = set(range(40))
    moved: set[int] = set()
    for _ in range(4):
        before = weight.detach().clone()
        state = {k: v.clone() for k, v in step.state[weight].items() if isinstance(v, Tensor) and v.ndim > 1}
        step.zero_grad()
        loss(x, labels).backward()
        assert weight.grad is not None and weight.grad.is_sparse
        step.step()
        sampled = set(seen[-1].tolist())
        moved |= sampled
        rows = torch.tensor([c * loss.margin.subcenters for c in sorted(everyone - sampled)])
        assert torch.equal(weight[rows], before[rows])
        for key, value in state.items():
            assert torch.equal(step.state[weight][key][rows], value[rows])
        touched = torch.tensor([c * loss.margin.subcenters for c in sorted(sampled)])
        assert (weight[touched] != before[touched]).any(1).all()
    assert len(moved) > 20, "or nothing was frozen with momentum in it"


@pytest.mark.parametrize("optimizer", ["sgd", "plain", "nesterov", "adamw"])
def test_rows_that_are_always_sampled_move_as_with_torchs_own_optimiser(optimizer: str, make):
    loss, x, labels = make("arcface", batch=4, classes=10)
    sampled = copy.deepcopy(loss)
    sampled.centers.sample = 0.999
    sampled.centers.choose = lambda positives: torch.arange(10)
    mine = OPTIMIZERS[optimizer](sampled.parameters())
    theirs = {
        "adamw": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.1),
        "plain": lambda p: torch.optim.SGD(p, lr=0.1, weight_decay=0.1),
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1),
        "nesterov": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=True),
    }[optimizer](loss.parameters())
    for _ in range(4):
        for head, step in ((loss, theirs), (sampled, mine)):
            step.zero_grad()
            head(x, labels).backward()
            step.step()
    torch.testing.assert_close(sampled.centers.weight, loss.centers.weight)


def test_row_optimisers_are_torchs_for_dense_gradients_and_keep_both_kinds_apart():
    torch.manual_seed(0)
    dense, rows = torch.nn.Parameter(torch.randn(3, 2)), torch.nn.Parameter(torch.randn(5, 2))
    reference = torch.nn.Parameter(dense.detach().clone())
    mine = RowSGD([dense, rows], lr=0.1, momentum=0.9, weight_decay=0.1)
    theirs = torch.optim.SGD([reference], lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        for step in (mine, theirs):
            step.zero_grad()
        ((dense**2).sum() + F.embedding(torch.tensor([1, 3]), rows, sparse=True).square().sum()).backward()
        (reference**2).sum().backward()
        mine.step()
        theirs.step()
        assert rows.grad is not None and rows.grad.is_sparse
    torch.testing.assert_close(dense, reference)
    again = RowSGD([dense, rows], lr=0.1, momentum=0.9, weight_decay=0.1)
    again.load_state_dict(mine.state_dict())
    assert torch.equal(again.state[rows]["momentum_buffer"], mine.state[rows]["momentum_buffer"])


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5, 0.9])
def test_a_sample_has_all_positives_no_repeats_and_treats_the_others_alike(share: float):
    torch.manual_seed(0)
    centers = create_loss("arcface", 4, 200, sample=share).centers
    positives = torch.tensor([150, 3, 77])
    counts = torch.zeros(200)
    for _ in range(600):
        chosen = centers.choose(positives)
        assert len(chosen) == math.ceil(share * 200) == len(set(chosen.tolist()))
        assert set(positives.tolist()) <= set(chosen.tolist()) and (chosen.diff() > 0).all()
        counts[chosen] += 1
    assert (counts[positives] == 600).all()
    rest = counts[torch.tensor([c for c in range(200) if c not in positives.tolist()])]
    expected = 600 * (math.ceil(share * 200) - 3) / 197
    deviation = math.sqrt(max(1e-9, expected * (1 - expected / 600)))
    assert ((rest - expected).abs() < 5 * deviation + 1e-6).all()


def test_more_positives_than_the_sample_are_all_taken(make):
    loss, x, labels = make("arcface", batch=8, classes=20, sample=0.05)
    classes = labels.unique()
    assert torch.equal(loss.centers.choose(classes), classes)
    assert loss(x, labels).isfinite()


def test_a_sampled_loss_is_the_loss_over_those_classes(margin_loss: str, make):
    """All losses run on a sample: equal to a head that has only these classes."""
    loss, x, labels = make(margin_loss, batch=5, classes=30, sample=0.4)
    loss.eval()
    torch.manual_seed(1)
    classes = loss.centers.choose(labels.unique())
    loss.centers.choose = lambda positives: classes
    only = create_loss(margin_loss, 6, len(classes)).double().eval()
    k = loss.margin.subcenters
    rows = (classes[:, None] * k + torch.arange(k)).flatten()
    with torch.no_grad():
        only.centers.weight.copy_(loss.centers.weight[rows])
        if only.centers.bias is not None:
            only.centers.bias.copy_(loss.centers.bias[classes])
        if hasattr(only.margin, "threshold"):
            only.margin.threshold.copy_(loss.margin.threshold)
    expected = only(x, torch.searchsorted(classes, labels))
    got = loss(x, labels)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(torch.autograd.grad(got, x), torch.autograd.grad(expected, x))


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "curricularface", "uniface"])
def test_update_in_backward_is_sgd_without_a_gradient(name: str, keep: bool, make, small_chunks):
    small_chunks(4)
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
    loss, x, labels = make(name, batch=6, classes=11, keep=keep)
    other, x2, _ = make(name, batch=6, classes=11, keep=keep, update_in_backward=options)
    step = torch.optim.SGD([loss.centers.weight], **options)
    for number in range(4):
        step.param_groups[0]["lr"] = other.update.lr = 0.1 / (number + 1)
        for head, batch in ((loss, x), (other, x2)):
            batch.grad = None
            head(batch, labels).backward()
        torch.testing.assert_close(x2.grad, x.grad)
        assert other.centers.weight.grad is None and not other.centers.weight.requires_grad
        assert float(other.update.squares) == pytest.approx(float(loss.centers.weight.grad.square().sum()))
        step.step()
        step.zero_grad()
        torch.testing.assert_close(other.centers.weight, loss.centers.weight.detach(), rtol=1e-9, atol=1e-12)
    again = create_loss(name, 6, 11, update_in_backward=options).double()
    again.load_state_dict(other.state_dict())
    assert torch.equal(again.update.velocity, other.update.velocity)


def test_no_gradient_no_update(make):
    loss, x, labels = make("arcface", update_in_backward={"lr": 0.1})
    before = loss.centers.weight.clone()
    with torch.no_grad():
        loss(x, labels)
    assert torch.equal(loss.centers.weight, before)


def test_what_practitioners_watch(make):
    loss, x, labels = make("arcface", batch=6, margin=1.5)
    loss(x, labels)
    cos = F.cosine_similarity(x, loss.centers.weight[labels]).detach()
    psi = loss.margin(cos, cos)
    seen = {key: float(value) for key, value in loss.observed.items()}
    assert seen["target_cos"] == pytest.approx(float(cos.mean()))
    assert seen["margin"] == pytest.approx(float((cos - psi).mean()))
    assert seen["past_pi"] == pytest.approx(float((cos.acos() + 1.5 > math.pi).double().mean()))
    assert seen["norm_mean"] == pytest.approx(float(x.detach().norm(dim=1).mean()))
    assert seen["norm_std"] == pytest.approx(float(x.detach().norm(dim=1).std(correction=0)))
    assert not any(value.requires_grad for value in loss.observed.values())


@pytest.mark.parametrize("start", ["anywhere", "at the centres"])
def test_training_goes_down_and_stays_finite(margin_loss: str, start: str):
    torch.manual_seed(0)
    loss = create_loss(margin_loss, 8, 10)
    x, labels = torch.randn(32, 8), torch.arange(32) % 10
    if start == "at the centres":
        loss.centers.weight.data = F.normalize(loss.centers.weight.data)
        x = loss.centers.weight.detach()[labels * loss.margin.subcenters]
    x.requires_grad_()
    optimizer = torch.optim.SGD([x, *loss.parameters()], lr=1.0 if margin_loss == "softmax" else 0.1)
    values = []
    for _ in range(80):
        optimizer.zero_grad()
        value = loss(x, labels)
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    constant = 3.5 if margin_loss == "magface" else 0.0  # its reward for length hardly moves
    assert all(map(math.isfinite, values)) and x.isfinite().all()
    if start == "anywhere":
        assert values[-1] - constant < 0.5 * (values[0] - constant)
    else:
        assert values[-1] <= values[0] + 1e-3


def test_labels_of_any_integer_type(make):
    loss, x, labels = make("arcface")
    assert loss(x, labels.int()) == loss(x, labels) == loss(x, labels.to(torch.uint8))


@pytest.mark.parametrize(
    ("x", "labels", "words"),
    [
        (torch.ones(2, 6), torch.tensor([0, 7]), "row 1 is 7, outside 0..6"),
        (torch.ones(2, 6), torch.tensor([-1, 0]), "row 0 is -1"),
        (torch.ones(2, 6), torch.tensor([0.0, 1.0]), "expected integers, got torch.float32"),
        (torch.ones(2, 6), torch.tensor([0, 1, 2]), "one for each of 2 embeddings"),
        (torch.ones(0, 6), torch.zeros(0, dtype=torch.long), "at least one"),
        (torch.ones(2, 5), torch.tensor([0, 1]), r"shape \(batch, 6\)"),
        (torch.ones(2, 6, dtype=torch.long), torch.tensor([0, 1]), "expected floats"),
        (torch.tensor([[1.0] * 6, [1, 1, math.nan, 1, 1, 1]]), torch.tensor([0, 1]), "row 1 holds nan"),
        (torch.tensor([[1.0] * 6, [1, 1, math.inf, 1, 1, 1]]), torch.tensor([0, 1]), "row 1 holds inf"),
        (torch.tensor([[0.0] * 6, [1.0] * 6]), torch.tensor([0, 1]), "row 0 has length 0"),
    ],
)
def test_a_wrong_batch_is_named(x: Tensor, labels: Tensor, words: str):
    with pytest.raises(VultusError, match=words):
        create_loss("arcface", 6, 7)(x, labels)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("arcfase", {}, 'did you mean "arcface"'),
        ("nonsense", {}, "known are adaface, arcface, combined"),
        ("softmax", {"margin": 0.5}, 'no parameter "margin"'),
        ("softmax", {"scale": 64}, "has no scale"),
        ("softmax", {"filter_above": 0.4}, "no cosines to filter by"),
        ("normface", {"margin": 0.5}, 'no parameter "margin"'),
        ("arcface", {"marginn": 0.5}, 'did you mean "margin"'),
        ("arcface", {"enginee": "cut"}, 'did you mean "engine"'),
        ("arcface", {"h": 0.3}, "it takes margin"),
        ("arcface", {"margin": -0.1}, "margin=-0.1"),
        ("cosface", {"margin": -0.1}, "margin=-0.1"),
        ("adaface", {"margin": -0.4}, "margin=-0.4"),
        ("elasticface_arc", {"margin": -0.4}, "margin=-0.4"),
        ("elasticface_arc", {"sigma": 2.0}, "sigma=2.0"),
        ("elasticface_arc", {"seed": -1}, "seed=-1"),
        ("magface", {"norm_low": 200.0}, "norm_low=200.0 must be below"),
        ("sphereface", {"margin": 0.5}, "margin=0.5"),
        ("subcenter_arcface", {"subcenters": 0}, "subcenters=0"),
        ("arcface", {"margin": 28.6}, "radians"),
        ("arcface", {"margin": math.nan}, "margin=nan"),
        ("arcface", {"margin": "big"}, "margin=big"),
        ("arcface", {"scale": 0}, "scale=0"),
        ("arcface", {"margin_grad": "none"}, '"exact" or "detached"'),
        ("cosface", {"margin_grad": "exact"}, "same gradient"),
        ("softmax", {"margin_grad": "detached"}, "same gradient"),
        ("arcface", {"engine": "dens"}, 'did you mean "dense"'),
        ("arcface", {"products": "bf61"}, 'did you mean "bf16"'),
        ("arcface", {"sample": 0.0}, "sample=0.0"),
        ("arcface", {"sample": 1.5}, "sample=1.5"),
        ("arcface", {"filter_above": 1.5}, "filter_above=1.5"),
        ("uniface", {"skip_below": 1e-6}, "skip_below"),
        ("arcface", {"sample": 0.5, "update_in_backward": {"lr": 0.1}}, "choose one"),
        ("arcface", {"update_in_backward": {"lr": -0.1}}, "lr=-0.1"),
        ("arcface", {"num_classes": 1}, "at least 2 classes"),
        ("arcface", {"num_classes": 0}, "at least 2 classes"),
        ("arcface", {"embedding_dim": 0}, "embedding_dim=0"),
        ("triplet", {"scale": 64}, "no class centres"),
        ("triplet", {"sample": 0.1}, "no class centres"),
        ("triplet", {"mining": "hardest"}, "batch_hard"),
        ("contrastive", {"margin": 3.0}, "margin=3.0"),
    ],
)
def test_a_wrong_option_is_named(name: str, options: dict[str, Any], words: str):
    with pytest.raises(VultusError, match=words):
        create_loss(name, **{"embedding_dim": 6, "num_classes": 7, **options})


def test_names_take_any_case_and_none_means_the_default():
    loss = create_loss("ArcFace", 6, 7, scale=None, margin=None, margin_grad=None)
    assert loss.scale == 64 and loss.margin.margin == 0.5
    assert len(list_losses()) == 19


def test_state_dict_names_are_the_centres():
    assert {k: tuple(v.shape) for k, v in create_loss("arcface", 6, 7).state_dict().items()} == {
        "centers.weight": (7, 6)
    }
    assert list(create_loss("softmax", 6, 7).state_dict()) == ["centers.weight", "centers.bias"]
