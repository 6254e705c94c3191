"""What all spaces share: sampling, enumeration, neighbours, discretisation, strings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import spaces
from benchmarks.errors import UserError
from benchmarks.spaces import SearchSpace

EVERY = pytest.mark.parametrize("space", spaces.SPACES.values(), ids=str)


@EVERY
@given(data=st.data())
def test_round_trips(space: SearchSpace, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(space) - 1))
    architecture = space.at(position)
    assert space.position(architecture) == position
    assert space.decode(space.encode(architecture)) == architecture
    assert sum(space.operation_counts(architecture).values()) == sum(g.kind == "operation" for g in space.groups)


@EVERY
@given(text=st.text(max_size=60))
def test_other_strings_are_refused_in_one_line(space: SearchSpace, text: str) -> None:
    with pytest.raises(UserError) as error:
        space.decode(text)
    assert len(str(error.value).splitlines()) == 1


@EVERY
def test_enumeration_is_complete_and_ordered(space: SearchSpace) -> None:
    first = list(itertools.islice(space.enumerate(), 1000))
    assert first == [space.at(i) for i in range(1000)]
    assert space.at(len(space) - 1) == tuple(c - 1 for c in space.choices)


@EVERY
def test_outside_is_refused(space: SearchSpace) -> None:
    for position in (-1, len(space)):
        with pytest.raises(UserError, match="is outside"):
            space.at(position)
    for wrong in (
        (),
        (0,) * 99,
        (*space.at(0)[:-1], space.choices[-1]),
        (-1, *space.at(0)[1:]),
        (0.5, *space.at(0)[1:]),
    ):
        with pytest.raises(UserError, match="is no architecture"):
            space.check(wrong)
    with pytest.raises(UserError, match="choose from nas-bench-201"):
        spaces.get("nas-bench-102")


@EVERY
def test_neighbours_differ_in_one_decision(space: SearchSpace) -> None:
    architecture = space.at(len(space) // 3)
    found = space.neighbours(architecture)
    assert len(found) == len(set(found)) == sum(c - 1 for c in space.choices)
    assert all(sum(a != b for a, b in zip(n, architecture, strict=True)) == 1 for n in found)


@EVERY
def test_sampling_is_uniform_in_every_decision(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    draws = np.array([space.sample(rng) for _ in range(3000)])
    for column, choices in zip(draws.T, space.choices, strict=True):
        expected = len(draws) / choices
        chi_square = ((np.bincount(column, minlength=choices) - expected) ** 2 / expected).sum()
        assert chi_square < choices - 1 + 5 * (2 * (choices - 1)) ** 0.5


@EVERY
@given(seed=st.integers(0, 2**31))
def test_discretisation_keeps_the_largest(space: SearchSpace, seed: int) -> None:
    alphas = torch.randn(4, space.parameters, generator=torch.Generator().manual_seed(seed))
    for alpha, architecture in zip(alphas, space.discretise_many(alphas), strict=True):
        assert space.discretise(alpha) == architecture
        for group, part, kept in zip(space.groups, alpha.split(space.sizes), space.kept(architecture), strict=True):
            ranked = sorted(range(group.size), key=lambda i, part=part: -float(part[i]))
            assert set(kept) == set(ranked[: group.picks])


@EVERY
def test_ties_go_to_the_first_and_nonsense_is_refused(space: SearchSpace) -> None:
    assert space.discretise(torch.zeros(space.parameters)) == (0,) * len(space.groups)
    with pytest.raises(UserError, match="not finite"):
        space.discretise(torch.full((space.parameters,), float("nan")))
    with pytest.raises(UserError, match="expected alphas of shape"):
        space.discretise(torch.zeros(space.parameters + 1))


@EVERY
def test_the_discrete_network_runs_and_learns(space: SearchSpace) -> None:
    architecture = space.at(len(space) // 2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = space.network(architecture, channels=4, cells_per_stage=1, classes=7)
        logits = network(torch.randn(3, 3, 16, 16))
    assert logits.shape == (3, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
