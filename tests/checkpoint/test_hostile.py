"""Files that announce more than they hold, or are something else: an error in a sentence, in little memory."""

import io
import os
import pickle
import re
import resource
import struct
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from damamba.checkpoint import read
from tests.checkpoint.helpers import ROOT, error_of

MEMORY = 6 * 2**30  # bytes of addresses; torch alone takes some
BIG = 10**12


def saved(content, **options) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, **options)
    return file.getvalue()


def zipped(entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', compression) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def holding(code: bytes) -> bytes:
    """An archive of torch's with a pickle of one's own."""
    return zipped({'a/data.pkl': code, 'a/version': b'3\n', 'a/byteorder': b'little'})


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode='w') as archive:
        archive.addfile(tarfile.TarInfo('storages'))
    return file.getvalue()


def header(content: str) -> bytes:
    return struct.pack('<Q', len(content)) + content.encode() + bytes(4)


LEGACY = saved({'a': torch.zeros(3)}, _use_new_zipfile_serialization=False)
NUMBER = pickle.dumps(BIG * 10, protocol=2)[2:-1]
ONE = '"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
FILES = {  # the content, and what is said of it
    'pickle.pth': (pickle.dumps({'state_dict': {}}, protocol=4), 'a plain pickle of protocol 4, which torch.save did'),
    'old pickle.pth': (pickle.dumps({'a': 1}, protocol=0), 'a plain pickle, which torch.save did not write: .'),
    'number.pth': (pickle.dumps(7), 'a plain pickle of protocol 4'),
    'tensors.pth': (pickle.dumps([torch.zeros(3)]), 'a plain pickle of protocol 4'),
    'tar.pth': (tarred(), 'as a tar archive, .* could run code'),
    'nested.pth': (zipped({'a/inner.zip': zipped({'b': b''})}), 'a zip archive: Expected'),
    'headless.pth': (b'PK\3\4' + bytes(200), 'a zip archive: .*central directory'),
    'noise.pth': (bytes(range(7, 250)) * 9, r"it begins with b'\\x07"),
    'bomb.pth': (zipped({'a/data/0': bytes(2**27)}, zipfile.ZIP_DEFLATED), r'unpacks to 0.125 GiB, which is more than'),
    'expanded.pth': (saved({'a': torch.zeros(1).expand(BIG)}), 'one of its tensors, 1000000000000, comes to .* GiB'),
    'meta.pth': (saved({'a': torch.zeros(BIG, device='meta')}), 'a tensor of 1000000000000 without its values'),
    'optimizer.pth': (saved({'state': [{0: torch.zeros(1).expand(BIG)}]}), 'one of its tensors'),
    'bytes.pth': (holding(b'\x80\2cbuiltins\nbytearray\n' + NUMBER + b'\x85R.'), 'MemoryError'),
    'deep.pth': (holding(b'\x80\2' + b']' * 10**5 + b'a' * (10**5 - 1) + b'.'), 'holds a list'),
    'endless.pth': (holding(b'\x80\2}'), 'EOFError'),
    'memo.pth': (holding(b'\x80\2h\5.'), 'KeyError: 5'),
    'storage.pth': (LEGACY.replace(b'K\3Nt', b'\x8a\6' + (10 * BIG).to_bytes(6, 'little') + b'Nt'), 'allocate memory'),
    'length.safetensors': (struct.pack('<Q', 2**50) + b'{}', 'header too large'),
    'tensor.safetensors': (header(ONE.replace('[1]', f'[{BIG}]').join('{}')), 'safetensors file .Error .*header'),
    'text.safetensors': (header('{"__metadata__":{"meta":"' + '[' * 10**5 + '"},' + ONE + '}'), 'recursion'),
}


@pytest.fixture(scope='module')
def said(tmp_path_factory) -> dict[str, str]:
    """What one process of little memory says of each file."""
    folder = tmp_path_factory.mktemp('hostile')
    for name, (content, _) in FILES.items():
        (folder / name).write_bytes(content)
    code = (
        'import sys; from pathlib import Path; from damamba.checkpoint import CheckpointError, read\n'
        'for path in sorted(Path(sys.argv[1]).iterdir()):\n'
        '    try: read(path)\n'
        '    except CheckpointError as error: print(path.name, "|", error, flush=True)\n'
    )
    done = subprocess.run(
        [sys.executable, '-c', code, str(folder)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(' | ', 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize('name', FILES)
def test_each_is_an_error_that_says_what_it_is(said, name):
    assert re.search(FILES[name][1], said[name]) and ' ()' not in said[name]


def test_a_pipe_and_a_file_without_permission_are_no_checkpoints(tmp_path):
    os.mkfifo(tmp_path / 'pipe.pth')
    assert 'is not a file' in error_of(read, tmp_path / 'pipe.pth')
    (tmp_path / 'closed.pth').write_bytes(LEGACY)
    (tmp_path / 'closed.pth').chmod(0)
    if not os.access(tmp_path / 'closed.pth', os.R_OK):
        assert 'Permission denied' in error_of(read, tmp_path / 'closed.pth')


def test_one_that_holds_itself_is_read_and_not_published(tmp_path):
    from damamba.checkpoint import publish

    itself = {'classes': ('a',)}
    itself['self'] = itself
    path = Path(tmp_path / 'itself.pth')
    torch.save({'state_dict': {'a': torch.ones(2)}, 'meta': {'dataset_meta': itself}}, path)
    assert read(path)['meta']['dataset_meta']['classes'] == ('a',)
    assert 'holds itself' in error_of(publish, path, tmp_path / 'published.pth')
