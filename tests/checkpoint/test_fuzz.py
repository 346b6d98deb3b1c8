"""Checkpoints with bytes changed, cut out and put in: read, or refused in a sentence, and nothing else."""

import io

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from damamba.checkpoint import CheckpointError, read, state_dict_of

TENSORS = {f'layer{number}.weight': torch.arange(number + 1.0) for number in range(4)}


def whole(kind: str) -> bytes:
    if kind == 'safetensors':
        return safetensors.torch.save(TENSORS, {'meta': '{"epoch": 1}'})
    file = io.BytesIO()
    content = {'state_dict': TENSORS, 'meta': {'epoch': 1}, 'optimizer': {'state': {0: {'step': torch.ones(())}}}}
    torch.save(content, file, _use_new_zipfile_serialization=kind == 'zip')
    return file.getvalue()


WHOLE = {kind: whole(kind) for kind in ('zip', 'legacy', 'safetensors')}
CHANGE = st.tuples(st.sampled_from(['flip', 'cut', 'insert', 'drop']), st.floats(0, 1), st.binary(max_size=8))


def changed(content: bytes, changes) -> bytes:
    for what, share, other in changes:
        place = int(share * len(content))
        if what == 'cut':
            content = content[: max(place, 1)]
        elif what == 'insert':
            content = content[:place] + other + content[place:]
        elif what == 'drop':
            content = content[:place] + content[place + len(other) :]
        else:
            content = content[:place] + other + content[place + len(other) :]
    return content


@pytest.mark.parametrize('kind', WHOLE)
@settings(max_examples=250, derandomize=True, deadline=5000, suppress_health_check=list(HealthCheck), database=None)
@given(changes=st.lists(CHANGE, min_size=1, max_size=4))
def test_whatever_was_changed_it_is_read_or_refused_in_words(kind, changes, tmp_path):
    path = tmp_path / ('a.safetensors' if kind == 'safetensors' else 'a.pth')
    path.write_bytes(changed(WHOLE[kind], changes))
    try:
        state_dict_of(read(path))
    except CheckpointError as error:
        assert str(error).startswith(str(path)) and ' ()' not in str(error)
