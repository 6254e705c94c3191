"""scikit-learn's handwritten digits: real images that the install ships."""

from __future__ import annotations

import torch

from benchmarks.images.image_set import ImageSet, digest


def load_digits() -> ImageSet:
    """1,797 grey digits of 8 x 8 pixels, made 16 x 16 by doubling each pixel and copied to three channels.

    Grey levels 0 to 16 become 0 to 255. Doubling (nearest neighbour) invents no values: averaging back to 8 pixels
    returns the original. The set has no test split.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998;
    ``sklearn.datasets.load_digits``.
    """
    from sklearn import datasets  # slow to import, and needed here only

    bunch = datasets.load_digits()
    grey = torch.from_numpy(bunch.images).mul(255 / 16).round().to(torch.uint8)
    images = grey.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, None].repeat(1, 3, 1, 1)
    labels = torch.from_numpy(bunch.target).to(torch.int64)
    return ImageSet(
        name="digits",
        images=images,
        labels=labels,
        classes=tuple(str(digit) for digit in bunch.target_names),
        provenance="scikit-learn digits",
        sha256=digest(images, labels),
    )
