"""Two and three processes with gloo: a sharded head is the unsharded one, to the last digits of float32."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from vultus.losses import create_loss

NAMES = ["arcface", "softmax", "adaface", "magface", "elasticface_arc_plus", "curricularface", "uniface"]
NAMES += ["sphereface2", "subcenter_arcface"]
CLASSES, DIM = 11, 6  # 11 is divisible by neither 2 nor 3


def rows_of(ranks: int) -> list[int]:
    """Ragged batches: some ranks hold more rows, one holds a single one."""
    return [5, 1] if ranks == 2 else [2, 1, 4]


def problem(dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Embeddings of all ranks, labels that leave one rank without any class of the batch, centres."""
    generator = torch.Generator().manual_seed(5)
    total = 7
    x = 8 * torch.randn(total, DIM, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 3, 1, 3, 2, 0, 1])
    weight = torch.randn(CLASSES * 3, DIM, generator=generator, dtype=torch.float64)
    return x.to(dtype), labels, weight.to(dtype)


def fill(loss: Any, weight: Tensor) -> None:
    """The rank's slice of the same centres."""
    k, centers = loss.margin.subcenters, loss.centers
    with torch.no_grad():
        centers.weight.copy_(weight[centers.first * k : (centers.first + centers.count) * k])
        if centers.bias is not None:
            centers.bias.copy_(torch.linspace(-1, 1, CLASSES)[centers.first : centers.first + centers.count])


SAMPLE = [0, 1, 2, 3, 6, 9, 10]


def fix_sample(loss: Any) -> None:
    """The same sample of classes everywhere."""
    centers = loss.centers
    mine = [c - centers.first for c in SAMPLE if centers.first <= c < centers.first + centers.count]
    centers.choose = lambda positives: torch.tensor(mine)


def results(loss: Any, x: Tensor, labels: Tensor) -> dict[str, Any]:
    """Loss, and all gradients, after two batches (so that statistics have moved)."""
    loss(x, labels)
    x = x.clone().requires_grad_()
    value = loss(x, labels)
    value.backward()
    found = {"loss": value.detach(), "x": x.grad, "observed": dict(loss.observed)}
    for name, parameter in loss.named_parameters():
        found[name] = parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
    for name, buffer in loss.named_buffers():
        found[name] = buffer
    return found


def run(rank: int, ranks: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist.init_process_group("gloo", rank=rank, world_size=ranks)
    counts = rows_of(ranks)
    start = sum(counts[:rank])
    found = {}
    for dtype in (torch.float32, torch.float64):
        x, labels, weight = problem(dtype)
        own = slice(start, start + counts[rank])
        for name in NAMES:
            for sample in (None, 0.6):
                loss = create_loss(name, DIM, CLASSES, sharded=True, sample=sample).to(dtype)
                fill(loss, weight)
                if sample:
                    fix_sample(loss)
                found[name, dtype, sample] = results(loss, x[own], labels[own])
        # replicated, as under DistributedDataParallel: statistics of all ranks' batches, every rank its own loss
        for name in ("adaface", "curricularface"):
            loss = create_loss(name, DIM, CLASSES).to(dtype)
            fill(loss, weight)
            loss(x[own], labels[own])
            found["replicated", name, dtype] = dict(loss.margin.named_buffers())
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module", params=[2, 3], ids=["2 ranks", "3 ranks"])
def ranks_found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[Any, Any]]:
    folder: Path = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # this file as a script: pytest's import mode gives it no name that another process could import
    commands = [
        [sys.executable, __file__, str(rank), str(request.param), str(port), folder] for rank in range(request.param)
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said[-3000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]


@pytest.mark.parametrize("sample", [None, 0.6], ids=["all", "sampled"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_sharded_is_unsharded(name: str, dtype: torch.dtype, sample: float | None, ranks_found: list[dict[Any, Any]]):
    counts = rows_of(len(ranks_found))
    x, labels, weight = problem(dtype)
    x, labels = x[: sum(counts)], labels[: sum(counts)]
    loss = create_loss(name, DIM, CLASSES, sample=sample).to(dtype)
    fill(loss, weight)
    if sample:
        fix_sample(loss)
    expected = results(loss, x, labels)
    found = [rank[name, dtype, sample] for rank in ranks_found]
    close = {"rtol": 1e-6, "atol": 1e-6} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    scale = {key: float(value.abs().max()) + 1 for key, value in expected.items() if isinstance(value, Tensor)}
    for one in found:
        assert one.keys() == expected.keys()
        torch.testing.assert_close(one["loss"], expected["loss"], **close)
        for key, value in one["observed"].items():
            torch.testing.assert_close(value, expected["observed"][key], **close)
        for key in expected.keys() - {"loss", "x", "observed", "centers.weight", "centers.bias"}:
            torch.testing.assert_close(one[key] / scale[key], expected[key] / scale[key], **close)
    for key in ("x", "centers.weight", "centers.bias"):
        if key in expected:
            together = torch.cat([one[key] for one in found])
            torch.testing.assert_close(together / scale[key], expected[key] / scale[key], **close)


@pytest.mark.parametrize("name", ["adaface", "curricularface"])
def test_statistics_of_a_replicated_head_are_those_of_all_ranks(name: str, ranks_found: list[dict[Any, Any]]):
    x, labels, weight = problem(torch.float64)
    total = sum(rows_of(len(ranks_found)))
    loss = create_loss(name, DIM, CLASSES).double()
    fill(loss, weight)
    loss(x[:total], labels[:total])
    for found in ranks_found:
        for key, value in found["replicated", name, torch.float64].items():
            torch.testing.assert_close(value, loss.margin.get_buffer(key))


def test_one_process_may_be_sharded_too(make):
    loss, x, labels = make("arcface")
    alone = create_loss("arcface", 6, 7, sharded=True).double()
    alone.load_state_dict(loss.state_dict())
    torch.testing.assert_close(alone(x, labels), loss(x, labels))


@pytest.mark.parametrize(("classes", "ranks"), [(11, 2), (11, 3), (4, 4), (10, 3)])
def test_every_class_has_one_owner(classes: int, ranks: int):
    from vultus.losses import ClassCenters

    shards = [ClassCenters(classes, 2, rank=rank, ranks=ranks) for rank in range(ranks)]
    owned = [c for shard in shards for c in range(shard.first, shard.first + shard.count)]
    assert owned == list(range(classes))
    labels = torch.arange(classes)
    local = torch.stack([shard(labels)[2] for shard in shards])
    assert ((local >= 0).sum(0) == 1).all()


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
