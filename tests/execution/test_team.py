"""Work on torch's own threads: every piece once, in the caller's state, with the caller's errors."""

import threading
import time

import pytest
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from damamba.execution import team
from damamba.execution.team import each

THREADS = 3


@pytest.fixture(autouse=True)
def threads():
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(1)


def gather(pieces, look=lambda: None):
    """The pieces that came, the threads that took them, and what was seen there."""
    came, seen = [], {}

    def note(piece):
        time.sleep(0.005)
        came.append(piece)
        seen.setdefault(threading.get_ident(), look())

    each(note, pieces)
    return came, seen


def test_every_piece_comes_once_and_each_thread_takes_some():
    came, seen = gather(range(20))
    assert sorted(came) == list(range(20)) and len(seen) == THREADS


@pytest.mark.parametrize('count', [0, 1, THREADS - 1])
def test_fewer_pieces_than_threads_are_done_in_order_by_the_caller(count):
    came, seen = gather(range(count))
    assert came == list(range(count)) and set(seen) <= {threading.get_ident()}


def test_without_gnus_openmp_the_caller_does_it(monkeypatch):
    monkeypatch.setattr(team, 'openmp', lambda: None)
    assert set(gather(range(6))[1]) == {threading.get_ident()}


def test_threads_have_the_callers_modes_and_no_gradients():
    def look():
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_autocast_dtype('cpu')

    with torch.inference_mode(), torch.autocast('cpu', torch.float16):
        assert set(gather(range(9), look)[1].values()) == {(False, True, torch.float16)}
    assert {state[:2] for state in gather(range(9), look)[1].values()} == {(False, False)}
    with torch.autocast('cpu', torch.bfloat16):
        products = []
        each(lambda piece: products.append((piece @ piece).dtype), [torch.ones(4, 4)] * 6)
    assert set(products) == {torch.bfloat16}


def test_an_error_ends_the_work_and_is_the_callers():
    done = []

    def fail(piece):
        time.sleep(0.005)
        if piece == 2:
            raise ZeroDivisionError('of piece 2')
        done.append(piece)

    with pytest.raises(ZeroDivisionError, match='of piece 2'):
        each(fail, range(100))
    assert len(done) < 20
    assert sorted(gather(range(9))[0]) == list(range(9))


def test_who_counts_or_profiles_operators_sees_them_all():
    pieces = [torch.ones(4, 5)] * 6
    with FlopCounterMode(display=False) as counter:
        each(lambda piece: piece @ piece.t(), pieces)
    assert counter.get_total_flops() == 6 * 2 * 4 * 5 * 4
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        each(lambda piece: piece @ piece.t(), pieces)
    assert sum(it.count for it in profiler.key_averages() if it.key == 'aten::mm') == 6


def test_operators_inside_give_the_same_as_outside():
    x = torch.randn(64, 300, 300)
    truth, out = (x @ x).sum(2), torch.empty(64, 300)
    each(lambda i: out[i].copy_((x[i] @ x[i]).sum(1)), range(64))
    torch.testing.assert_close(out, truth)
