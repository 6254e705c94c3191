"""Each proxy against values worked out by hand or by an independent way, and what all proxies must do."""

from __future__ import annotations

import copy
import math
import sys

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import spaces
from benchmarks.errors import UserError
from methods.proxies import PROXIES, Probe, initialise, proxy, score_together
from methods.proxies.probe import bypass_batch_norm

ALL = sorted(PROXIES)


def linear_network(weight, bias=None) -> nn.Module:
    """4 x 4 images, summed by a fixed convolution, then a linear layer: all by hand."""
    conv = nn.Conv2d(3, 1, 4, bias=False)
    head = nn.Linear(1, len(weight))
    with torch.no_grad():
        conv.weight.fill_(0.5)
        head.weight.copy_(torch.tensor(weight)[:, None])
        head.bias.copy_(torch.tensor(bias or [0.0] * len(weight)))
    return nn.Sequential(conv, nn.Flatten(), head)


def score(name, network, images, labels, seed=0):
    return PROXIES[name](network, images, labels, cross_entropy, torch.Generator().manual_seed(seed))


class TestByHand:
    images = torch.stack([torch.full((3, 4, 4), 1.0), torch.full((3, 4, 4), -1.0)])
    labels = torch.tensor([0, 1])

    def test_synflow(self):
        # R = (48 * 0.5) * (2 + 3) = 120 along paths of two weights each: every layer's weights carry R once.
        network = linear_network([2.0, -3.0], [7.0, -7.0])
        assert score("synflow", network, self.images, self.labels) == pytest.approx(240)

    def test_log_synflow(self):
        # Gradients: 2 + 3 for each of 48 weights of 1/2, 24 for the two weights 2 and 3.
        network = linear_network([2.0, -3.0])
        expected = 48 * 0.5 * math.log(6) + 5 * math.log(25)
        assert score("log-synflow", network, self.images, self.labels) == pytest.approx(expected)

    @pytest.fixture
    def softmax(self):
        # z = 24 and -24 with head (1/24, -1/24): logits (1, -1) and (-1, 1), each image on its label's side.
        network = linear_network([1 / 24, -1 / 24])
        wrong = 1 / (
            1 + math.exp(2)
        )  # probability of the other class, so dL/dlogits = wrong * (-1, 1) / 2 and mirrored
        return network, wrong

    def test_snip(self, softmax):
        network, p = softmax
        # Both images pull alike: dL/dhead = (-24 p, 24 p); dL/dz = -+p/24 a image, so dL/dconv = -p/12... * x/2 summed.
        head = 2 * (1 / 24) * 24 * p
        conv = 48 * 0.5 * (p / 12)
        assert score("snip", network, self.images, self.labels) == pytest.approx(head + conv, rel=1e-5)

    def test_grad_norm(self, softmax):
        network, p = softmax
        expected = 24 * p * math.sqrt(2) + p / 12 * math.sqrt(48)
        assert score("grad-norm", network, self.images, self.labels) == pytest.approx(expected, rel=1e-5)

    def test_fisher(self, softmax):
        network, p = softmax
        # z * dL/dz = 24 * p/24 for either image; logits * dL/dlogits = p/2 for either class and image.
        expected = 0.5 * p**2 + 2 * 0.5 * (p / 2) ** 2
        assert score("fisher", network, self.images, self.labels) == pytest.approx(expected, rel=1e-5)

    def test_params_and_flops(self):
        network = linear_network([2.0, -3.0])
        assert score("params", network, self.images, self.labels) == 48 + 2 + 2
        assert score("flops", network, self.images, self.labels) == 48 + 2

    def test_jacob_cov_of_uncorrelated_gradients(self):
        # ReLU masks make the two images' gradients orthogonal after centring: eigenvalues 1 and 1.
        first, second = torch.zeros(3, 4, 4), torch.zeros(3, 4, 4)
        first[0], second[0] = 1.0, -1.0
        conv = nn.Conv2d(3, 2, 4, bias=False)
        head = nn.Linear(2, 1)
        with torch.no_grad():
            conv.weight.zero_()
            conv.weight[0, 0], conv.weight[1, 0] = 1.0, -1.0
            conv.weight[0, 1, 0], conv.weight[0, 1, 1] = 2.0, -2.0
            conv.weight[1, 1, 2], conv.weight[1, 1, 3] = 2.0, -2.0
            head.weight.fill_(1.0)
        network = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), head)
        images = torch.stack([first, second])
        rows = np.stack([conv.weight[i].detach().numpy().ravel() for i in (0, 1)])
        values = np.linalg.eigvalsh(np.corrcoef(rows)) + 1e-5
        assert score("jacob-cov", network, images, self.labels) == pytest.approx(-np.sum(np.log(values) + 1 / values))

    def test_naswot(self):
        # Codes over three units: 110, 011, so K = [[3, 1], [1, 3]] and |det K| = 8.
        network = nn.Sequential(nn.Conv2d(3, 3, 4, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(3, 1))
        with torch.no_grad():
            network[0].weight.zero_()
            network[0].weight[0, 0, 0, 0] = 1.0
            network[0].weight[1, 1, 0, 0] = 1.0
            network[0].weight[2, 0, 0, 0] = -1.0
        images = torch.zeros(2, 3, 4, 4)
        images[:, :2, 0, 0] = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])
        assert score("naswot", network, images, self.labels) == pytest.approx(math.log(8))

    def test_naswot_of_two_equal_images_ranks_last(self, small):
        images = torch.ones(2, 3, 8, 8)
        assert score("naswot", small, images, self.labels) == -math.inf

    def test_ntk_of_a_linear_layer(self):
        # Kernel x_i . x_j + 0 of the weights: diag(1, 4) for orthogonal images of norm 1 and 2.
        network = nn.Sequential(nn.Flatten(), nn.Linear(48, 1))
        images = torch.zeros(2, 48)
        images[0, 0], images[1, 1] = 1.0, 2.0
        assert score("ntk", network, images.view(2, 3, 4, 4), self.labels) == pytest.approx(-4)

    def test_linear_regions_of_one_unit(self):
        network = nn.Sequential(nn.Conv2d(3, 1, 4, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(1, 1))
        assert score("linear-regions", network, torch.randn(8, 3, 8, 8), torch.zeros(8)) == 2
        assert score("linear-regions", network, torch.zeros(8, 3, 8, 8), torch.zeros(8)) == 1

    def test_zen_of_one_convolution(self):
        # f is linear in x: the difference is 0.01 * conv(e), of expected size 0.01 * sqrt(48) * sqrt(2 / pi) a pixel.
        network = nn.Sequential(nn.Conv2d(3, 64, 4, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        found = score("zen", network, torch.zeros(64, 3, 16, 16), torch.zeros(64))
        expected = math.log(0.01 * math.sqrt(48) * math.sqrt(2 / math.pi) * 64 * 13 * 13)
        assert found == pytest.approx(expected, abs=0.02)


def test_zen_undoes_the_scale_of_batch_norm(small, probe, monkeypatch):
    """Scaling a convolution's weights by 10 changes f by nothing after batch norm, but log sigma by log 10."""
    module = sys.modules["methods.proxies.zen"]  # the package's attribute of that name is the function
    draw = module._draw
    before = PROXIES["zen"].measure(probe(small))
    monkeypatch.setattr(module, "_draw", lambda network, rng: (draw(network, rng), network.conv.weight.mul_(10)))
    after = PROXIES["zen"].measure(probe(small))
    assert after - before == pytest.approx(math.log(10), abs=1e-3)


def test_grasp_is_minus_weights_hessian_gradient(small, batch):
    """Against the dense Hessian of the same loss in float64."""
    network = copy.deepcopy(small).double().train()
    names = ["conv.weight", "head.weight"]
    weights = tuple(dict(network.named_parameters())[name].detach() for name in names)
    images, labels = batch[0].double(), batch[1]

    def loss(*values):
        return cross_entropy(
            torch.func.functional_call(network, dict(zip(names, values, strict=True)), (images,)), labels
        )

    gradient = torch.autograd.functional.jacobian(loss, weights)
    hessian = torch.autograd.functional.hessian(loss, weights)
    expected = 0.0
    for i, w in enumerate(weights):
        product = sum(h.reshape(w.numel(), -1) @ g.flatten() for h, g in zip(hessian[i], gradient, strict=True))
        expected -= float(w.flatten() @ product)
    assert score("grasp", small, *batch) == pytest.approx(expected, rel=1e-3)


def test_synflow_is_the_derivative_in_a_common_scale(small, batch):
    """Euler: sum of w dR/dw is dR(t w)/dt at t = 1, here by a central difference."""
    network = copy.deepcopy(small).double()
    bypass_batch_norm(network)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.abs_()

    def output(scale):
        scaled = {n: p * scale for n, p in network.named_parameters() if n.endswith("weight")}
        with torch.no_grad():
            return float(torch.func.functional_call(network, scaled, (torch.ones(1, 3, 8, 8).double(),)).sum())

    derivative = (output(1 + 1e-5) - output(1 - 1e-5)) / 2e-5
    assert score("synflow", small, *batch) == pytest.approx(derivative, rel=1e-8)


@pytest.mark.parametrize("name", ["synflow", "log-synflow"])
def test_flow_ignores_signs_images_and_batch_norm(name, small, batch):
    expected = score(name, small, *batch)
    other = copy.deepcopy(small)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(torch.randn(parameter.shape).sign())
        other.norm.weight.normal_()
        other.norm.running_var.fill_(9.0)
    assert score(name, other, -3 * batch[0], batch[1].flip(0)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["snip", "grad-norm", "fisher", "jacob-cov", "naswot", "grasp"])
def test_batch_statistics_are_used(name, small, batch):
    """Running statistics and the mode of the given network do not matter, its affine parameters do."""
    expected = score(name, small, *batch)
    other = copy.deepcopy(small).eval()
    other.norm.running_mean.fill_(3.0)
    assert score(name, other, *batch) == expected
    with torch.no_grad():
        other.norm.weight.normal_()
        other.norm.bias.normal_()
    assert score(name, other, *batch) != expected


@pytest.mark.parametrize("name", ["jacob-cov", "naswot", "ntk"])
def test_labels_do_not_matter(name, small, batch):
    assert score(name, small, *batch) == score(name, small, batch[0], batch[1].flip(0))


def snapshot(network):
    return {
        "state": {k: v.clone() for k, v in network.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in network.parameters()],
        "requires": [p.requires_grad for p in network.parameters()],
        "modes": [m.training for m in network.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in network.modules()
        ],
        "types": [type(m) for m in network.modules()],
    }


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.fixture
def used(small, batch):
    """A network in a state that must survive: gradients, eval mode in part, a frozen weight, a hook."""
    cross_entropy(small(batch[0]), batch[1]).backward()
    small.norm.eval()
    small.head.bias.requires_grad_(False)
    small.relu.register_forward_hook(lambda *_: None)
    return small


@pytest.mark.parametrize("name", ALL)
def test_state_is_restored(name, used, batch):
    before, random = snapshot(used), torch.get_rng_state()
    score(name, used, *batch)
    assert same(snapshot(used), before)
    assert torch.equal(torch.get_rng_state(), random)


@pytest.mark.parametrize("name", ["snip", "grasp", "fisher", "grad-norm"])
def test_state_is_restored_after_an_error(name, used, batch):
    def broken(*_):
        raise ZeroDivisionError

    before = snapshot(used)
    with pytest.raises(ZeroDivisionError):
        PROXIES[name](used, *batch, broken, torch.Generator())
    assert same(snapshot(used), before)


@pytest.mark.parametrize("name", ALL)
def test_same_input_same_score(name, small, batch):
    assert score(name, small, *batch) == score(name, small, *batch)


@pytest.mark.parametrize("name", [n for n in ALL if PROXIES[n].uses_weights and n != "linear-regions"])
def test_initialisation_matters(name, batch, small):
    found = {score(name, initialise(small, seed), *batch) for seed in range(4)}
    assert len(found) > 1


@pytest.mark.parametrize("name", ALL)
def test_disconnected(name, disconnected, batch):
    found = score(name, disconnected, *batch)
    if name in ("synflow", "log-synflow"):
        # The last layer sees zeros and the others are cut off.
        assert found == 0
    assert isinstance(found, float)


def test_disconnected_grasp_is_a_plain_zero(disconnected, batch):
    disconnected.head.requires_grad_(False).weight.zero_()
    assert str(score("grasp", disconnected, *batch)) == "0.0"


def test_disconnected_has_no_jacobian(disconnected, batch):
    assert math.isnan(score("jacob-cov", disconnected, *batch))
    assert score("ntk", disconnected, *batch) == -math.inf


def test_scoring_together_changes_nothing(small, batch, probe):
    names = [name for name in ALL if name not in ("zen", "linear-regions")]
    expected = {name: score(name, small, *batch) for name in names}
    assert score_together(names, probe(small)) == expected
    assert score_together(reversed(names), probe(small)) == expected
    with torch.no_grad():
        assert score_together(["naswot", "snip"], probe(small)) == {n: expected[n] for n in ("naswot", "snip")}


def test_synflow_needs_float64(batch):
    """Scores far beyond float32 come out finite and right: eight layers that multiply by 1e10 each."""
    layers = [nn.Linear(1, 1, bias=False) for _ in range(8)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1e10)
    network = nn.Sequential(nn.Conv2d(3, 1, 8, bias=False), nn.Flatten(), *layers)
    nn.init.constant_(network[0].weight, 1.0)
    assert score("synflow", network, *batch) == pytest.approx(9 * 192 * 1e80, rel=1e-6)


class TestInitialisation:
    def test_law_is_the_default(self):
        layer = nn.Sequential(nn.Conv2d(16, 64, 3))
        initialise(layer, 5)
        bound = 1 / math.sqrt(16 * 9)
        weight = layer[0].weight.detach()
        assert weight.abs().max() <= bound
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)

    def test_does_not_depend_on_other_layers(self):
        long = nn.ModuleDict({"b": nn.Linear(3, 3), "a": nn.Conv2d(3, 3, 1)})
        short = nn.ModuleDict({"a": nn.Conv2d(3, 3, 1)})
        initialise(long, 1)
        initialise(short, 1)
        assert torch.equal(long["a"].weight, short["a"].weight)

    def test_seed_place_and_shape_matter(self):
        def first(name="a", kernel=1, seed=0):
            network = nn.ModuleDict({name: nn.Conv2d(3, 3, kernel)})
            return initialise(network, seed)[name].weight.flatten()[0].item()

        assert len({first(), first(name="b"), first(kernel=3), first(seed=1)}) == 4
        assert first() == first()

    def test_global_generator_is_left_alone(self):
        layer, before = nn.Linear(2, 2), torch.get_rng_state()
        initialise(layer, 0)
        assert torch.equal(before, torch.get_rng_state())


class TestBadInput:
    def test_unknown_proxy(self):
        with pytest.raises(UserError, match=r"unknown proxy 'synflw': choose from synflow, log-synflow, snip"):
            proxy("synflw")

    @pytest.mark.parametrize(
        ("images", "labels", "said"),
        [
            (torch.zeros(1, 3, 8, 8), torch.zeros(1), "choose a larger batch"),
            (torch.zeros(2, 3, 8, 8), torch.zeros(3), "choose a larger batch"),
            (torch.zeros(2, 3, 2, 2), torch.zeros(2), "choose a larger image size"),
            (torch.zeros(2, 1, 8, 8), torch.zeros(2), r"\[batch, 3, height, width\]"),
            (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), torch.zeros(2), "float images"),
        ],
    )
    def test_batch(self, images, labels, said, small):
        with pytest.raises(UserError, match=said) as caught:
            Probe(small, images, labels, cross_entropy, torch.Generator())
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-1shot1-s1"])
def test_zen_looks_at_the_map_before_the_global_pool(name, monkeypatch):
    """On the benchmarks' networks the difference is measured on what is averaged and classified."""
    space = spaces.get(name)
    network = space.network(space.at(len(space) // 2), channels=4, cells_per_stage=1, classes=5)
    averaged = []
    network.classifier.register_forward_pre_hook(lambda _m, inputs: averaged.append(inputs[0].clone()))
    seen = []
    subtract = torch.Tensor.__sub__
    monkeypatch.setattr(
        torch.Tensor,
        "__sub__",
        lambda a, b: (seen.append((a, b)), subtract(a, b))[1] if a.ndim == 4 else subtract(a, b),
    )
    score("zen", network, torch.zeros(3, 3, 8, 8), torch.zeros(3))
    # The replica carries the hook of the network along, and its list: two passes a draw.
    for (before, after), means in zip(seen, zip(averaged[::2], averaged[1::2], strict=True), strict=True):
        for features, mean in zip((before, after), means, strict=True):
            torch.testing.assert_close(features.mean((2, 3)).float(), mean)
