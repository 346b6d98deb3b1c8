"""An exported backbone is one graph, in which our two operators stand by their names: it runs wherever they do."""

import pytest
import torch

from damamba.models import fuse
from tests.models.helpers import SHORT, mini

OURS = {'damamba.adaptive_sample.default', 'damamba.selective_scan.default'}


@pytest.mark.parametrize('strict', [True, False])
@pytest.mark.parametrize('fused', [True, False])
def test_an_export_has_our_two_operators_whatever_ran_them(strict, fused, close):
    model = mini(arch=SHORT, out_indices=(0, 1)).eval()
    model = fuse(model) if fused else model
    picture, other = torch.randn(1, 3, 64, 96), torch.randn(2, 3, 96, 64)
    sizes = {0: torch.export.Dim.AUTO, 2: torch.export.Dim.AUTO, 3: torch.export.Dim.AUTO}
    program = torch.export.export(model, (torch.randn(2, 3, 64, 96),), dynamic_shapes=(sizes,), strict=strict)
    targets = {str(node.target) for node in program.graph.nodes}
    assert {target for target in targets if 'damamba' in target} == OURS
    for x in (picture, other):
        with torch.no_grad():
            for value, truth in zip(program.module()(x), model(x), strict=True):
                close(value, truth)
