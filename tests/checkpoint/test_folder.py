"""The checkpoints in a run's folder: killed while they are written, damaged, moved, hostile."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from damamba.checkpoint import CheckpointError, CheckpointFolder, read
from damamba.checkpoint.folder import MANIFEST, POINTER

PATIENCE_S = 60


def content(number, epoch=None):
    """A checkpoint of a training after so many epochs of ten iterations, and a weight to know it by."""
    return {
        'meta': {'epoch': epoch if epoch is not None else number, 'iter': 10 * number},
        'state_dict': {'weight': torch.full((3000,), float(number))},
    }


def write(folder, number, **settings):
    settings = {'step': 10 * number, 'epoch': number, **settings}
    return folder.write(f'epoch_{number}.pth', content(number), **settings)


def newest(root):
    """The number of the newest whole checkpoint, and what is said."""
    path, said = CheckpointFolder(root).newest_whole()
    return (int(read(path)['state_dict']['weight'].unique().item()) if path else None), said


def files(root):
    return sorted(path.name for path in root.iterdir())


# Killed at every point.


def in_child(work, kill_at=None, events=None):
    """Do this in a fork, and kill it before its n-th call to the file system; whether it was killed."""
    child = os.fork()
    if not child:
        try:
            _die_at(kill_at, events)
            work()
            os._exit(0)
        finally:
            os._exit(1)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
            return os.WIFSIGNALED(status)
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail('the child hangs')


def _die_at(kill_at, events):
    calls = 0

    def call(name, *arguments):
        nonlocal calls
        if events:
            with open(events, 'a') as file:
                file.write(' '.join([name, *(os.path.basename(str(it)) for it in arguments)]) + '\n')
        if calls == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        calls += 1

    def audit(event, arguments):
        if event == 'open' and not str(arguments[0]).endswith('events') and arguments[1] != 'r':
            call('open', arguments[0])
        elif event in ('os.rename', 'os.remove'):
            call(event, *arguments[: 1 + (event == 'os.rename')])

    def fsync(descriptor, real=os.fsync):
        call('fsync', os.readlink(f'/proc/self/fd/{descriptor}'))
        real(descriptor)

    os.fsync = fsync
    from damamba.checkpoint import writing

    def write_part(self, data, real=writing._Hashing.write):
        if calls is not None and len(data) > 1000:
            call('write')
        return real(self, data)

    writing._Hashing.write = write_part
    sys.addaudithook(audit)


def three_with_prune(root):
    def work():
        folder = CheckpointFolder(root)
        write(folder, 4)
        folder.prune(2)

    return [1, 2, 3], work, {3, 4}


def the_only_one_again(root):
    return [1], lambda: CheckpointFolder(root).write('epoch_1.pth', content(2), step=10, epoch=1), {1, 2}


@pytest.mark.parametrize('scenario', [three_with_prune, the_only_one_again])
def test_killed_at_any_point_the_newest_is_the_old_or_the_new_one(scenario, tmp_path):
    start, root = tmp_path / 'start', tmp_path / 'run'
    before, work, outcomes = scenario(root)
    for number in before:
        write(CheckpointFolder(start), number)
    seen, point, was_killed = set(), 0, True
    while was_killed:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(start, root)
        was_killed = in_child(work, kill_at=point)
        found, said = newest(root)
        assert found in outcomes and not said, point
        whole = [path for path in root.glob('epoch_*.pth') if not CheckpointFolder(root)._damage(path)]
        assert len(whole) >= min(2, len(before)) and len(whole) == len(list(root.glob('epoch_*.pth'))), point
        folder = CheckpointFolder(root)  # the next run
        folder.clear_leftovers()
        assert not list(root.glob('.*')) and newest(root) == (found, []), point
        write(folder, 5)
        assert newest(root) == (5, [])
        seen.add(found)
        point += 1
    assert seen == outcomes and point > 12


def test_killed_at_any_point_there_is_a_whole_best_one(tmp_path):
    start, root = tmp_path / 'start', tmp_path / 'run'
    CheckpointFolder(start).write('best_1.pth', content(1), step=10, epoch=1, kind='best')

    def replace():
        folder = CheckpointFolder(root)
        folder.write('best_2.pth', content(2), step=20, epoch=2, kind='best')
        folder.remove('best_1.pth')

    point, was_killed, seen = 0, True, set()
    while was_killed:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(start, root)
        was_killed = in_child(replace, kill_at=point)
        there = frozenset(path.name for path in root.glob('*.pth'))
        for name in there:
            CheckpointFolder(root).verify(root / name)
        seen.add(there)
        point += 1
    assert seen == {frozenset(it) for it in (['best_1.pth'], ['best_1.pth', 'best_2.pth'], ['best_2.pth'])}


def test_the_disk_has_the_file_before_its_name_and_the_name_before_the_manifest_and_that_before_the_pointer(tmp_path):
    folder = CheckpointFolder(tmp_path / 'run')
    for number in (1, 2):
        write(folder, number)
    in_child(lambda: (write(folder, 3), folder.prune(2)), events=tmp_path / 'events')
    part, own, manifest, pointer = '.epoch_3.pth.part', 'fsync run', f'.{MANIFEST}.part', f'.{POINTER}.part'
    said = (tmp_path / 'events').read_text()
    lines = [line for line in said.splitlines() if not line.startswith(('open', 'write', 'os.remove .'))]
    expected = [f'fsync {part}', f'os.rename {part} epoch_3.pth', own]
    for beside in (manifest, pointer):
        expected += [f'fsync {beside}', f'os.rename {beside} {beside[1:-5]}', own]
    expected += ['os.remove epoch_1.pth', f'fsync {manifest}', f'os.rename {manifest} {MANIFEST}', own]
    assert [_without_pid(line) for line in lines] == expected


def _without_pid(line):
    words = [word.split('.') for word in line.split(' ')]
    return ' '.join('.'.join(part for part in word if not part.isdecimal()) for word in words)


def test_leftovers_of_the_dead_are_cleared_and_what_is_being_written_stays(tmp_path):
    folder = CheckpointFolder(tmp_path)
    write(folder, 1)
    write(folder, 2)
    (tmp_path / f'.epoch_3.pth.{os.getpid()}.part').write_bytes(b'half')  # of an earlier process of our number
    (tmp_path / 'epoch_1.pth').unlink()
    ready, child = os.pipe(), os.fork()
    if not child:
        from damamba.durable import part_of

        with part_of(tmp_path / 'epoch_4.pth') as file:
            file.write(b'half')
            file.flush()
            os.write(ready[1], b'.')
            time.sleep(PATIENCE_S)
        os._exit(0)
    try:
        assert os.read(ready[0], 1)
        folder.clear_leftovers()
        assert files(tmp_path) == [f'.epoch_4.pth.{child}.part', MANIFEST, 'epoch_2.pth', POINTER]
        assert list(folder.entries()) == ['epoch_2.pth']
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    folder.clear_leftovers()
    assert files(tmp_path) == [MANIFEST, 'epoch_2.pth', POINTER]


# Damaged.


def cut(path):
    path.write_bytes(path.read_bytes()[:4321])
    return '(4,321 of '


def alter(path):
    data = bytearray(path.read_bytes())
    place = data.find(torch.full((1,), float(path.stem[-1])).numpy().tobytes() * 100) + 16
    data[place] ^= 1
    path.write_bytes(data)
    return 'its content is not what was written'


def take_away(path):
    path.unlink()
    return 'it is gone'


@pytest.mark.parametrize('harm', [cut, alter, take_away])
def test_a_damaged_checkpoint_is_passed_over_and_said(harm, tmp_path):
    folder = CheckpointFolder(tmp_path)
    for number in (1, 2, 3):
        write(folder, number)
    reason = harm(tmp_path / 'epoch_3.pth')
    found, (sentence,) = newest(tmp_path)
    assert found == 2 and reason in sentence
    assert sentence.startswith(f'{tmp_path}/epoch_3.pth is damaged (') and sentence.endswith('): epoch_2.pth is taken')
    with pytest.raises(CheckpointError, match=r'epoch_3.pth is damaged \('):
        folder.verify(tmp_path / 'epoch_3.pth')
    folder.verify(tmp_path / 'epoch_2.pth')
    for number in (1, 2):
        cut(tmp_path / f'epoch_{number}.pth')
    found, said = newest(tmp_path)
    assert found is None and len(said) == 3 and said[0].endswith('nothing whole is left')


def test_of_a_damaged_one_is_said_how_much_is_there(tmp_path):
    size = write(CheckpointFolder(tmp_path), 1).stat().st_size
    cut(tmp_path / 'epoch_1.pth')
    assert f'(4,321 of {size:,} bytes)' in newest(tmp_path)[1][0]


def test_files_of_mmengine_are_taken_by_their_names_and_content_and_no_pointer_is_followed(tmp_path):
    root, other = tmp_path / 'run', tmp_path / 'other'
    for folder in (root, other):
        folder.mkdir()
    for number in (8, 9, 10):
        torch.save(content(number), root / f'epoch_{number}.pth')
    torch.save(content(20), other / 'epoch_20.pth')
    (root / POINTER).write_text(str(other / 'epoch_20.pth'))
    assert newest(root) == (10, [])
    alter(root / 'epoch_9.pth')  # which torch itself reads
    cut(root / 'epoch_10.pth')
    found, said = newest(root)
    assert found == 8 and len(said) == 2 and 'checksum' in said[1] and 'cut off' in said[0]
    torch.save(content(11), root / 'model_11.pth')
    (root / POINTER).write_text(str(other / 'model_11.pth'))  # the folder was copied
    assert newest(root)[0] == 11
    torch.save(content(12, epoch=11), root / 'iter_120.pth')
    assert newest(root)[0] == 12


def test_published_weights_are_nothing_to_go_on_from(tmp_path):
    torch.save({'state_dict': {}, 'meta': {}}, tmp_path / 'epoch_3.pth')
    torch.save(content(3), tmp_path / 'epoch_3-12345678.pth')
    write(CheckpointFolder(tmp_path), 2, kind='best')
    found, (sentence,) = newest(tmp_path)
    assert found is None and 'does not say after which epoch' in sentence


# Which of them stay.


def test_of_the_regular_ones_the_newest_stay_two_whole_ones_at_least(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for number in range(1, 7):
        write(folder, number, kind='best' if number == 1 else 'regular')
    assert folder.prune(0) == [] and folder.prune(4) == ['epoch_2.pth']
    cut(tmp_path / 'epoch_6.pth')
    assert folder.prune(1) == ['epoch_3.pth']
    assert sorted(folder.entries()) == [f'epoch_{number}.pth' for number in (1, 4, 5, 6)]


def test_an_interrupted_step_is_kept_until_two_newer_ones_are_there(tmp_path):
    folder = CheckpointFolder(tmp_path)
    write(folder, 1, kind='interrupted')
    write(folder, 2)
    assert folder.prune(0) == []
    write(folder, 3)
    assert folder.prune(0) == ['epoch_1.pth']


def test_a_training_that_begins_anew_neither_takes_nor_deletes_what_an_earlier_one_left(tmp_path):
    folder = CheckpointFolder(tmp_path)
    for number in (11, 12):
        write(folder, number, validated=number == 12)
    torch.save(content(9), tmp_path / 'epoch_9.pth')
    assert folder.entries()['epoch_12.pth']['validated'] and newest(tmp_path) == (12, [])
    folder.set_aside()
    assert newest(tmp_path) == (12, [])  # until there is one of the new training
    for number in (1, 2, 3):
        write(folder, number)
        assert newest(tmp_path) == (number, [])
    assert folder.prune(2) == ['epoch_1.pth']
    assert {path.name for path in tmp_path.glob('*.pth')} == {f'epoch_{number}.pth' for number in (2, 3, 9, 11, 12)}


def test_a_validation_is_noted(tmp_path):
    folder = CheckpointFolder(tmp_path)
    write(folder, 1)
    folder.mark_validated('epoch_1.pth')
    folder.mark_validated('epoch_2.pth')
    assert {name: entry['validated'] for name, entry in folder.entries().items()} == {'epoch_1.pth': True}


# Nothing outside.


def test_a_folder_that_is_moved_or_copied_stands_by_itself(tmp_path):
    folder = CheckpointFolder(tmp_path / 'a')
    for number in (1, 2, 3):
        write(folder, number)
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    write(folder, 4)
    assert newest(tmp_path / 'b') == (3, []) and (tmp_path / 'b' / POINTER).read_text() == 'epoch_3.pth'
    assert CheckpointFolder(tmp_path / 'b').prune(2) == ['epoch_1.pth']
    assert (tmp_path / 'a/epoch_1.pth').is_file()
    shutil.move(tmp_path / 'a', tmp_path / 'c')
    assert newest(tmp_path / 'c') == (4, [])


@pytest.mark.parametrize('name', ['../out/epoch_9.pth', '/etc/hostname', '..', '', 'sub/epoch_9.pth', 'a\0b', 'a\\b'])
def test_no_name_leads_out_of_the_folder(name, tmp_path):
    root, out = tmp_path / 'run', tmp_path / 'out'
    for folder in (CheckpointFolder(root), CheckpointFolder(out)):
        for number in (7, 8, 9):
            write(folder, number)
    entries = json.loads((root / MANIFEST).read_text())
    (root / MANIFEST).write_text(json.dumps({name: entries['epoch_9.pth'], **entries}))
    (root / POINTER).write_text(name)
    folder = CheckpointFolder(root)
    folder.clear_leftovers()
    folder.remove(name)
    folder.prune(1)
    assert newest(root) == (9, []) and files(out) == [MANIFEST, *(f'epoch_{n}.pth' for n in (7, 8, 9)), POINTER]
    with pytest.raises(CheckpointError, match='is no name of a file in'):
        folder.write(name, content(1), step=10, epoch=1)


def test_links_are_not_followed(tmp_path):
    root, out = tmp_path / 'run', tmp_path / 'out'
    write(CheckpointFolder(out), 9)
    write(CheckpointFolder(root), 1)
    (root / 'epoch_9.pth').symlink_to(out / 'epoch_9.pth')
    (root / '.x.1.part').symlink_to(out / 'epoch_9.pth')
    entries = json.loads((root / MANIFEST).read_text())
    entries['epoch_9.pth'] = json.loads((out / MANIFEST).read_text())['epoch_9.pth']
    (root / MANIFEST).write_text(json.dumps(entries))
    folder = CheckpointFolder(root)
    assert newest(root)[0] == 1
    folder.remove('epoch_9.pth')
    folder.clear_leftovers()
    assert (out / 'epoch_9.pth').is_file() and (root / 'epoch_9.pth').is_symlink()


@pytest.mark.parametrize(
    'text', ['', '{', '[]', 'null', '{"epoch_2.pth": 1}', '{"epoch_2.pth": {"size": "big"}}', '[' * 100_000, '\0']
)
def test_with_a_broken_manifest_files_are_judged_by_their_content(text, tmp_path):
    folder = CheckpointFolder(tmp_path)
    for number in (1, 2):
        write(folder, number)
    (tmp_path / MANIFEST).write_text(text)
    (tmp_path / POINTER).write_bytes(b'\xff\xfe')
    assert newest(tmp_path) == (2, []) and CheckpointFolder(tmp_path).entries() == {}
    write(folder, 3)
    assert newest(tmp_path) == (3, [])


def test_what_stands_in_the_way_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / 'run').write_text('in the way')
    with pytest.raises(CheckpointError, match=f'{tmp_path}/run/epoch_1.pth could not be written: '):
        write(CheckpointFolder(tmp_path / 'run'), 1)
    folder = CheckpointFolder(Path(tmp_path / 'other'))
    folder.root.mkdir()
    (folder.root / 'epoch_1.pth').mkdir()
    with pytest.raises(CheckpointError, match=r'epoch_1.pth could not be written: .*directory'):
        write(folder, 1)
    assert files(folder.root) == ['epoch_1.pth']
