"""What does not fit, or is no checkpoint, is one error."""

import argparse

import pytest
import safetensors.torch
import torch

from damamba.checkpoint import (
    load_backbone,
    read,
)
from damamba.models import DAMamba
from tests.checkpoint.helpers import BASE, TINY, equal, error_of, hollow, save


def test_tiny_weights_in_base_are_one_error_that_names_both(tmp_path):
    path = save({'model': hollow(DAMamba('tiny'))}, tmp_path / 'tiny.pth')
    base = DAMamba('base')
    before = base.norm4.norm.weight.clone(), base.stem[0].weight.clone()
    text = error_of(load_backbone, base, path)
    assert text.startswith(f'{path} holds {TINY}; wanted {BASE}: ')
    assert 'missing' in text
    assert 'stem.0.weight (file 40x3x3x3, model 56x3x3x3)' in text
    assert len(text) < 1000
    assert torch.equal(base.norm4.norm.weight, before[0])
    assert torch.equal(base.stem[0].weight, before[1])


@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_a_resnets_weights_are_one_error_that_shows_some_of_their_names(prefix, empty, tmp_path):
    names = ('conv1.weight', 'bn1.weight', 'bn1.bias', 'layer1.0.conv1.weight')
    path = save({'state_dict': {f'{prefix}{name}': torch.ones(64) for name in names}}, tmp_path / 'resnet.pth')
    text = error_of(load_backbone, empty, path)
    assert f'{path} holds 4 tensors of another model (conv1.weight, bn1.weight, bn1.bias, ...)' in text
    assert 'wanted a DAMamba of depths 1, 1, 1, 2 and dims 16, 32, 48, 64' in text


def test_an_incomplete_file_is_an_error_that_names_what_is_missing(state, empty, tmp_path):
    del state['norm2.norm.weight']
    path = save(state, tmp_path / 'partial.pth')
    before = {name: value.clone() for name, value in empty.state_dict().items()}
    text = error_of(load_backbone, empty, path)
    assert str(path) in text
    assert f'{len(state)} of {len(state) + 1} tensors match; 1 missing: norm2.norm.weight' in text
    assert equal(empty.state_dict(), before)


def test_tensors_that_the_backbone_does_not_have_are_an_error_that_names_them(state, empty, tmp_path):
    path = save({**state, 'stages.0.blocks.7.odd': torch.ones(3)}, tmp_path / 'more.pth')
    assert '1 unexpected: stages.0.blocks.7.odd' in error_of(load_backbone, empty, path)


@pytest.mark.parametrize('content', [{}, {'epoch': 3}, {'model': {}}], ids=str)
def test_a_file_without_tensors_is_an_error_that_says_so(content, empty, tmp_path):
    path = save(content, tmp_path / 'nothing.pth')
    assert f'{path} holds no tensors; wanted a DAMamba' in error_of(load_backbone, empty, path)


@pytest.mark.parametrize(
    'content', [torch.ones(3), [1, 2], 'text', argparse.Namespace(a=1)], ids=lambda c: type(c).__name__
)
def test_a_file_of_something_else_is_an_error_that_says_what_it_holds(content, tmp_path):
    path = save(content, tmp_path / 'other.pth')
    assert f'{path} holds a {type(content).__name__}; wanted a checkpoint' in error_of(read, path)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
@pytest.mark.parametrize('page', ['<!DOCTYPE html>\n<html>', '\n\n<html lang="en">', '<!doctype HTML>'])
def test_a_web_page_saved_as_weights_is_an_error_that_says_what_to_do(page, ending, empty, tmp_path):
    path = tmp_path / f'page{ending}'
    path.write_text(page + '<body>blob</body>')
    text = error_of(load_backbone, empty, path)
    assert f'{path} is a web page, not weights' in text
    assert 'resolve' in text
    assert 'wanted a checkpoint (.pth or .safetensors)' in text


def test_a_pointer_of_git_lfs_is_an_error_that_says_what_to_do(tmp_path):
    path = tmp_path / 'pointer.pth'
    path.write_text('version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n')
    text = error_of(read, path)
    assert f'{path} is a Git LFS pointer' in text
    assert 'git lfs pull' in text


def test_a_missing_file_a_folder_and_an_empty_file_are_errors_that_name_them(tmp_path):
    (tmp_path / 'empty.pth').touch()
    for path, words in (
        (tmp_path / 'missing.pth', 'does not exist or is not a file; wanted a checkpoint'),
        (tmp_path, 'does not exist or is not a file; wanted a checkpoint'),
        (tmp_path / 'empty.pth', 'is empty; wanted a checkpoint'),
    ):
        assert f'{path} {words}' in error_of(read, path)


@pytest.mark.parametrize('written', ['zip', 'legacy', 'safetensors'])
def test_a_file_that_is_cut_off_anywhere_is_an_error_that_says_so(written, tmp_path):
    tensors = {f'weight{i}': torch.randn(9) for i in range(5)}
    path = tmp_path / ('whole.safetensors' if written == 'safetensors' else 'whole.pth')
    if written == 'safetensors':
        safetensors.torch.save_file(tensors, path)
    else:
        save({'state_dict': tensors, 'meta': {'epoch': 1}}, path, legacy=written == 'legacy')
    whole = path.read_bytes()
    for length in [*range(1, 60), *range(60, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        text = error_of(read, path)
        told = (f'{path} is cut off or is not a', f'{path} was refused')  # half a name is a name nobody knows
        assert text.startswith(told[: 2 if written == 'legacy' else 1]), length


def test_a_text_file_is_an_error_in_words_of_ours(tmp_path):
    path = tmp_path / 'text.pth'
    path.write_text('{"error": "not found"}')
    text = error_of(read, path)
    assert f'{path} is cut off or is not a torch checkpoint' in text
    assert 'weights_only' not in text
    assert 'documentation of torch.load' not in text
