"""Two real processes over gloo."""

import os
import warnings
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn

from damamba.engine.launch import leave
from damamba.models import DAMamba

WORLD = 2
ARCH = dict(depths=(1, 2, 2, 1), dims=(16, 32, 48, 64))  # a block of each kind


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    """The folder in which two processes, started once, left what each of the cases below gave them."""
    folder = tmp_path_factory.mktemp('ranks')
    mp.spawn(_rank, (str(folder),), nprocs=WORLD)
    return folder


def _rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=WORLD)
    try:
        for work in (
            one_picture_per_rank,
            train_by_hand,
            statistics_after_two_steps,
            a_loss_of_one_rank_is_not_finite,
            train_and_leave,
        ):
            out = Path(folder, work.__name__)
            out.mkdir(exist_ok=True)
            work(rank, str(out))
    finally:
        leave()


def backbone() -> DAMamba:
    torch.manual_seed(0)
    model = DAMamba(ARCH, drop_path_rate=0.0).double()  # float32 differs by 1e-4 from one batch size to another
    for block in model.modules():
        if hasattr(block, 'da_scan'):
            nn.init.normal_(block.da_scan.offset.bias, std=1.5)  # samples that leave their own pixel
    return model.train()


def eval_norms(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def pictures() -> torch.Tensor:
    return torch.randn(WORLD, 3, 64, 96, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def trained(model: nn.Module) -> set[str]:
    """The names of all parameters but the fixed kernels."""
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def loss(features) -> torch.Tensor:
    """The mean over pictures of a fixed function of their features."""
    return sum(torch.sin(3 * f).flatten(1).mean(1).mean() for f in features)


def gradients(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def one_picture_per_rank(rank: int, out: str) -> None:
    model = backbone()
    eval_norms(model)
    parallel = nn.parallel.DistributedDataParallel(model, broadcast_buffers=False)
    loss(parallel(pictures()[rank : rank + 1])).backward()
    torch.save(gradients(model), f'{out}/{rank}.pth')


def test_two_processes_with_one_picture_give_the_gradients_of_one_with_two(ranks):
    model = backbone()
    eval_norms(model)
    loss(model(pictures())).backward()
    truth = gradients(model)
    for rank in range(WORLD):
        theirs = torch.load(ranks / 'one_picture_per_rank' / f'{rank}.pth', weights_only=True)
        assert theirs.keys() == truth.keys() == trained(model)
        errors = {name: (theirs[name] - g).abs().max() / g.abs().max() for name, g in truth.items()}
        worst = max(errors, key=errors.get)
        assert errors[worst] < 1e-9, (worst, errors[worst])


def train_by_hand(rank: int, out: str) -> None:
    """In float32, where the CPU's own way through a block is taken, each rank dropping other branches."""
    torch.manual_seed(0)
    model = DAMamba(ARCH, drop_path_rate=0.8).train()
    parallel = nn.parallel.DistributedDataParallel(model)
    torch.manual_seed(rank)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(2):
            model.zero_grad()
            loss(parallel(pictures().float()[rank : rank + 1])).backward()
    torch.save((gradients(model), [str(warning.message) for warning in caught]), f'{out}/{rank}.pth')


def test_processes_that_drop_different_branches_have_the_same_gradients(ranks):
    (ours, ours_said), (theirs, theirs_said) = (
        torch.load(ranks / 'train_by_hand' / f'{rank}.pth', weights_only=True) for rank in range(WORLD)
    )
    assert ours.keys() == theirs.keys() == trained(DAMamba(ARCH))
    for name, gradient in ours.items():
        assert gradient.isfinite().all() and torch.equal(gradient, theirs[name]), name
    assert [text for text in ours_said + theirs_said if 'strides' in text] == []


def statistics_after_two_steps(rank: int, out: str) -> None:
    from types import SimpleNamespace

    from damamba.engine.hooks import SyncStatisticsHook

    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    runner = SimpleNamespace(model=model, world_size=WORLD)
    hook = SyncStatisticsHook()
    hook.before_train(runner)
    torch.manual_seed(rank)
    for step in range(2):
        model(torch.randn(2, 3, 8, 8) * (rank + 1))
        before = model[1].running_var.clone()
        hook.after_train_iter(runner, step)
        torch.save((before, model[1].running_var), f'{out}/{rank}-{step}.pth')


def test_running_statistics_are_averaged_over_the_processes_at_every_step(ranks):
    folder = ranks / 'statistics_after_two_steps'
    for step in range(2):
        (own0, after0), (own1, after1) = (torch.load(folder / f'{rank}-{step}.pth') for rank in range(WORLD))
        assert not torch.allclose(own0, own1)
        torch.testing.assert_close(after0, (own0 + own1) / 2)
        assert torch.equal(after0, after1)


def a_loss_of_one_rank_is_not_finite(rank: int, out: str) -> None:
    """Each rank steps on its own gradients here, so that it has to be told of the other's."""
    import logging
    from types import SimpleNamespace

    from mmengine.optim import OptimWrapper

    from damamba.engine.finite import SkipNonFiniteHook

    model = nn.Linear(2, 1)
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    runner = SimpleNamespace(model=model, optim_wrapper=wrapper, iter=0, rank=rank, logger=logging.getLogger('ranks'))
    said = []
    runner.logger.addFilter(lambda record: said.append(record.getMessage()))
    hook = SkipNonFiniteHook()
    hook.before_train(runner)
    moved = []
    for step in range(3):
        before = model.weight.clone()
        hook.before_train_iter(runner, step, data_batch={})
        value = model(torch.ones(1, 2)).sum() * (float('inf') if (rank, step) == (1, 1) else 1)
        wrapper.update_params(value)
        hook.after_train_iter(runner, step, data_batch={}, outputs={'loss': value.detach()})
        moved.append(not torch.equal(before, model.weight))
        runner.iter += 1
    torch.save((moved, hook.skipped, said), f'{out}/{rank}.pth')


def test_all_processes_leave_a_step_out_that_one_of_them_can_not_take(ranks):
    for rank in range(WORLD):
        moved, skipped, said = torch.load(ranks / 'a_loss_of_one_rank_is_not_finite' / f'{rank}.pth')
        assert moved == [True, False, True] and skipped == 1
        assert len(said) == 1 and 'iteration 2: process 1: not finite: loss' in said[0] and 'process 0' not in said[0]


def gloo_threads() -> int:
    names = [task.read_text() for task in Path('/proc/self/task').glob('*/comm')]
    return sum('gloo' in name for name in names)


def train_and_leave(rank: int, out: str) -> None:
    parallel = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    parallel.itself = [parallel]  # a runner refers to its model in cycles too
    parallel(torch.ones(1, 2)).sum().backward()
    during = gloo_threads()
    del parallel
    leave()
    Path(out, str(rank)).write_text(f'{during} {gloo_threads()}')


def test_no_thread_of_the_group_outlives_it(ranks):
    for rank in range(WORLD):
        during, after = map(int, (ranks / 'train_and_leave' / str(rank)).read_text().split())
        assert during > 0 and after == 0


def test_the_environment_of_this_test_is_no_group():
    assert not dist.is_initialized() and 'RANK' not in os.environ
