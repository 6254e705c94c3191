"""What an image set is, and how the training images of one are split for a search."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.errors import UserError


@dataclass(frozen=True, eq=False)
class ImageSet:
    """A data set in memory.

    Attributes:
        name: ``digits`` or ``cifar10``.
        images: training images, uint8 ``[n, 3, H, W]``.
        labels: their classes, int64 ``[n]``.
        classes: class names by label.
        provenance: ``scikit-learn digits``, ``official checksums verified`` or ``unverified copy``.
        sha256: ``digest`` of the training images and labels in this order.
        test_images: like ``images``, or None if the data set has no test split.
        test_labels: like ``labels``, or None.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    provenance: str
    sha256: str
    test_images: Tensor | None = None
    test_labels: Tensor | None = None


@dataclass(frozen=True, eq=False)
class SearchImages:
    """The two disjoint parts of the training images that a search may see.

    Attributes:
        name: of the image set.
        train_images: what weights are trained on, uint8 ``[train, 3, size, size]``.
        train_labels: int64 ``[train]``.
        valid_images: what architecture parameters are trained on, uint8 ``[valid, 3, size, size]``.
        valid_labels: int64 ``[valid]``.
        classes: class names by label.
        mean: of each channel of ``train_images`` scaled to [0, 1].
        std: population standard deviation of each channel, same scale.
        provenance: of the image set.
        sha256: of the whole image set, before the split.
    """

    name: str
    train_images: Tensor
    train_labels: Tensor
    valid_images: Tensor
    valid_labels: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: str
    sha256: str


def digest(images: Tensor, labels: Tensor) -> str:
    """SHA-256 in hex over the bytes of ``images`` (uint8, channel first), then one byte a label, both in order."""
    sha = hashlib.sha256(images.contiguous().numpy().data)
    sha.update(labels.to(torch.uint8).numpy().data)
    return sha.hexdigest()


def search_split(image_set: ImageSet, *, train: int, valid: int, size: int, generator: torch.Generator) -> SearchImages:
    """Split the training images at random into a search-train and a search-valid part, balanced by class.

    Images are dealt in rounds of one random image a class, the first ``train`` to one part and the next ``valid`` to
    the other. While no class runs out, the class counts of a part differ by two at most, and so do those of any stretch
    of a part: its first n images are a fair probe.

    Args:
        image_set: where the images come from; its test split is never touched.
        train: images in the search-train part, >= 1.
        valid: images in the search-valid part, >= 1; ``train + valid`` at most the number of training images.
        size: height and width in pixels; a divisor of the native size, reached by averaging blocks of pixels.
        generator: all randomness; the same state gives the same split.

    Raises:
        UserError: too many images asked for, or a size that averaging cannot reach.
    """
    check_split(image_set, train=train, valid=valid, size=size)
    chosen = _dealing_order(image_set.labels, generator)
    parts = chosen[:train], chosen[train : train + valid]
    train_images, valid_images = (_shrink(image_set.images[part], size) for part in parts)
    mean, std = _channel_statistics(train_images)
    return SearchImages(
        name=image_set.name,
        train_images=train_images,
        train_labels=image_set.labels[parts[0]],
        valid_images=valid_images,
        valid_labels=image_set.labels[parts[1]],
        classes=image_set.classes,
        mean=mean,
        std=std,
        provenance=image_set.provenance,
        sha256=image_set.sha256,
    )


def check_split(image_set: ImageSet, *, train: int, valid: int, size: int) -> None:
    """Raise ``UserError`` where ``search_split`` would."""
    available = len(image_set.labels)
    if train < 1 or valid < 1 or train + valid > available:
        raise UserError(
            f"cannot split {image_set.name} into {train:,} + {valid:,} images: "
            f"choose two positive numbers that add up to at most {available:,}"
        )
    native = image_set.images.shape[-1]
    if size < 1 or native % size:
        divisors = ", ".join(str(d) for d in range(1, native + 1) if native % d == 0)
        raise UserError(f"cannot average {image_set.name} from {native} to {size} pixels: choose a size of {divisors}")


def _dealing_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random permutation of all images in which each class has its k-th image in round k."""
    shuffled = torch.randperm(len(labels), generator=generator)
    by_class = labels[shuffled].argsort(stable=True)
    counts = labels.bincount()
    first = counts.cumsum(0) - counts
    rounds = torch.empty_like(by_class)
    rounds[by_class] = torch.arange(len(labels)) - first.repeat_interleave(counts)
    return shuffled[rounds.argsort(stable=True)]


def _shrink(images: Tensor, size: int) -> Tensor:
    """Average square blocks of pixels, rounding halves up. Integers only, so the result is the same everywhere."""
    factor = images.shape[-1] // size
    if factor == 1:
        return images
    totals = images.reshape(-1, 3, size, factor, size, factor).sum((3, 5), dtype=torch.int32)
    area = factor * factor
    return totals.add_(area // 2).floor_divide_(area).to(torch.uint8)


def _channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and population standard deviation of each channel on the scale [0, 1]."""
    total = torch.zeros(3, dtype=torch.float64)
    squares = torch.zeros(3, dtype=torch.float64)
    for block in torch.split(images, 1024):  # bounds the float copy; sums of integers are exact in float64
        values = block.double()
        total += values.sum((0, 2, 3))
        squares += values.square().sum((0, 2, 3))
    pixels = images.numel() // 3
    mean = total / pixels
    std = (squares / pixels - mean.square()).clamp(min=0).sqrt()
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())
