"""Mask2Former of Hugging Face and detectron2 through the command: what it says, what it writes."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from damamba.checkpoint import read
from damamba.cli import convert_weights
from tests.checkpoint.conversion import mask2formers as models
from tests.detection import ROOT

OWNERS = {'huggingface': 'Hugging Face', 'detectron2': 'detectron2'}


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """Two classes and seven queries in both forms."""
    folder = tmp_path_factory.mktemp('theirs')
    state = models.theirs('t', classes=2).state_dict()
    state = {name: value[:7].clone() if 'queries_' in name else value for name, value in state.items()}
    save_file(state, folder / 'huggingface.safetensors')
    arrays = {name: value.numpy() for name, value in models.in_detectron2(state).items()}
    (folder / 'detectron2.pkl').write_bytes(pickle.dumps({'model': arrays, '__author__': 'me'}))
    return folder


@pytest.mark.parametrize('name', ['huggingface.safetensors', 'detectron2.pkl'])
def test_it_says_what_was_filled_what_was_left_and_under_which_licence(files, name, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    target = tmp_path / 'ours.pth'
    convert_weights.main([str(files / name), str(target), '--classes', 'Tote', 'Object'])
    said = ' '.join(capsys.readouterr().out.split())
    form, config = name.split('.')[0], 'configs/mask2former/mask2former_swin-t_coco.py'
    assert said.startswith(f"{OWNERS[form]}'s Mask2Former with Swin-T and 7 queries: ")
    assert 'classes: Tote <- row 0, Object <- row 1 ' in said
    assert f'filled: 481 of 481 parameters and buffers of {config} ' in said
    computed = '12 that the source does not have, backbone.stages.0.blocks.0.attn.w_msa.relative_position_index ...: '
    assert (computed in said) == (form == 'huggingface')
    assert 'left: criterion.empty_weight: ' in said
    assert ('.swin.layernorm.weight: a norm of Swin' in said) == (form == 'huggingface')
    assert 'num_queries=7' in said and 'CC BY-NC 4.0' in said
    assert ('"License: other"' in said) == (form == 'huggingface')
    assert said.endswith(f'next: a config for these classes that builds on {config}, as docs/bring_your_model.md shows')
    content = read(target)
    assert tuple(content['meta']['dataset_meta']['classes']) == ('Tote', 'Object')
    assert content['meta']['converted']['source'] == form
    assert torch.equal(content['state_dict']['panoptic_head.query_feat.weight'][1], query(files)[1])


@pytest.mark.parametrize(('queries', 'notes'), [(100, 0), (130, 1)])
def test_a_number_of_queries_that_is_not_the_configs_is_noted(files, queries, notes, tmp_path, capsys):
    state = read(files / 'huggingface.safetensors')['state_dict']
    rows = torch.arange(queries) % 7
    state = {name: value[rows] if 'queries_' in name else value for name, value in state.items()}
    save_file(state, tmp_path / 'theirs.safetensors')
    convert_weights.main([str(tmp_path / it) for it in ('theirs.safetensors', 'ours.pth')] + ['--classes', 'a', 'b'])
    said = ' '.join(capsys.readouterr().out.split())
    assert f'Swin-T and {queries} queries: ' in said and 'filled: 481 of 481 ' in said
    assert said.count(f'--cfg-options model.panoptic_head.num_queries={queries} ') == notes == said.count('note: ')


def test_a_config_of_another_size_is_refused(files, tmp_path, capsys):
    own, base = tmp_path / 'own.py', str(ROOT / 'configs/mask2former/mask2former_swin-b_coco.py')
    own.write_text(f'_base_ = {base!r}\ntest_dataloader = dict(dataset=dict(metainfo=dict(classes=("a", "b"))))\n')
    argv = (files / 'detectron2.pkl', tmp_path / 'o.pth', '--config', own, '--classes', 'a', 'b')
    with pytest.raises(SystemExit):
        convert_weights.main([str(it) for it in argv])
    text = f"of detectron2's Mask2Former with Swin-T and 7 queries, {own} is for Mask2Former with Swin-B\n"
    assert text in capsys.readouterr().err


def query(files):
    return read(files / 'huggingface.safetensors')['state_dict']['model.transformer_module.queries_features.weight']
