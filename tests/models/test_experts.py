# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import torchgeo_experts.models.experts as module
from torchgeo_experts.models import (
    ChangeExperts,
    ConvExperts,
    ExpertBank,
    LinearExperts,
)


class Enlarging(ConvExperts):
    """Experts whose logits are enlarged."""

    def __init__(self, num_domains: int, in_features: int, num_classes: int) -> None:
        super().__init__(num_domains, in_features, num_classes, upsampling=4)


def naive(bank: ExpertBank, features: Tensor, expert: int) -> Tensor:
    """One expert, with PyTorch's own layers, image by image."""
    weight, bias = bank.weight[expert], bank.bias[expert]
    if isinstance(bank, ChangeExperts):
        # The bias cancels in the difference; it is added as a threshold.
        before, after = (F.conv2d(f, weight, padding=1) for f in features.unbind(1))
        return after - before + bias[:, None, None]
    if isinstance(bank, Enlarging):
        enlarge = torch.nn.UpsamplingBilinear2d(scale_factor=4)
        if features.ndim == 4:
            return enlarge(F.conv2d(features, weight, bias, padding=1))
        dates = [F.conv2d(f, weight, bias, padding=1) for f in features.unbind(1)]
        return torch.stack([enlarge(date) for date in dates], dim=2)
    if features.ndim == 2:
        return F.linear(features, weight, bias)
    if features.ndim == 4:
        return F.conv2d(features, weight, bias, padding=1)
    dates = [F.conv2d(f, weight, bias, padding=1) for f in features.unbind(1)]
    return torch.stack(dates, dim=2)


CASES = [
    pytest.param(LinearExperts, (3, 5), id='linear'),
    pytest.param(ConvExperts, (3, 5, 6, 7), id='maps'),
    pytest.param(ConvExperts, (3, 2, 5, 6, 7), id='series'),
    pytest.param(Enlarging, (3, 5, 2, 3), id='enlarged maps'),
    pytest.param(Enlarging, (3, 2, 5, 2, 3), id='enlarged series'),
    pytest.param(ChangeExperts, (3, 2, 5, 6, 7), id='change'),
]


@pytest.mark.parametrize('kind, shape', CASES)
class TestExpertBank:
    def make(
        self, kind: type[ExpertBank], shape: tuple[int, ...], num_domains: int
    ) -> tuple[ExpertBank, Tensor]:
        torch.manual_seed(0)
        bank = kind(num_domains, 5, 4).double()  # type: ignore[call-arg]
        features = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        return bank, features

    @pytest.mark.parametrize('num_domains', [1, 2, 55])
    def test_mixture_is_the_sum_over_experts(
        self, kind: type[ExpertBank], shape: tuple[int, ...], num_domains: int
    ) -> None:
        bank, features = self.make(kind, shape, num_domains)
        scores = torch.randn(3, num_domains, dtype=torch.float64, requires_grad=True)

        def summed(features: Tensor, mixture: Tensor) -> Tensor:
            every = [naive(bank, features, d) for d in range(num_domains)]
            weights = mixture.view(*mixture.shape, *[1] * (every[0].ndim - 1))
            return (weights * torch.stack(every, dim=1)).sum(1)

        def gradients(logits: Tensor) -> tuple[Tensor, ...]:
            inputs = (features, scores, bank.weight, bank.bias)
            return torch.autograd.grad(logits.sin().sum(), inputs)

        folded = bank.mix(features, scores.softmax(1))
        naively = summed(features, scores.softmax(1))
        torch.testing.assert_close(folded, naively)
        for found, expected in zip(gradients(folded), gradients(naively), strict=True):
            torch.testing.assert_close(found, expected)

    def test_each_sample_has_the_expert_of_its_domain(
        self, kind: type[ExpertBank], shape: tuple[int, ...]
    ) -> None:
        bank, features = self.make(kind, shape, 4)
        domain = torch.tensor([2, 0, 2])
        expected = [
            naive(bank, features[i : i + 1], d) for i, d in enumerate(domain.tolist())
        ]
        torch.testing.assert_close(bank(features, domain), torch.cat(expected))

    def test_expert_and_mixture_together_are_both(
        self, kind: type[ExpertBank], shape: tuple[int, ...]
    ) -> None:
        bank, features = self.make(kind, shape, 6)
        domain = torch.tensor([2, 0, 5])
        mixture = torch.randn(3, 6, dtype=torch.float64).softmax(1).requires_grad_()
        together = bank.forward_and_mix(features, domain, mixture)
        apart = bank(features, domain), bank.mix(features, mixture)
        inputs = (features, mixture, bank.weight, bank.bias)
        for a, b in zip(together, apart, strict=True):
            torch.testing.assert_close(a, b)
        for a, b in zip(
            torch.autograd.grad(sum(z.sin().sum() for z in together), inputs),
            torch.autograd.grad(sum(z.sin().sum() for z in apart), inputs),
            strict=True,
        ):
            torch.testing.assert_close(a, b)

    def test_chunks_are_all_experts(
        self,
        kind: type[ExpertBank],
        shape: tuple[int, ...],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        bank, features = self.make(kind, shape, 7)
        expected = torch.stack([naive(bank, features, d) for d in range(7)], dim=1)
        # Room for three experts at a time.
        monkeypatch.setattr(module, 'CHUNK_LOGITS', 3 * expected[:, 0].numel())
        if kind is ChangeExperts:
            # Counted at two maps a pair.
            monkeypatch.setattr(module, 'CHUNK_LOGITS', 6 * expected[:, 0].numel())
        chunks = list(bank.chunks(features))
        assert [len(experts) for experts, _ in chunks] == [3, 3, 1]
        torch.testing.assert_close(torch.cat([z for _, z in chunks], dim=1), expected)
        some = torch.tensor([5, 0, 6, 2])
        chunks = list(bank.chunks(features, some))
        assert torch.cat([experts for experts, _ in chunks]).equal(some)
        found = torch.cat([logits for _, logits in chunks], dim=1)
        torch.testing.assert_close(found, expected[:, some])

    def test_no_sample_gives_no_logits(
        self, kind: type[ExpertBank], shape: tuple[int, ...]
    ) -> None:
        bank, features = self.make(kind, shape, 4)
        expected = bank.mix(features, torch.ones(3, 4).double())[:0]
        none = bank.mix(features[:0], torch.ones(0, 4).double())
        assert none.shape == expected.shape


def test_dates_may_have_mixtures_of_their_own() -> None:
    torch.manual_seed(0)
    for kind in (ConvExperts, Enlarging):
        bank = kind(6, 5, 4).double()
        features = torch.randn(3, 2, 5, 6, 7, dtype=torch.float64)
        mixture = torch.randn(3, 2, 6, dtype=torch.float64).softmax(-1)
        every = torch.stack([naive(bank, features, d) for d in range(6)], dim=1)
        expected = torch.einsum('btd,bdcthw->bcthw', mixture, every)
        torch.testing.assert_close(bank.mix(features, mixture), expected)
        domain = torch.tensor([[2, 0], [1, 5], [3, 3]])
        found = bank(features, domain)
        for b, t in ((0, 0), (1, 1), (2, 0)):
            chosen = every[b, domain[b, t], :, t]
            torch.testing.assert_close(found[b, :, t], chosen)


@pytest.mark.parametrize(
    'bank, features',
    [
        (LinearExperts(20, 64, 5), torch.randn(8, 64)),
        (ConvExperts(20, 16, 5), torch.randn(8, 16, 12, 12)),
    ],
)
def test_bfloat16_mixture_is_right_to_its_rounding(
    bank: ExpertBank, features: Tensor
) -> None:
    torch.manual_seed(0)
    mixture = torch.randn(8, 20).softmax(1)
    exact = bank.mix(features, mixture)
    with torch.autocast('cpu', torch.bfloat16):
        rounded = bank.mix(features, mixture)
    # Two roundings of the weights and one of the sum.
    assert (rounded - exact).abs().max() < 3 * 2**-8 * exact.abs().max()


def test_heads_start_like_layers_of_pytorch() -> None:
    torch.manual_seed(0)
    bank, layer = ConvExperts(200, 16, 8), torch.nn.Conv2d(16, 8, 3)
    for measure in (torch.std, lambda w: w.abs().max()):
        expected = measure(layer.weight.detach()).item()
        assert measure(bank.weight.detach()).item() == pytest.approx(expected, rel=0.1)
