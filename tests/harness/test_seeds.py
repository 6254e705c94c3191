"""Seeds by component."""

from __future__ import annotations

import torch

from benchmarks.seeds import Seeds


def test_components_and_epochs_have_streams_of_their_own() -> None:
    seeds = Seeds(0, "nas-bench-201", "digits", "darts-1st")
    streams = [seeds.seed("a"), seeds.seed("b"), seeds.seed("a", 1), seeds.seed("a", 2), seeds.seed("a", own=True)]
    assert len(set(streams)) == len(streams)
    assert seeds.seed("a", 11) != Seeds(0, "nas-bench-201", "digits", "darts-1st").seed("a", 1, 1)


def test_methods_share_streams_unless_they_are_their_own() -> None:
    a, b = (Seeds(3, "nas-bench-201", "digits", method) for method in ("darts-1st", "balenas-1st"))
    assert a.seed("supernet") == b.seed("supernet")
    assert a.seed("supernet", own=True) != b.seed("supernet", own=True)


def test_scope_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    with Seeds(0, "s", "d", "m").scope("supernet"):
        first = torch.rand(3)
    with Seeds(0, "s", "d", "m").scope("supernet"):
        assert torch.equal(torch.rand(3), first)
    assert torch.equal(torch.random.get_rng_state(), before)
