"""The batch norm and the pooling of second derivatives against PyTorch's."""

from __future__ import annotations

import torch
from torch.nn import functional

from methods.supernets.twice import average_pool, batch_norm


def images(height: int = 4, width: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 2, height, width, dtype=torch.float64, generator=generator).requires_grad_()


def scale() -> torch.Tensor:
    return torch.tensor([0.5, -1.5], dtype=torch.float64, requires_grad=True)


def test_it_is_a_batch_norm() -> None:
    x = 2 + 3 * images().detach()
    expected = functional.batch_norm(x, None, None, scale(), None, training=True, eps=1e-2)
    torch.testing.assert_close(batch_norm(x, scale(), 1e-2), expected)


def test_derivatives_of_batch_norm_equal_finite_differences() -> None:
    assert torch.autograd.gradcheck(lambda z, s: batch_norm(z, s, 1e-2), (images(), scale()))
    assert torch.autograd.gradgradcheck(lambda z, s: batch_norm(z, s, 1e-2), (images(), scale()))


def test_it_is_an_average_pooling() -> None:
    for height, width in ((4, 5), (1, 3), (2, 2), (1, 1)):
        x = images(height, width)
        expected = functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)
        torch.testing.assert_close(average_pool(x), expected)
        last = x.detach().contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(average_pool(last), expected)


def test_derivatives_of_pooling_equal_finite_differences() -> None:
    assert torch.autograd.gradcheck(average_pool, images())
    assert torch.autograd.gradgradcheck(average_pool, images())
