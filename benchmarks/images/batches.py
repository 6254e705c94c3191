"""Minibatches from tensors in memory: permutation, crop, mirror and cutout of a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.errors import UserError

Batch = tuple[Tensor, Tensor]
"""Normalised images, float32 ``[B, 3, H, W]``, and labels, int64 ``[B]``."""


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images at random. The default does nothing.

    Attributes:
        padding: black pixels added on each side before a crop of the original size (4 is customary at 32 pixels).
        flip: whether half of the images are mirrored left to right.
        cutout: side in pixels of the square set to the mean colour, its centre uniform over the image and its parts
            outside dropped (DeVries and Taylor, arXiv 1708.04552); 0 for none.
    """

    padding: int = 0
    flip: bool = False
    cutout: int = 0


def epoch_batches(
    images: Tensor,
    labels: Tensor,
    *,
    batch_size: int,
    generator: torch.Generator,
    augmentation: Augmentation,
    mean: Sequence[float],
    std: Sequence[float],
    channels_last: bool = True,
) -> Iterator[Batch]:
    """One epoch in a fresh random order, augmented and normalised; a last short batch is dropped.

    The generator is used up when this is called, not as batches are taken: what it gives next does not depend on how
    far the epoch was read, nor on the kind of augmentation.

    Args:
        images: uint8 ``[n, 3, H, W]``, on any device.
        labels: int64 ``[n]``.
        batch_size: images in a batch, 1 <= batch_size <= n.
        generator: all randomness; the same state gives the same bits.
        augmentation: what is done to the images.
        mean: of each channel, on the scale [0, 1].
        std: of each channel, same scale.
        channels_last: whether batches are laid out channels last in memory; their shape is the same.

    Raises:
        UserError: a batch size outside 1 to n.
    """
    if not 1 <= batch_size <= len(images):
        raise UserError(f"batch size {batch_size} does not fit: choose 1 to {len(images)}, the number of images")
    order = torch.randperm(len(images), generator=generator)[: len(images) // batch_size * batch_size]
    draws = draw(len(order), images.shape[2:], augmentation, generator)
    parts = zip(*(torch.split(each.to(images.device), batch_size) for each in (order, draws)), strict=True)
    return (
        (_lay_out(augment(images[chosen], drawn, augmentation, mean, std), channels_last), labels[chosen])
        for chosen, drawn in parts
    )


def probe(
    images: Tensor, labels: Tensor, n: int, *, mean: Sequence[float], std: Sequence[float], channels_last: bool = True
) -> Batch:
    """The first ``n`` images as they are, normalised: a fixed batch to measure on.

    Raises:
        UserError: ``n`` outside 1 to the number of images.
    """
    if not 1 <= n <= len(images):
        raise UserError(f"cannot take a probe of {n} images: choose 1 to {len(images)}")
    return _lay_out(_normalise(images[:n], mean, std), channels_last), labels[:n]


def draw(n: int, shape: Sequence[int], augmentation: Augmentation, generator: torch.Generator) -> Tensor:
    """What happens to each of ``n`` images of height and width ``shape``.

    Everything is drawn whether ``augmentation`` uses it or not, so that runs with and without one part of it share the
    other parts.

    Returns:
        int64 ``[n, 5]`` on the generator's device: top and left of the crop in the padded image, whether it is mirrored
        (0 or 1), row and column of the cutout's centre.
    """
    shifts = 2 * augmentation.padding + 1
    limits = (shifts, shifts, 2, *shape)
    return torch.stack(
        [torch.randint(limit, (n,), generator=generator, device=generator.device) for limit in limits], dim=1
    )


def augment(
    images: Tensor, draws: Tensor, augmentation: Augmentation, mean: Sequence[float], std: Sequence[float]
) -> Tensor:
    """Crop, mirror, normalise and cut out uint8 images ``[B, 3, H, W]`` as ``draws`` ``[B, 5]`` say."""
    batch = _normalise(_crop(images, draws, augmentation), mean, std)
    if augmentation.cutout:
        batch.masked_fill_(_holes(draws, images.shape[2:], augmentation.cutout), 0.0)  # zero is the mean colour
    return batch


def _crop(images: Tensor, draws: Tensor, augmentation: Augmentation) -> Tensor:
    """Pad, crop and mirror in one gather; uint8 in and out."""
    batch, channels, height, width = images.shape
    padding = augmentation.padding
    padded = functional.pad(images, (padding,) * 4).flatten(2)
    top, left, mirrored, _, _ = draws.unbind(1)
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(batch, width)
    if augmentation.flip:
        columns = torch.where(mirrored[:, None].bool(), columns.flip(1), columns)
    pixels = rows[:, :, None] * (width + 2 * padding) + (left[:, None] + columns)[:, None, :]
    return padded.gather(2, pixels.view(batch, 1, -1).expand(-1, channels, -1)).view(images.shape)


def _holes(draws: Tensor, shape: Sequence[int], side: int) -> Tensor:
    """Which pixels the cutout covers, bool ``[B, 1, H, W]``."""

    def inside(centre: Tensor, length: int) -> Tensor:
        offset = torch.arange(length, device=draws.device) - (centre[:, None] - side // 2)
        return (offset >= 0) & (offset < side)

    rows, columns = inside(draws[:, 3], shape[0]), inside(draws[:, 4], shape[1])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """From uint8 to float32 with mean 0 and standard deviation 1 a channel."""
    centre, scale = (255 * torch.tensor(v, device=images.device)[:, None, None] for v in (mean, std))
    return images.float().sub_(centre).div_(scale)


def _lay_out(images: Tensor, channels_last: bool) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
