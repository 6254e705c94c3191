"""NAS-Bench-201 against the shipped table: index, strings, parameters, FLOPs, classes."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import ground_truth
from benchmarks.errors import UserError
from benchmarks.ground_truth import Cost, Dataset
from benchmarks.nas_bench_201_order import official_order
from benchmarks.spaces import NASBench201
from benchmarks.spaces.nas_bench_201 import flops, from_official_index, official_index, parameter_count

SPACE = NASBench201()
CLASSES = {Dataset.CIFAR10: (10, 32), Dataset.CIFAR100: (100, 32), Dataset.IMAGENET16_120: (120, 16)}


def test_known_indices() -> None:
    """Strings of the official API (NATS-Bench meta file), and the all-skip cell."""
    for index, text in {
        0: "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|",
        6111: "|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|nor_conv_1x1~2|",
        1835: "|skip_connect~0|+|skip_connect~0|skip_connect~1|+|skip_connect~0|skip_connect~1|skip_connect~2|",
    }.items():
        assert SPACE.encode(from_official_index(index)) == text
        assert official_index(SPACE.decode(text)) == index
    with pytest.raises(UserError, match="choose 0 to 15624"):
        from_official_index(15625)


def test_every_index_comes_back() -> None:
    assert [official_index(from_official_index(i)) for i in range(15625)] == list(range(15625))


@pytest.mark.parametrize("dataset", CLASSES)
def test_closed_forms_equal_the_table_on_all(dataset: Dataset) -> None:
    table = ground_truth.load("nas-bench-201", tables=None)
    classes, size = CLASSES[dataset]
    order = official_order()
    np.testing.assert_array_equal(parameter_count(order, classes=classes), table.cost(order, Cost.PARAMETERS, dataset))
    np.testing.assert_array_equal(
        flops(order, classes=classes, image_size=size), table.cost(order, Cost.FLOPS, dataset)
    )


def test_built_networks_have_the_closed_forms_parameters() -> None:
    rng = np.random.default_rng(0)
    with torch.device("meta"):
        for architecture in {SPACE.sample(rng) for _ in range(200)}:
            network = SPACE.network(architecture, channels=16, cells_per_stage=5, classes=10)
            built = sum(p.numel() for p in network.parameters())
            assert built == parameter_count(architecture, classes=10), SPACE.encode(architecture)


def test_built_networks_have_the_closed_forms_flops() -> None:
    rng = np.random.default_rng(1)
    for architecture in {SPACE.sample(rng) for _ in range(40)}:
        network = SPACE.network(architecture, channels=16, cells_per_stage=5, classes=10)
        assert counted_flops(network, 32) == flops(architecture, classes=10), SPACE.encode(architecture)


@pytest.mark.parametrize("sizes", [{"channels": 4, "cells_per_stage": 1}, {"channels": 6, "cells_per_stage": 2}])
def test_closed_forms_hold_at_other_sizes(sizes: dict[str, int]) -> None:
    architecture = (3, 2, 4, 3, 1, 2)
    network = SPACE.network(architecture, classes=7, **sizes)
    assert sum(p.numel() for p in network.parameters()) == parameter_count(architecture, classes=7, **sizes)
    assert counted_flops(network, 16) == flops(architecture, classes=7, image_size=16, **sizes)


def counted_flops(network: nn.Module, size: int) -> int:
    """Multiply-adds of what really runs, convolutions and the classifier with its bias."""
    total = 0

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += module.weight.numel() * output.shape[2] * output.shape[3]
        elif isinstance(module, nn.Linear):
            total += module.weight.numel() + module.bias.numel()

    for module in network.modules():
        module.register_forward_hook(count)
    with torch.no_grad():
        network(torch.zeros(1, 3, size, size))
    return total


def test_isomorphism_classes() -> None:
    """6,466 unique strings (Dong and Yang 2020, Section 2.4); they are no isomorphism classes of networks."""
    parameters = defaultdict(set)
    order = official_order()
    for row, count in zip(order.tolist(), parameter_count(order, classes=10).tolist(), strict=True):
        parameters[SPACE.canonical(tuple(row))].add(count)
    assert len(parameters) == 6466
    assert sum(len(counts) > 1 for counts in parameters.values()) == 578


def test_classes_are_the_published_ones() -> None:
    folder = os.environ.get("NAS_SHARED_DATA")
    if not folder:
        pytest.skip("NAS_SHARED_DATA does not name the folder of compiled facts")
    facts = pd.read_csv(Path(folder) / "nas_bench_201.csv.gz", usecols=["arch_str", "iso_class"])
    assert facts.arch_str.tolist() == [SPACE.encode(from_official_index(i)) for i in range(15625)]
    ours, _ = pd.factorize(facts.arch_str.map(lambda text: SPACE.canonical(SPACE.decode(text))))
    np.testing.assert_array_equal(ours, pd.factorize(facts.iso_class)[0])


def test_the_published_rule_is_no_isomorphism() -> None:
    """The same single convolution thrice; the field's string joins two of the cells and sets the third apart."""
    direct = SPACE.decode("|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|")
    skipped = SPACE.decode("|nor_conv_3x3~0|+|skip_connect~0|none~1|+|none~0|skip_connect~1|none~2|")
    nested = SPACE.decode("|none~0|+|nor_conv_3x3~0|none~1|+|none~0|none~1|skip_connect~2|")
    assert SPACE.canonical(direct) == SPACE.canonical(skipped) != SPACE.canonical(nested)
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    outputs = []
    for architecture in (direct, skipped, nested):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            outputs.append(SPACE.network(architecture, channels=4, cells_per_stage=1, classes=3)(x))
    torch.testing.assert_close(outputs[0], outputs[1])
    torch.testing.assert_close(outputs[0], outputs[2])


@pytest.mark.parametrize(
    "text",
    [
        "none~0+none~0|none~1+none~0|none~1|none~2",
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2||",
        "|none~0|+|none~0|none~1|+|none~0|none~2|none~1|",
        "|none~00|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~0|none~1|",
    ],
)
def test_only_the_official_form_is_read(text: str) -> None:
    with pytest.raises(UserError, match="is no NAS-Bench-201 string"):
        SPACE.decode(text)


def test_an_unknown_operation_is_named() -> None:
    with pytest.raises(UserError, match="'max_pool_3x3': choose from none"):
        SPACE.decode("|max_pool_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|")
