# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What stands in dates without an image changes no loss."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from objectives.tiny import CLASSES, build, make_series_step, predict
from scipy.stats import entropy
from torch import Tensor
from torch._subclasses import FakeTensorMode

from torchgeo_experts.losses.mixing import beta_coefficient, domain_pairs
from torchgeo_experts.models.discriminators import ConvDiscriminator
from torchgeo_experts.objectives import (
    CORAL,
    DANN,
    AdvEnt,
    ClassMix,
    DeepCORAL,
    MaxSquare,
    MinEnt,
    Mixup,
    Objective,
    PixelContrast,
    PseudoLabels,
    Step,
    StyleAugment,
    TargetDANN,
    TargetStyle,
)
from torchgeo_experts.objectives.elements import draw_vectors, images_of, mean_of

#: Which dates have an image: all, some, or none.
SEEN = torch.tensor(
    [[1, 1, 0, 1], [0, 1, 1, 1], [1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 1, 0]]
).bool()
OTHER = SEEN.roll(2, 0).flip(1)

#: All that looks at more of series than their risk; there are fewer pixels than it draws.
OBJECTIVES = [
    *(MaxSquare(1.0), MinEnt(1.0), PseudoLabels(1.0, threshold=0.3), AdvEnt(1.0)),
    *(CORAL(), DeepCORAL(), DANN(width=8), TargetDANN(width=8)),
    *(Mixup(1.0), ClassMix(), StyleAugment(), TargetStyle(), PixelContrast(pixels=400)),
]
#: The same with draws of some pixels.
DRAWS = [CORAL(pixels=60), DeepCORAL(pixels=60), PixelContrast(pixels=60)]


def name(objective: Objective) -> str:
    return f'{type(objective).__name__}{getattr(objective, "pixels", "")}'


def ready(objective: Objective) -> Objective:
    objective = build(objective, maps=True)
    if isinstance(objective, AdvEnt):
        # A narrow one is faster; at first it would hardly look at its maps.
        objective.discriminator = ConvDiscriminator(CLASSES, width=4).double()
        for parameter in objective.discriminator.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return objective


def losses(objective: Objective, step: Step) -> dict[str, Tensor]:
    """Compute the terms of the loss, with draws that are always the same."""
    objective = ready(objective)
    torch.manual_seed(4)
    return {key: term.detach() for key, term in objective(step).terms.items()}


def with_noise(step: Step, scale: float) -> Step:
    """Put other numbers in dates without an image."""
    batch = dict(step.batch)
    for key, seen in (('image', SEEN), ('target_image', OTHER)):
        noise = scale * torch.randn_like(batch[key])
        batch[key] = batch[key].where(seen[:, :, None, None, None], noise)
    return replace(step, batch=batch)


@pytest.mark.parametrize('objective', [*OBJECTIVES, *DRAWS], ids=name)
def test_what_stands_there_does_not_matter(objective: Objective) -> None:
    step = make_series_step(SEEN, OTHER, progress=0.5)
    expected = losses(objective, step)
    found = losses(objective, with_noise(step, 100.0))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    if isinstance(objective, PixelContrast):  # goes by labels
        return
    every = {'valid': torch.ones_like(SEEN), 'target_valid': torch.ones_like(OTHER)}
    seen = replace(step, batch=step.batch | every)
    noticed = losses(objective, seen), losses(objective, with_noise(seen, 100.0))
    assert any(abs(noticed[0][key] - noticed[1][key]) > 1e-4 for key in expected)


@pytest.mark.parametrize('objective', OBJECTIVES, ids=name)
def test_as_if_they_were_not_there(objective: Objective) -> None:
    """The same dates are missing everywhere, or left out of the series."""
    kept = [1, 3]
    seen = torch.zeros_like(SEEN)
    seen[:, kept] = True
    step = make_series_step(seen, seen, progress=0.5)
    shorter = {'domain': step.domain}
    for key in ('image', 'target_image'):
        shorter[key] = step.batch[key][:, kept]
    short = replace(step, batch=shorter, target=step.target[:, kept])
    torch.testing.assert_close(
        losses(objective, step), losses(objective, short), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize('objective', [*OBJECTIVES, *DRAWS], ids=name)
def test_series_without_any_image(objective: Objective) -> None:
    """There is nothing to learn from, and no gradient that is no number."""
    nothing = torch.zeros_like(SEEN)
    step = make_series_step(nothing, nothing, progress=0.5)
    terms = ready(objective)(step).terms
    torch.stack(list(terms.values())).sum().backward()
    assert not any(terms.values())
    assert all(
        p.grad is None or not p.grad.any()
        for p in [*step.net.parameters(), *objective.parameters()]
    )


def test_dates_count_alike() -> None:
    step = make_series_step(SEEN, OTHER)
    found = losses(MinEnt(1.0), step)['entropy']
    p = predict(step, step.unlabelled).softmax(dim=1).detach().movedim(2, 1)
    expected = entropy(p[OTHER].numpy(), base=CLASSES, axis=1).mean()
    assert float(found) == pytest.approx(expected)


def test_deep_coral_is_of_the_others() -> None:
    step = make_series_step(SEEN, OTHER)
    found = losses(DeepCORAL(), step)['coral']
    spreads = []
    for image, seen in (('image', SEEN), ('target_image', OTHER)):
        head = step.net.backbone(step.batch[image]).head.detach()
        vectors = head.movedim(2, -1)[seen].flatten(0, -2)
        spreads.append(np.cov(vectors.numpy().T))
    expected = ((spreads[0] - spreads[1]) ** 2).mean() / 4
    assert float(found) == pytest.approx(expected)
    # Without images on one side there is nothing to compare.
    alone = make_series_step(torch.zeros_like(SEEN), OTHER)
    assert losses(DeepCORAL(), alone)['coral'] == 0


def test_mixup_of_dates_that_both_have() -> None:
    step = make_series_step(SEEN, OTHER)
    (found,) = losses(Mixup(1.0), step).values()
    torch.manual_seed(4)
    partner = domain_pairs(step.domain)
    share = float(beta_coefficient(1.0, step.target))
    image = step.batch['image'].clone()
    own, others = step.target.clone(), step.target.clone()
    for i, j in enumerate(partner.tolist()):
        for t in range(SEEN.shape[1]):
            if SEEN[i, t] and SEEN[j, t]:
                image[i, t] = (
                    share * image[i, t] + (1 - share) * step.batch['image'][j, t]
                )
                others[i, t] = own[j, t]
    assert not others.equal(own)
    logits = predict(step, {'image': image}).detach()
    risks = []
    for target in (own, others):
        each = F.cross_entropy(logits, target, ignore_index=255, reduction='none')
        judged = [each[i][target[i] != 255].mean() for i in range(len(SEEN)) if i != 3]
        risks.append(float(torch.stack(judged).mean()))
    expected = share * risks[0] + (1 - share) * risks[1]
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('count', [6, 60, 10**6])
def test_drawn_vectors(count: int) -> None:
    torch.manual_seed(0)
    # Each pixel tells its number.
    head = torch.arange(SEEN.numel() * 16).double().view(*SEEN.shape, 1, 4, 4)
    allowed = head[SEEN].flatten().tolist()
    vectors, samples, counted = draw_vectors(head, count, SEEN)
    each = min(count // 6, 64)
    assert samples.tolist() == [i for i in range(6) for _ in range(each)]
    assert (vectors[:, 0] // 64).long().equal(samples)
    drawn = vectors[counted, 0].tolist()
    assert len(set(drawn)) == len(drawn) and set(drawn) <= set(allowed)
    has = [min(each, 16 * int(row.sum())) for row in SEEN]
    assert torch.bincount(samples[counted], minlength=6).tolist() == has


def test_means_of_labels_in_a_row() -> None:
    values = torch.arange(24.0).view(12, 2)
    counted = torch.tensor([True, False, False, True])
    expected = np.r_[0:6, 18:24].mean()
    assert float(mean_of(values, counted)) == expected
    assert float(mean_of(values, torch.zeros_like(counted))) == 0


def test_host_does_not_wait_for_numbers() -> None:
    with FakeTensorMode():
        seen = torch.rand(2, 3) > 0.5
        head = torch.randn(2, 3, 5, 4, 4, requires_grad=True)
        vectors, _, counted = draw_vectors(head, 10, seen)
        mean_of(vectors, counted).backward()
        images, counted = images_of(head.transpose(1, 2), seen)
        mean_of(images, counted).backward()
