"""Zero-cost NAS, BaLeNAS-TF and their controls: what is drawn, what is chosen, what is recorded."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch

from benchmarks import images, spaces, tiers
from benchmarks.errors import UserError
from benchmarks.seeds import Seeds
from benchmarks.spec import SearchProblem
from methods import METHODS, proxies, resolve
from methods.selection import Scorer, SelectionConfig

SPACE = spaces.get("nas-bench-201")


def problem(name: str, upstream=None, seed: int = 0, space=SPACE) -> SearchProblem:
    budget = tiers.budget("smoke", space.name)
    seeds = Seeds(seed, space.name, budget.data, name)
    split = images.search_split(
        images.load(budget.data), train=64, valid=64, size=budget.image_size, generator=seeds.generator("split")
    )
    return SearchProblem(space, split, budget, seeds, upstream)


def build(name: str, upstream=None, **settings):
    method, config = resolve(name, settings)
    return method(problem(name, upstream), config)


@pytest.fixture(scope="module")
def posterior():
    generator = torch.Generator().manual_seed(0)
    alpha = torch.randn(SPACE.parameters, generator=generator).tolist()
    return {"alpha": alpha, "sigma": [0.1 + 0.05 * (i % 5) for i in range(SPACE.parameters)]}


def test_the_largest_of_the_same_uniform_draws():
    small = build("zero-cost-params", draws=20)
    assert small.draws == build("zero-cost", draws=20, proxy="flops").draws

    def size(architecture):
        return sum(
            p.numel() for p in SPACE.network(architecture, channels=4, cells_per_stage=1, classes=10).parameters()
        )

    assert size(small.architecture()) == max(map(size, small.draws))


def test_no_proxy_takes_the_first_draw_that_balenas_tf_makes(posterior):
    drawn = build("balenas-draw-1st", posterior)
    chosen = build("balenas-tf-1st", posterior)
    assert drawn.draws == chosen.draws
    assert drawn.architecture() == drawn.draws[0]
    trace = drawn.measure(0)
    assert trace["scored"] == 0
    assert len(trace["resampled"]) == drawn.problem.budget.resamplings


def test_even_noise_has_the_same_mean_and_variance(posterior):
    even, real = build("even-noise-tf-1st", posterior, draws=3), build("balenas-tf-1st", posterior, draws=3)
    assert torch.equal(even.alpha, real.alpha)
    assert even.sigma.unique().numel() == 1
    assert float(even.sigma.square().mean()) == pytest.approx(float(real.sigma.square().mean()), rel=1e-6)
    flat = posterior | {"sigma": [0.3] * SPACE.parameters}
    assert build("even-noise-tf-1st", flat, draws=9).draws == build("balenas-tf-1st", flat, draws=9).draws


def test_fixed_noise_draws_around_darts(posterior):
    darts = posterior | {"sigma": [0.0] * SPACE.parameters}
    assert resolve("fixed-noise-tf-1st")[0].upstream == "darts-1st"
    still = build("fixed-noise-tf-1st", darts, sigma=0.0, draws=5)
    assert set(still.draws) == {SPACE.discretise(torch.tensor(darts["alpha"]))}
    assert still.measure(0)["mean_chosen"] == 1
    moved = build("fixed-noise-tf-1st", darts, draws=30)
    assert len(set(moved.draws)) > 5
    for sigma in (-0.1, math.inf, math.nan):
        with pytest.raises(UserError, match="no standard deviation: choose 0 or more"):
            build("fixed-noise-tf-1st", darts, sigma=sigma)


def test_hyper_parameters_in_a_name():
    method, config = resolve("zero-cost@proxy=naswot,draws=500")
    assert (method, config) == (resolve("zero-cost")[0], SelectionConfig("naswot", 500, 64))
    assert resolve("fixed-noise-tf-1st@sigma=0.25")[1].sigma == 0.25
    assert resolve("darts-2nd@track_running_stats=true")[1].track_running_stats is True
    assert resolve("darts-2nd@beta1=0.9")[1].order == 2
    assert resolve("methods.zero_cost:ZeroCost@draws=7")[1].draws == 7
    assert resolve("zero-cost@draws=7", {"draws": 9})[1].draws == 9


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("zero-cots@draws=3", "unknown method 'zero-cots'"),
        ("zero-cost@darws=3", "unknown hyper-parameter of zero-cost 'darws': choose from batch_size, draws, proxy"),
        ("zero-cost@draws=many", "draws=many is no whole number"),
        ("zero-cost@draws=1.5", "draws=1.5 is no whole number"),
        ("zero-cost@draws", "hyper-parameter of zero-cost 'draws' has no value"),
        ("zero-cost@draws=3,draws=4", "hyper-parameter of zero-cost 'draws' is given twice"),
        ("fixed-noise-tf-1st@sigma=x", "sigma=x is no number"),
        ("darts-1st@track_running_stats=3", "neither true nor false"),
        ("random@draws=3", "it has none"),
        ("zero-cost@draws=0", "draws is a count, got 0: choose 1 or more"),
        ("zero-cost@batch_size=-1", "batch_size is a count, got -1"),
        ("zero-cost@proxy=synflw", "unknown proxy 'synflw': choose from synflow"),
        ("fixed-noise-tf-1st@sigma=-0.1", "no standard deviation: choose 0 or more"),
        ("darts-1st@update_order=weights_first", "choose from architecture-first, weights-first"),
        ("balenas-1st@weights_at=samples", "unknown weights_at 'samples': choose from mean, sample"),
        ("methods.darts:DARTS@order=3", "unknown order '3': choose from 1, 2"),
        ("darts-1st@order=2", "darts-1st stands for order=1: choose the method that stands for another"),
        ("zero-cost-params@draws=9,proxy=snip", "zero-cost-params stands for proxy=params"),
        ("balenas-1st@samples=0", "samples is a count, got 0"),
        ("darts-1st@beta1=1", "beta1 must lie in [0, 1)"),
        ("darts-2nd@arch_weight_decay=-1", "weight_decay must be finite and >= 0"),
        ("balenas-1st@optimizer=adma", "unknown posterior optimizer 'adma': choose from vadam"),
        ("balenas-1st@optimizer=ivon,prec_init=0", "prec_init must be positive"),
        ("balenas-2nd@prec_init=0.5", "prec_init 0.5 is below prior_precision 1.0"),
    ],
)
def test_mistakes_in_a_name_are_one_line(name, said):
    with pytest.raises(UserError, match=r"^[^\n]+$") as caught:
        resolve(name)
    assert said in str(caught.value)


@pytest.mark.parametrize("draws", [10, 50, 500])
def test_every_sample_size_is_a_setting(draws):
    method = build("zero-cost", draws=draws, proxy="none")
    assert len(method.draws) == draws
    assert method.draws[:10] == build("zero-cost", draws=10, proxy="none").draws


def test_what_is_not_finite_ranks_last_and_is_recorded(monkeypatch):
    values = iter([math.nan, 1.0, math.inf, -math.inf, 0.5])
    monkeypatch.setitem(proxies.PROXIES, "params", proxies.Proxy("params", lambda _: next(values)))
    scorer = Scorer(problem("zero-cost"), SelectionConfig(proxy="params"))
    draws = [SPACE.at(i) for i in (10, 20, 30, 40, 50)]
    assert scorer.best(draws) == SPACE.at(20)
    assert scorer.not_finite == [SPACE.encode(SPACE.at(i)) for i in (10, 30, 40)]
    assert scorer.trace(draws)["scores_not_finite"] == 3


def test_isomorphic_encodings_are_scored_as_they_are_built():
    """At a common initialisation they are other networks; the order in which they come must not matter."""
    space = spaces.get("nas-bench-1shot1-s3")
    seen: dict[str, dict] = {}
    rng = np.random.default_rng(0)
    pair = None
    while pair is None:
        draw = space.sample(rng)
        matrix, operations = space.pruned(draw)
        built = seen.setdefault(space.canonical(draw), {})
        built.setdefault((matrix.tobytes(), operations), draw)
        pair = tuple(built.values()) if len(built) == 2 and "maxpool3x3" in operations else None
    scorers = [Scorer(problem("zero-cost", space=space), SelectionConfig()) for _ in range(4)]
    alone = [scorer.scores([one])[0] for scorer, one in zip(scorers, pair, strict=False)]
    assert alone[0] != alone[1]
    assert scorers[2].scores(pair) == alone
    assert scorers[3].scores(pair[::-1]) == alone[::-1]
    assert scorers[3].trace(pair) == {"distinct_draws": 1, "scored": 2, "scores_not_finite": 0}


def test_a_missing_upstream_is_one_line():
    with pytest.raises(UserError, match="needs the finished run of balenas-1st"):
        build("even-noise-tf-1st")


@pytest.mark.parametrize("name", [n for n in METHODS if n.startswith(("zero-cost", "balenas-tf"))])
def test_settings_that_reference_results_hash_stay_as_they_are(name):
    """A new field would orphan every stored run of the method."""
    _, config = resolve(name)
    assert set(dataclasses.asdict(config)) == {"proxy", "draws", "batch_size"}
