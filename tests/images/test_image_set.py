"""Digits, and the split of an image set for a search."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from benchmarks.errors import UserError
from benchmarks.images import ImageSet, load, search_split
from benchmarks.images.image_set import digest


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits() -> ImageSet:
    return load("digits")


def numbered(labels: list[int], side: int = 4) -> ImageSet:
    """A set whose image i has i in its first pixel, so that an image tells where it came from."""
    images = torch.arange(len(labels) * 3 * side * side).remainder(251).to(torch.uint8).view(-1, 3, side, side)
    images[:, 0, 0, 0] = torch.arange(len(labels))
    label = torch.tensor(labels)
    return ImageSet("numbered", images, label, ("a", "b", "c"), "made up", digest(images, label))


def test_digits_are_the_originals_doubled(digits):
    original = load_digits()
    assert digits.images.shape == (1797, 3, 16, 16)
    assert (digits.images.dtype, digits.labels.dtype) == (torch.uint8, torch.int64)
    np.testing.assert_array_equal(digits.labels, original.target)
    for channel in range(3):
        for dy in range(2):
            for dx in range(2):
                grey = digits.images[:, channel, dy::2, dx::2].double() * 16 / 255
                np.testing.assert_array_equal(grey.round(), original.images)
    assert digits.images.max() == 255
    assert digits.classes == tuple("0123456789")
    assert digits.provenance == "scikit-learn digits"
    assert digits.test_images is None


def test_digits_keep_the_checksum_that_results_are_stored_under(digits):
    assert digits.sha256 == "5295538b7d45a42ed7333025c7dd880d18560206b0a6988aa58aad6b74e51e31"
    other = digits.images.clone()
    other[3, 1, 4, 1] ^= 1
    assert digest(other, digits.labels) != digits.sha256
    assert digest(digits.images, digits.labels.roll(1)) != digits.sha256


def test_image_sets_are_frozen(digits):
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.name = "other"


def test_split_is_disjoint_balanced_and_keeps_labels(digits):
    split = search_split(numbered([0, 1, 2] * 20), train=23, valid=31, size=4, generator=seeded(0))
    train, valid = split.train_images[:, 0, 0, 0].tolist(), split.valid_images[:, 0, 0, 0].tolist()
    assert len(train) == 23
    assert len(valid) == 31
    assert len({*train, *valid}) == 54
    assert split.train_labels.tolist() == [i % 3 for i in train]
    assert split.valid_labels.tolist() == [i % 3 for i in valid]

    split = search_split(digits, train=768, valid=768, size=16, generator=seeded(0))
    for labels in (split.train_labels, split.valid_labels):
        for n in (64, 256, 768):
            counts = labels[:n].bincount(minlength=10)
            assert counts.max() - counts.min() <= 2
    assert (split.name, split.provenance, split.sha256) == (digits.name, digits.provenance, digits.sha256)


def test_split_covers_an_unbalanced_set_completely():
    split = search_split(numbered([0] * 3 + [1] * 9 + [2] * 5), train=8, valid=9, size=4, generator=seeded(1))
    both = torch.cat([split.train_images, split.valid_images])[:, 0, 0, 0]
    assert sorted(both.tolist()) == list(range(17))


def test_split_depends_on_the_seed_alone(digits):
    def split(seed: int) -> torch.Tensor:
        return search_split(digits, train=100, valid=100, size=16, generator=seeded(seed)).train_images

    assert torch.equal(split(3), split(3))
    assert not torch.equal(split(3), split(4))


@given(seed=st.integers(0, 2**32), factor=st.sampled_from([1, 2, 4]))
def test_shrinking_averages_blocks_and_rounds_halves_up(seed, factor):
    images = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=seeded(seed))
    labels = torch.arange(6) % 3
    image_set = ImageSet("noise", images, labels, ("a", "b", "c"), "made up", "")
    split = search_split(image_set, train=5, valid=1, size=8 // factor, generator=seeded(seed))
    native = search_split(image_set, train=5, valid=1, size=8, generator=seeded(seed))
    blocks = native.train_images.numpy().astype(float).reshape(5, 3, 8 // factor, factor, 8 // factor, factor)
    np.testing.assert_array_equal(split.train_images, np.floor(blocks.mean((3, 5)) + 0.5))
    assert split.train_images.dtype == torch.uint8


def test_mean_and_std_are_those_of_the_train_part():
    images = torch.randint(0, 256, (3000, 3, 4, 4), dtype=torch.uint8, generator=seeded(0))
    images[:, 1] //= 2
    image_set = ImageSet("noise", images, torch.zeros(3000, dtype=torch.int64), ("a",), "made up", "")
    split = search_split(image_set, train=2500, valid=500, size=4, generator=seeded(0))
    pixels = split.train_images.numpy() / 255
    np.testing.assert_allclose(split.mean, pixels.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(split.std, pixels.std((0, 2, 3)), rtol=1e-12)


@pytest.mark.parametrize(
    ("train", "valid", "size", "complaint"),
    [
        (1000, 798, 16, "1,000 \\+ 798 images.*at most 1,797"),
        (0, 10, 16, "two positive numbers"),
        (10, 0, 16, "two positive numbers"),
        (10, 10, 32, "from 16 to 32 pixels: choose a size of 1, 2, 4, 8, 16"),
        (10, 10, 12, "choose a size of 1, 2, 4, 8, 16"),
        (10, 10, 0, "choose a size of"),
    ],
)
def test_impossible_splits_are_refused(digits, train, valid, size, complaint):
    with pytest.raises(UserError, match=complaint):
        search_split(digits, train=train, valid=valid, size=size, generator=seeded(0))


def test_unknown_image_set_is_refused():
    with pytest.raises(UserError, match="unknown image set 'mnist': choose from digits, cifar10"):
        load("mnist")
