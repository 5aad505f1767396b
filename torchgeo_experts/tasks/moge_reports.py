# Copyright (c) torchgeo-experts contributors.
# Licensed under the MIT License.

"""What a task with geographical experts tells: routes, and what each expert can do."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from torchgeo.datasets.utils import Sample

from ..losses import cka_matrix
from ..metrics import GroupMeans
from ..models import Features, SingleNet
from ..models.moge import MoGEBackbone
from ..models.moge.backbone import Mode
from ..plots import plot_matrix, plot_mixture_weights
from ..routing import RoutingMap, effective_number
from .base import DomainTask
from .figures import save_figure
from .tables import write_rows, write_weights

#: Batches of the test whose tokens similarities of experts are measured on, and the most
#: tokens of each.
CKA_BATCHES, CKA_TOKENS = 8, 4096


class MoGEReports(DomainTask):
    """Mix-in that tells about geographical experts at test time.

    All of it is of the last block with experts. ``SharedExpert`` is MoGE-SE: the shared
    expert alone. ``ImageRouter`` takes no place for known: routes come from the images.
    """

    model: SingleNet
    #: Mean route of each group.
    group_routes: GroupMeans
    #: Accuracy of each expert, where each expert is the first choice; the last row is of
    #: images that no expert is chosen for: of unknown places, or too far away.
    expert_domains: GroupMeans

    @property
    def backbone(self) -> MoGEBackbone:
        """The Vision Transformer with experts."""
        backbone = self.model.backbone
        assert isinstance(backbone, MoGEBackbone)
        return backbone

    def setup(self, stage: str) -> None:
        """Make room for what is measured.

        Args:
            stage: Either 'fit', 'validate', 'test' or 'predict'.
        """
        super().setup(stage)
        count = self.hparams['num_experts']
        self.group_routes = GroupMeans(len(self.group_names), count)
        self.expert_domains = GroupMeans(count + 1, count)
        self._similarities: list[Tensor] = []

    @contextmanager
    def routing(self, mode: Mode) -> Iterator[None]:
        """Route images in another way for a while.

        Args:
            mode: 'routed', 'imitated', 'shared', or the number of an expert.
        """
        before, self.backbone.mode = self.backbone.mode, mode
        try:
            yield
        finally:
            self.backbone.mode = before

    def observe(self, batch: Sample, features: Features) -> None:
        """Keep the routes of a test batch, and score every expert on it.

        Args:
            batch: A test batch.
            features: What the backbone gave.
        """
        super().observe(batch, features)
        size, group = len(batch['image']), self.group(batch)
        route = self.backbone.routes[-1]
        weights, known = route.weights[:size], route.known[:size]
        self.group_routes.update(weights, group)
        self._observe_similarity()

        target = self.target(batch)
        ways: dict[str, Mode] = {'SharedExpert': 'shared'}
        if self.backbone.router is not None:
            ways['ImageRouter'] = 'imitated'
        decided = {
            n: self.criterion.predict(self._logits(batch, m)) for n, m in ways.items()
        }
        self.score_test(decided, self.criterion.shape_target(target), group)
        forced = [self._logits(batch, e) for e in range(weights.shape[1])]
        accuracies = self.criterion.accuracies(torch.stack(forced, dim=1), target)
        chosen = known & (weights.sum(dim=1) > 0)
        domain = weights.argmax(dim=1).where(chosen, weights.shape[1])
        self.expert_domains.update(accuracies, domain)

    def _logits(self, batch: Sample, mode: Mode) -> Tensor:
        with self.routing(mode):
            return self.model.predict(self.model.backbone.read(batch))

    def _observe_similarity(self) -> None:
        """Measure how alike the experts are on the tokens of a batch."""
        if len(self._similarities) == CKA_BATCHES:
            return
        part = self.backbone.parts[-1]
        tokens = part.passage.tokens.flatten(0, 1)[:CKA_TOKENS]
        outputs = torch.cat([part.experts.each(tokens), part.shared(tokens)[None]])
        self._similarities.append(cka_matrix(outputs.float(), 'unbiased'))

    def on_test_epoch_end(self) -> None:
        """Log test metrics; write tables and figures of routes and experts."""
        super().on_test_epoch_end()
        routes = self.group_routes.compute().cpu()
        domains = self.expert_domains.compute().cpu()
        counts = self.expert_domains.samples.cpu()
        self.group_routes.reset()
        self.expert_domains.reset()
        similarity = torch.stack(self._similarities).nanmean(dim=0).cpu()
        self._similarities.clear()
        self._report(routes, domains, counts, similarity)

    @rank_zero_only
    def _report(
        self, routes: Tensor, domains: Tensor, counts: Tensor, similarity: Tensor
    ) -> None:
        names = [str(e) for e in range(routes.shape[1])]
        folder = self.report_dir
        self._report_usage(counts[:-1])
        write_weights(folder / 'routes.csv', self.group_names, names, routes)
        figure = plot_mixture_weights(routes, self.group_names, names)
        save_figure(self, figure, 'routes')

        rows = [*names, 'none']
        table = [
            [row, int(count), *values]
            for row, count, values in zip(
                rows, counts.tolist(), domains.tolist(), strict=True
            )
        ]
        header = ['first choice', 'samples', *names]
        write_rows(folder / 'expert_domains.csv', header, table)
        figure = plot_matrix(domains, rows, names, 'accuracy')
        figure.axes[0].set(
            ylabel='samples whose first choice is', xlabel='all by expert'
        )
        save_figure(self, figure, 'expert_domains')

        compared = [*names, 'shared']
        table = [[n, *v] for n, v in zip(compared, similarity.tolist(), strict=True)]
        write_rows(folder / 'cka.csv', ['expert', *compared], table)
        figure = plot_matrix(similarity, compared, compared, 'linear CKA, unbiased')
        save_figure(self, figure, 'cka')
        self._report_map()

    def _report_usage(self, first: Tensor) -> None:
        """Tell how many images have each expert as their first choice."""
        shares = first / first.sum().clamp(min=1)
        number = effective_number(first.double()) if first.any() else torch.nan
        rows = [[e, int(n), s] for e, (n, s) in enumerate(zip(first, shares.tolist()))]
        header = ['expert', 'first choice of', 'share', 'effective number of experts']
        table = [[*row, number if not row[0] else ''] for row in rows]
        write_rows(self.report_dir / 'expert_usage.csv', header, table)

    def _report_map(self) -> None:
        """Draw what the gate decides where it was trained, or all over the Earth."""
        routing = RoutingMap.of(self.backbone)
        write_rows(self.report_dir / 'routing.csv', routing.header, routing.rows())
        save_figure(self, routing.plot(), 'routing')
