"""URLs."""

import http.server
import multiprocessing
import threading
import time

import pytest
import safetensors.torch
import torch

from damamba.checkpoint import (
    load_backbone,
    read,
)
from tests.checkpoint.helpers import equal, error_of, save


class Server(http.server.ThreadingHTTPServer):
    """Answers every request with `content`, after some `seconds`; `status` and `length` may lie."""

    content, status, length, seconds = b'', 200, None, 0.0

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.asked = []
        self.url = f'http://127.0.0.1:{self.server_port}'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        time.sleep(self.server.seconds)
        self.send_response(self.server.status)
        self.send_header('Content-Length', str(self.server.length or len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of downloads."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path / 'torch' / 'hub'))
    yield tmp_path / 'torch' / 'hub' / 'checkpoints'
    torch.hub.set_dir(before)


@pytest.mark.parametrize('ending', ['.pth', '.safetensors'])
def test_a_url_is_downloaded_once_into_torchs_cache(ending, server, cache, state, empty, tmp_path):
    path = tmp_path / f'weights{ending}'
    if ending == '.pth':
        save({'model': state}, path)
    else:
        safetensors.torch.save_file(state, path)
    server.content = path.read_bytes()
    for _ in range(2):
        load_backbone(empty, f'{server.url}/files/weights{ending}?download=true')
    assert equal(empty.state_dict(), state)
    assert server.asked == [f'/files/weights{ending}?download=true']
    (kept,) = cache.iterdir()
    assert kept.name.endswith(f'-weights{ending}')
    assert kept.read_bytes() == server.content


def test_processes_that_want_the_same_url_fetch_it_once(server, cache, state, tmp_path):
    server.content, server.seconds = save({'model': state}, tmp_path / 'weights.pth').read_bytes(), 0.5
    fork = multiprocessing.get_context('fork')
    processes = [fork.Process(target=read, args=(f'{server.url}/weights.pth',)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4 and server.asked == ['/weights.pth']


def test_two_urls_that_end_alike_are_two_files(server, cache, tmp_path):
    for number in (1.0, 2.0):
        server.content = save({'x': torch.tensor(number)}, tmp_path / 'weights.pth').read_bytes()
        assert read(f'{server.url}/{number}/weights.pth')['x'].item() == number
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize('status', [403, 404, 500])
def test_a_url_that_is_not_served_is_an_error_that_names_it_and_the_answer(status, server, cache, empty):
    server.status = status
    text = error_of(load_backbone, empty, f'{server.url}/missing.pth')
    assert f'{server.url}/missing.pth could not be downloaded' in text
    assert str(status) in text
    assert not list(cache.iterdir())


def test_a_server_that_is_not_there_is_an_error_that_names_the_url(server, cache):
    url = f'{server.url}/weights.pth'
    server.server_close()
    assert f'{url} could not be downloaded' in error_of(read, url)


def test_a_url_that_is_none_is_an_error_that_names_it(cache):
    assert 'http://127.0.0.1:port/weights.pth could not be downloaded' in error_of(
        read, 'http://127.0.0.1:port/weights.pth'
    )


def test_a_download_that_is_cut_off_is_an_error_and_is_not_kept(server, cache, state, tmp_path):
    whole = save({'model': state}, tmp_path / 'weights.pth').read_bytes()
    server.content, server.length = whole[: len(whole) // 2], len(whole)
    error_of(read, f'{server.url}/weights.pth')
    server.content = whole
    assert equal(read(f'{server.url}/weights.pth')['model'], state)


def test_a_web_page_behind_a_url_is_an_error_that_says_so(server, cache):
    server.content = b'<!DOCTYPE html><html>sign in</html>'
    assert 'is a web page, not weights' in error_of(read, f'{server.url}/weights.pth')


@pytest.mark.parametrize(
    ('given', 'fetched'),
    [
        (
            'https://huggingface.co/someone/DAMamba/blob/main/DAMamba-T.pth',
            'https://huggingface.co/someone/DAMamba/resolve/main/DAMamba-T.pth',
        ),
        (
            'https://huggingface.co/someone/DAMamba/resolve/main/blob/x.pth',
            'https://huggingface.co/someone/DAMamba/resolve/main/blob/x.pth',
        ),
        ('https://example.com/blob/main/x.pth', 'https://example.com/blob/main/x.pth'),
    ],
)
def test_only_a_page_of_hugging_face_is_rewritten_to_its_file(given, fetched, cache, state, monkeypatch):
    asked = []

    def download(url, target, **options):
        asked.append(url)
        save({'model': state}, target)

    monkeypatch.setattr(torch.hub, 'download_url_to_file', download)
    assert equal(read(given)['model'], state)
    assert asked == [fetched]
