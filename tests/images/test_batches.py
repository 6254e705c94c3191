"""Batched augmentation against a loop over images, and the order and randomness of an epoch."""

from __future__ import annotations

import timeit

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import UserError
from benchmarks.images import Augmentation, epoch_batches, load, probe, search_split
from benchmarks.images.batches import augment, draw

MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)
NOTHING = Augmentation()
EVERYTHING = Augmentation(padding=4, flip=True, cutout=16)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, side: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=seeded(seed))


def normalise(image: np.ndarray) -> np.ndarray:
    mean, std = (np.float32(255) * np.array(v, np.float32)[:, None, None] for v in (MEAN, STD))
    return (image.astype(np.float32) - mean) / std


def augment_one(image: np.ndarray, drawn: np.ndarray, augmentation: Augmentation) -> np.ndarray:
    """The plain way, one image at a time."""
    top, left, mirrored, row, column = drawn
    height, width = image.shape[1:]
    padding = augmentation.padding
    image = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    image = image[:, top : top + height, left : left + width]
    if augmentation.flip and mirrored:
        image = image[:, :, ::-1]
    image = normalise(image)
    if augmentation.cutout:
        first_row, first_column = row - augmentation.cutout // 2, column - augmentation.cutout // 2
        rows = slice(max(first_row, 0), max(first_row + augmentation.cutout, 0))
        columns = slice(max(first_column, 0), max(first_column + augmentation.cutout, 0))
        image[:, rows, columns] = 0
    return image


def augment_all(images: torch.Tensor, draws: torch.Tensor, augmentation: Augmentation) -> np.ndarray:
    pairs = zip(images.numpy(), draws.numpy(), strict=True)
    return np.stack([augment_one(image, drawn, augmentation) for image, drawn in pairs])


@given(
    seed=st.integers(0, 2**32),
    side=st.sampled_from([8, 16, 32]),
    augmentation=st.builds(Augmentation, st.integers(0, 5), st.booleans(), st.integers(0, 20)),
)
def test_a_batch_equals_the_loop_over_its_images(seed, side, augmentation):
    images = noise(9, side, seed)
    draws = draw(9, (side, side), augmentation, seeded(seed))
    np.testing.assert_array_equal(
        augment(images, draws, augmentation, MEAN, STD), augment_all(images, draws, augmentation)
    )


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("augmentation", [NOTHING, EVERYTHING])
def test_an_epoch_is_a_permutation_then_the_draws(channels_last, augmentation):
    images, labels = noise(50, 32), torch.arange(50)
    batches = list(
        epoch_batches(
            images, labels, batch_size=16, generator=seeded(5), augmentation=augmentation,
            mean=MEAN, std=STD, channels_last=channels_last,
        )
    )  # fmt: skip
    generator = seeded(5)
    order = torch.randperm(50, generator=generator)[:48]
    draws = draw(48, (32, 32), augmentation, generator)
    assert [len(y) for _, y in batches] == [16, 16, 16]
    assert torch.equal(torch.cat([y for _, y in batches]), order)
    np.testing.assert_array_equal(torch.cat([x for x, _ in batches]), augment_all(images[order], draws, augmentation))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for x, y in batches:
        assert (x.dtype, y.dtype, x.shape) == (torch.float32, torch.int64, (16, 3, 32, 32))
        assert x.is_contiguous(memory_format=layout)


def epoch(generator: torch.Generator, augmentation: Augmentation = EVERYTHING, n: int = 40) -> torch.Tensor:
    batches = epoch_batches(
        noise(n, 32), torch.arange(n), batch_size=8, generator=generator, augmentation=augmentation, mean=MEAN, std=STD
    )
    return torch.cat([x for x, _ in batches])


def test_the_same_seed_gives_the_same_bits_and_each_epoch_is_fresh():
    generator = seeded(1)
    first, second = epoch(generator), epoch(generator)
    assert torch.equal(first, epoch(seeded(1)))
    assert not torch.equal(first, second)


def test_the_generator_ends_in_the_same_state_however_the_epoch_is_used():
    def state_after(augmentation: Augmentation, read: int) -> torch.Tensor:
        generator = seeded(2)
        batches = epoch_batches(
            noise(40, 32), torch.arange(40), batch_size=8, generator=generator, augmentation=augmentation,
            mean=MEAN, std=STD,
        )  # fmt: skip
        for _ in range(read):
            next(batches)
        return generator.get_state()

    expected = state_after(EVERYTHING, 5)
    for augmentation, read in [(EVERYTHING, 0), (EVERYTHING, 2), (NOTHING, 5), (Augmentation(flip=True), 1)]:
        assert torch.equal(state_after(augmentation, read), expected)


def test_draws_are_uniform():
    draws = draw(20_000, (16, 16), Augmentation(padding=2), seeded(0))
    for column, choices in enumerate([5, 5, 2, 16, 16]):
        counts = draws[:, column].bincount()
        assert len(counts) == choices
        expected = 20_000 / choices
        assert ((counts - expected).square() / expected).sum() < 3 * choices + 10  # chi-squared, far in its tail
    assert abs(np.corrcoef(draws.T.numpy())[np.triu_indices(5, 1)]).max() < 0.04


def test_images_and_labels_stay_as_they_were():
    images, labels = noise(40, 32), torch.arange(40)
    before = images.clone()
    for x, _ in epoch_batches(
        images, labels, batch_size=8, generator=seeded(0), augmentation=EVERYTHING, mean=MEAN, std=STD
    ):
        x.zero_()
    x, _ = probe(images, labels, 10, mean=MEAN, std=STD)
    x.zero_()
    assert torch.equal(images, before)


def test_a_probe_is_the_first_images_normalised():
    images, labels = noise(40, 16), torch.arange(40)
    x, y = probe(images, labels, 10, mean=MEAN, std=STD)
    np.testing.assert_array_equal(x, np.stack([normalise(image) for image in images[:10].numpy()]))
    assert y.tolist() == list(range(10))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_the_train_part_is_normalised_to_mean_0_and_deviation_1():
    split = search_split(load("digits"), train=768, valid=768, size=16, generator=seeded(0))
    x, _ = probe(split.train_images, split.train_labels, 768, mean=split.mean, std=split.std)
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch_size", [0, -1, 41])
def test_batch_sizes_that_do_not_fit_are_refused_at_once(batch_size):
    with pytest.raises(UserError, match=f"batch size {batch_size} does not fit: choose 1 to 40"):
        epoch_batches(
            noise(40, 8), torch.arange(40), batch_size=batch_size, generator=seeded(0), augmentation=NOTHING,
            mean=MEAN, std=STD,
        )  # fmt: skip


@pytest.mark.parametrize("n", [0, 41])
def test_probes_that_do_not_fit_are_refused(n):
    with pytest.raises(UserError, match=f"probe of {n} images: choose 1 to 40"):
        probe(noise(40, 8), torch.arange(40), n, mean=MEAN, std=STD)


@pytest.mark.benchmark(group="augmentation of 64 images")
@pytest.mark.parametrize(("side", "padding", "cutout"), [(16, 2, 0), (32, 4, 0), (32, 4, 16)])
def test_batched_augmentation_against_the_loop(benchmark, side, padding, cutout):
    augmentation = Augmentation(padding, flip=True, cutout=cutout)
    images = noise(64, side)
    draws = draw(64, (side, side), augmentation, seeded(0))
    benchmark(augment, images, draws, augmentation, MEAN, STD)
    loop = min(timeit.repeat(lambda: augment_all(images, draws, augmentation), number=5, repeat=10)) / 5
    batched = benchmark.stats.stats.min
    benchmark.extra_info["loop over batched"] = loop / batched
    print(f"\n{side} px, cutout {cutout}: {1e3 * batched:.3f} ms a batch, {loop / batched:.1f} times as fast as a loop")
