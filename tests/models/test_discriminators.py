# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.adversarial import information_map, reverse_gradient
from torchgeo_experts.models.discriminators import ConvDiscriminator, MLPDiscriminator


class TestMLP:
    def test_layers(self) -> None:
        net = MLPDiscriminator(5, 3)
        linear = [m for m in net if isinstance(m, nn.Linear)]
        sizes = [(m.in_features, m.out_features) for m in linear]
        assert sizes == [(5, 1024), (1024, 1024), (1024, 3)]
        assert net(torch.randn(4, 5)).shape == (4, 3)
        shallow = MLPDiscriminator(5, 2, width=7, depth=1)
        assert [tuple(p.shape) for p in shallow.parameters()][:2] == [(7, 5), (7,)]

    def test_no_depth_is_a_linear_layer(self) -> None:
        net, x = MLPDiscriminator(5, 2, depth=0), torch.randn(4, 5)
        torch.testing.assert_close(net(x), F.linear(x, net[0].weight, net[0].bias))

    def test_a_sample_does_not_see_the_others(self) -> None:
        torch.manual_seed(0)
        net, x = MLPDiscriminator(5, 3, width=16).train(), torch.randn(6, 5)
        single = torch.cat([net(sample[None]) for sample in x])
        torch.testing.assert_close(net(x), single)
        torch.testing.assert_close(net.eval()(x), single)

    def test_tells_shifted_batches_of_one_domain_apart(self) -> None:
        torch.manual_seed(0)
        net = MLPDiscriminator(4, 1, width=32)
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(60):
            source, target = torch.randn(16, 4), torch.randn(16, 4) + 2
            # With batch statistics these two would look the same.
            loss = F.softplus(net(source)).mean() + F.softplus(-net(target)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert loss.item() < 0.3


def published(in_channels: int) -> nn.Sequential:
    """AdvEnt's discriminator, layer by layer."""
    layers: list[nn.Module] = []
    for old, new in [(in_channels, 64), (64, 128), (128, 256), (256, 512)]:
        layers += [nn.Conv2d(old, new, 4, 2, 1), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.Conv2d(512, 1, 4, 2, 1))


class TestConv:
    @pytest.mark.parametrize('size', [(32, 32), (33, 70), (64, 32)])
    def test_is_that_of_advent(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        net, expected = ConvDiscriminator(3), published(3)
        expected.load_state_dict(
            {k.removeprefix('layers.'): v for k, v in net.state_dict().items()}
        )
        maps = torch.rand(2, 3, *size)
        found = net(maps)
        assert found.shape == (2, 1, size[0] // 32, size[1] // 32)
        torch.testing.assert_close(found, expected(maps))

    @pytest.mark.parametrize('size', [(1, 1), (8, 8), (16, 40), (31, 5)])
    def test_small_maps_are_enlarged(self, size: tuple[int, int]) -> None:
        torch.manual_seed(0)
        net = ConvDiscriminator(3, width=4)
        maps = torch.rand(2, 3, *size, requires_grad=True)
        found = net(maps)
        assert found.shape == (2, 1, 1, max(1, size[1] // 32))
        (grad,) = torch.autograd.grad(found.sum(), maps)
        # No pixel is left out.
        assert (grad.abs().amax(dim=1) > 0).float().mean() > 0.9

    def test_doubling_is_half_the_stride(self) -> None:
        torch.manual_seed(0)
        net = ConvDiscriminator(2, width=4)
        maps = torch.rand(1, 2, 16, 16)
        twice = maps.repeat_interleave(2, dim=-1).repeat_interleave(2, dim=-2)
        torch.testing.assert_close(net(maps), net(twice))

    def test_dates_are_judged_one_by_one(self) -> None:
        torch.manual_seed(0)
        net = ConvDiscriminator(3, width=4)
        series = torch.rand(2, 3, 5, 32, 32)
        found = net(series).unflatten(0, (2, 5))
        for date in range(5):
            torch.testing.assert_close(found[:, date], net(series[:, :, date]))

    def test_autocast(self) -> None:
        net = ConvDiscriminator(3, width=4)
        with torch.autocast('cpu', torch.bfloat16):
            found = net(torch.rand(2, 3, 16, 16))
        assert found.dtype == torch.bfloat16 and found.isfinite().all()

    def test_host_does_not_wait_for_numbers(self) -> None:
        with FakeTensorMode():
            net = ConvDiscriminator(3, width=4)
            net(torch.rand(2, 3, 16, 16)).mean().backward()


def judge(net: nn.Module, logits: Tensor, label: float) -> Tensor:
    scores = net(information_map(logits))
    return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, label))


def test_one_backward_pass_is_that_of_two_optimizers() -> None:
    # AdvEnt: the segmenter plays against frozen weights of the discriminator.
    torch.manual_seed(0)
    net = ConvDiscriminator(3, width=4)
    source, target = torch.randn(2, 2, 3, 32, 32)
    target.requires_grad_()
    (fool,) = torch.autograd.grad(judge(net, target, 0.0), target)

    def own_loss() -> Tensor:
        return judge(net, source, 0.0) + judge(net, target.detach(), 1.0)

    own = torch.autograd.grad(own_loss(), list(net.parameters()))

    frozen = {name: p.detach() for name, p in net.named_parameters()}

    class Frozen(nn.Module):
        def forward(self, maps: Tensor) -> Tensor:
            found: Tensor = torch.func.functional_call(net, frozen, (maps,))
            return found

    (judge(Frozen(), target, 0.0) + own_loss()).backward()
    torch.testing.assert_close(target.grad, fool)
    for p, grad in zip(net.parameters(), own, strict=True):
        torch.testing.assert_close(p.grad, grad)


def test_reversal_before_a_discriminator() -> None:
    torch.manual_seed(0)
    net, x = MLPDiscriminator(4, 2, width=8), torch.randn(6, 4, requires_grad=True)
    domain = torch.arange(6) % 2
    (plain,) = torch.autograd.grad(F.cross_entropy(net(x), domain), x)
    loss = F.cross_entropy(net(reverse_gradient(x, 0.5)), domain)
    (found,) = torch.autograd.grad(loss, x)
    torch.testing.assert_close(found, -0.5 * plain)
