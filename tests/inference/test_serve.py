"""The page in a browser, and the requests of programs, on a server that was started as users start it."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from damamba.inference.pictures import PictureError
from damamba.inference.web import PIXELS, WAITING, Desk
from tests.chromium import Chromium
from tests.detection import ROOT, write_config
from tests.inference.conftest import write_checkpoint

FILE = '#picture input[type=file]'
SENTENCE = "(document.querySelector('#sentence') || {innerText: ''}).innerText"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


@pytest.fixture(scope='module')
def server(tmp_path_factory, coco):
    """The address of a server, and what it printed."""
    folder, port = tmp_path_factory.mktemp('serve'), free_port()
    config = write_config(folder / 'small.py', coco)
    model = ['--config', str(config), '--checkpoint', str(write_checkpoint(config, folder)), '--device', 'cpu']
    command = [sys.executable, '-m', 'damamba', 'serve', *model, '--port', str(port), '--api']
    with (folder / 'log').open('w') as log:
        (folder / 'tmp').mkdir()
        env = {**os.environ, 'PYTHONPATH': str(ROOT), 'GRADIO_TEMP_DIR': str(folder / 'gradio')}
        env['TMPDIR'] = str(folder / 'tmp')
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=env)
    address, end = f'http://127.0.0.1:{port}', time.monotonic() + 240
    while 'curl -F' not in (folder / 'log').read_text():
        assert process.poll() is None and time.monotonic() < end, (folder / 'log').read_text()
        time.sleep(0.3)
    yield address, folder / 'log'
    process.terminate()
    process.wait(60)
    assert 'Traceback' not in (folder / 'log').read_text()
    assert not list((folder / 'tmp').glob('damamba-serve-*'))


@pytest.fixture
def chromium(tmp_path):
    found = Chromium(tmp_path / 'profile')
    yield found
    found.close()


def objects(page) -> int:
    page.wait(f'/\\d+ objects/.test({SENTENCE})')
    return int(re.match(r'\d+', page.run(SENTENCE))[0])


def opened(chromium, address):
    page = chromium.page(address)
    page.wait(f"!!document.querySelector('{FILE}')")
    return page


def test_a_picture_is_dropped_looked_through_and_taken_home(server, chromium, coco, tmp_path):
    page = opened(chromium, server[0])
    page.upload(FILE, coco / 'val2017/000000000001.jpg')
    assert objects(page) < 5 and '128 x 96 pixels' in page.run(SENTENCE)
    page.run("""(() => {
        const box = document.querySelector('#score input[type=number]');
        const set = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set;
        box.focus(); set.call(box, '0'); box.dispatchEvent(new Event('input', {bubbles: true})); box.blur();
    })()""")
    page.wait(f"{SENTENCE}.startsWith('5 objects')")
    page.wait("!!document.querySelector('#found img')")
    assert page.run("document.querySelector('#rows').innerText").count('thing') == 5
    page.click('#found img')
    page.wait("!!document.querySelector('#inside img')")
    page.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(tmp_path))
    page.wait("!document.querySelector('#download').disabled")
    page.run("document.querySelector('#download').click()")
    end = time.monotonic() + 60
    while not (found := list(tmp_path.glob('*.zip'))):
        assert time.monotonic() < end
        time.sleep(0.2)
    with zipfile.ZipFile(found[0]) as archive:
        assert len(json.loads(archive.read('predictions.segm.json'))) == 5
        assert sum(name.startswith('masks/') and name.endswith('.png') for name in archive.namelist()) == 5


def test_a_broken_upload_gets_a_message_and_the_page_goes_on(server, chromium, coco, tmp_path):
    page = opened(chromium, server[0])
    broken = tmp_path / 'broken.jpg'
    broken.write_text('no picture')
    page.upload(FILE, broken)
    page.wait("document.body.innerText.includes('broken.jpg is no picture that can be read')")
    assert str(tmp_path) not in page.run('document.body.innerText')
    assert 'objects' not in page.run(SENTENCE)
    page = opened(chromium, server[0])
    page.upload(FILE, coco / 'val2017/000000000001.jpg')
    objects(page)


def test_two_people_are_both_served(server, chromium, coco):
    pages = [opened(chromium, server[0]) for _ in range(2)]
    for number, page in enumerate(pages, 1):
        page.upload(FILE, coco / f'val2017/{number:012d}.jpg')
    assert [objects(page) >= 0 for page in pages] == [True, True]


def test_the_printed_curl_line_is_answered(server, coco, tmp_path):
    address, log = server
    line = next(it for it in log.read_text().splitlines() if it.startswith('curl'))
    picture = coco / 'val2017/000000000001.jpg'
    command = shlex.split(line.replace('PICTURE.jpg', str(picture)))
    command[-1] += '?score=0'
    found = json.loads(subprocess.run([command[0], '-s', *command[1:]], capture_output=True, check=True).stdout)
    assert (found['height'], found['width'], len(found['detections'])) == (96, 128, 5)
    assert {*found['detections'][0]} == {'class', 'score', 'box', 'mask', 'pick'}
    (tmp_path / 'a.jpg').write_bytes(b'text')
    cv2.imwrite(str(tmp_path / 'wide.png'), np.zeros((8000, PIXELS // 8000 + 1), np.uint8))
    (tmp_path / 'large.jpg').write_bytes(bytes(21 * 2**20))
    told = {'a.jpg': (422, 'no picture'), 'wide.png': (422, 'too many'), 'large.jpg': (413, 'more than 20 MB')}
    for name, (status, text) in told.items():
        command = ['curl', '-s', '-w', '%{http_code}', '-F', f'picture=@{tmp_path / name}', f'{address}/predict']
        answer = subprocess.run(command, capture_output=True, text=True).stdout
        assert answer.endswith(str(status)) and text in answer, answer


def asked(*flags) -> tuple[int, dict]:
    done = subprocess.run(['curl', '-s', '-w', '\n%{http_code}', *flags], capture_output=True, text=True)
    answer, _, status = done.stdout.rpartition('\n')
    return int(status), json.loads(answer)


def test_odd_requests_are_answered_in_a_sentence(server, coco, tmp_path):
    address, picture = f'{server[0]}/predict', coco / 'val2017/000000000001.jpg'
    for name, told in (('../../x.jpg', 'x.jpg'), ('..', '..'), ('n' * 3000, 'n' * 3000), ('x.mp4', 'x.mp4')):
        status, found = asked('-F', f'picture=@{picture};filename={name}', address)
        assert (status, found['name'], found['width']) == (200, told, 128)
    for flags in (['-F', f'wrong=@{picture}'], ['-F', 'picture=text'], ['-X', 'POST'], ['-d', 'picture=1']):
        status, answer = asked(*flags, address)
        assert status == 422 and answer['detail'].startswith("wanted a form with a file as 'picture'")
    assert asked('-F', f'picture=@{picture}', f'{address}?score=abc')[0] == 422
    (tmp_path / 'endless').write_bytes(bytes(21 * 2**20))
    chunked = asked('-H', 'Transfer-Encoding: chunked', '-F', f'picture=@{tmp_path}/endless', address)
    assert chunked == (413, {'detail': 'this is more than 20 MB'})


def test_it_listens_on_this_machine_alone_and_a_taken_port_is_said(server, small_config, checkpoint):
    port = server[0].rpartition(':')[2]
    lines = [line.split() for line in Path('/proc/net/tcp').read_text().splitlines()]
    listening = [line[1] for line in lines if line[3] == '0A']  # LISTEN
    assert [it for it in listening if it.endswith(f':{int(port):04X}')] == [f'0100007F:{int(port):04X}']
    command = [sys.executable, '-m', 'damamba', 'serve', '--config', small_config, '--checkpoint', checkpoint]
    done = subprocess.run([*map(str, command), '--port', port], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1 and f'127.0.0.1:{port} can not be listened at' in done.stderr.splitlines()[-1]


def test_a_second_request_waits_and_too_many_are_sent_away(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 4, 3), np.uint8))
    inside, most, go = [], [], threading.Event()

    def predictor(path, skip_unreadable):
        inside.append(path)
        go.wait(60)
        most.append(len(inside))
        yield inside.pop()

    desk, refused = Desk(predictor), []

    def ask():
        try:
            desk.detect(str(tmp_path / 'a.png'))
        except PictureError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=ask) for _ in range(WAITING + 3)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 60
    while len(refused) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    go.set()
    for thread in threads:
        thread.join()
    assert most == [1] * (WAITING + 1) and refused == [f'{WAITING} pictures are waiting: try again in a moment'] * 2
