"""Pictures and objects that can't be used: left out of a training, without detections in a test, and always listed.

``left_out.json`` in the run's own folder names them. More than ``max_left_out`` of a training set, a share that the
config says, ends the run, on all processes at once.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop
from mmengine.structures import BaseDataElement
from torch.utils.data import Dataset

from damamba.datasets.categories import DatasetError
from damamba.datasets.fetching import UnreadablePicture, fetch_of
from damamba.datasets.sound_loading import Journal, secure
from damamba.run_record import write_json

LEFT_OUT = 'left_out.json'
MAX_LEFT_OUT = 0.01
EVERY = 50  # iterations between which several processes do not compare their counts
SHOWN = 3


class SoundDataHook(Hook):
    """Leave out what can't be used, count it, list it, and stop a training that lacks too much.

    Attributes:
        images: by split and file, why a picture is not used.
        annotations: objects that are not trained on, as ``left_out.json`` has them.
        unread: the files of tested pictures that could not be read, on this process.
    """

    def __init__(self) -> None:
        self.images: dict[tuple[str, str], str] = {}
        self.annotations: list[dict] = []
        self.unread: set[str] = set()
        self.totals = {'images': 0, 'annotations': 0}
        self._journals: dict[str, Journal] = {}
        self._fresh: list[tuple[str, dict]] = []

    def secure(self, runner, dataset: Dataset, split: str) -> None:
        """Let a data set of a loader say which pictures can't be read, before its workers begin."""
        journal = self._journal(runner, split)
        for leaf in leaves_of(dataset):
            secure(leaf, None if split == 'train' else journal)
        if split == 'train':
            fetch_of(dataset).on_error = partial(_note, journal)

    def _journal(self, runner, split: str) -> Journal:
        if split not in self._journals:
            self._journals[split] = Journal(Path(runner.log_dir, f'.left_out.{split}.{runner.rank}.jsonl'))
        return self._journals[split]

    # Training.

    def before_train(self, runner) -> None:
        leaves = leaves_of(runner.train_dataloader.dataset)
        self.annotations = [entry for leaf in leaves for entry in getattr(leaf, 'broken', ())]
        self.totals['images'] = sum(map(len, leaves))
        self.totals['annotations'] = sum(getattr(leaf, 'annotated', 0) for leaf in leaves)
        self._settle(runner, bool(self.annotations))

    def before_train_epoch(self, runner) -> None:
        self.secure(runner, runner.train_dataloader.dataset, 'train')  # another hook may have put in a new pipeline

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self._read('train')
        if runner.world_size == 1 or (runner.iter + 1) % EVERY == 0:
            self._share(runner)

    def after_train_epoch(self, runner) -> None:
        self._share(runner)

    # Testing.

    def before_val_epoch(self, runner) -> None:
        self._before(runner, runner.val_loop, 'val')

    def before_test_epoch(self, runner) -> None:
        self._before(runner, runner.test_loop, 'test')

    def _before(self, runner, loop: BaseLoop, split: str) -> None:
        self._read(split)
        evaluator = loop.evaluator
        if not isinstance(evaluator.process, _WithoutUnread):
            evaluator.process = _WithoutUnread(evaluator.process, partial(self._read, split), self.unread)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._share(runner)

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._share(runner)

    def after_run(self, runner) -> None:
        self.end(runner)

    def end(self, runner) -> None:
        """Say what a run has left out, however it ends."""
        for journal in self._journals.values():
            Path(journal.path).unlink(missing_ok=True)
        runner.logger.info(summary(runner))

    # Both.

    def _read(self, split: str) -> None:
        """Take up what this process and its workers could not read since the last time."""
        for entry in self._journals[split].new() if split in self._journals else ():
            self._fresh.append((split, entry))
            if split != 'train':
                self.unread.add(entry['file'])

    def _share(self, runner) -> None:
        """Let all processes know what each has found, and end them together if that is too much."""
        everyone = all_gather_object(self._fresh) if runner.world_size > 1 else [self._fresh]
        found = {(split, entry['file']): entry['reason'] for fresh in everyone for split, entry in fresh}
        self._fresh = []
        new = {key: reason for key, reason in found.items() if key not in self.images}
        self.images |= new
        for (split, file), reason in new.items():
            then = (
                'is left out, another one takes its place' if split == 'train' else 'counts as one without detections'
            )
            runner.logger.warning('%s: %s; it %s', file, reason, then)
        self._settle(runner, bool(new))

    def _settle(self, runner, is_news: bool) -> None:
        if not is_news:
            return
        most = runner.cfg.get('max_left_out', MAX_LEFT_OUT)
        path = Path(runner.log_dir, LEFT_OUT)
        if is_main_process():
            _write(path, self.to_dict(most), runner.logger)
        parts = {'images': self.trained_without, 'annotations': [_named(entry) for entry in self.annotations]}
        for what, texts in parts.items():
            if len(texts) > most * self.totals[what]:
                raise DatasetError(_too_many(what, texts, self.totals[what], most, path))

    @property
    def trained_without(self) -> list[str]:
        """The pictures that a training has left out, each with the reason."""
        return [f'{file}: {reason}' for (split, file), reason in self.images.items() if split == 'train']

    def to_dict(self, most: float) -> dict:
        """What ``left_out.json`` holds."""
        images = [dict(file=file, reason=reason, split=split) for (split, file), reason in self.images.items()]
        return dict(images=images, annotations=self.annotations, limits=dict(max_left_out=most, of=self.totals))


def summary(runner) -> str:
    """What a run has left out, in a sentence: ``3 images left out: <path of left_out.json>; 0 steps skipped``."""
    hook = runner.sound_data
    counts = [f'{len(hook.images)} images']
    if hook.annotations:
        counts.append(f'{len(hook.annotations)} annotations')
    where = f': {Path(runner.log_dir, LEFT_OUT)}' if hook.images or hook.annotations else ''
    steps = f'; {runner.finite.skipped} steps skipped' if isinstance(runner._train_loop, BaseLoop) else ''
    return f'{" and ".join(counts)} left out{where}{steps}'


def leaves_of(dataset: Dataset) -> list[Dataset]:
    """The data sets inside of all wrappers, each once."""
    found, todo = {}, [dataset]
    while todo:
        node = todo.pop(0)
        inner = [*getattr(node, 'datasets', ())]
        inner += [it for it in (getattr(node, 'dataset', None), getattr(node, '_dataset', None)) if it is not None]
        todo += inner
        if not inner:
            found[id(node)] = node
    return list(found.values())


class _WithoutUnread:
    """An evaluator's ``process`` that is given no detections in pictures which could not be read."""

    def __init__(self, process: Callable, read: Callable[[], None], unread: set[str]) -> None:
        self.process, self.read, self.unread = process, read, unread

    def __call__(self, data_samples: Sequence[BaseDataElement], data_batch: dict | None = None) -> None:
        self.read()  # a worker has told of it before it gave its batch
        for sample in data_samples if self.unread else ():
            if sample.get('img_path') in self.unread:
                _empty(sample)
        self.process(data_samples=data_samples, data_batch=data_batch)


def _empty(sample: BaseDataElement) -> None:
    found = sample.get('pred_instances')
    if found is not None and len(found):
        sample.pred_instances = found[:0]


def _note(journal: Journal, error: UnreadablePicture) -> None:
    journal.add(error.file, error.reason)


def _write(path: Path, content: dict, logger: logging.Logger) -> None:
    try:
        write_json(path, content)
    except OSError as error:
        logger.warning('%s was not written: %s', path, error)


def _named(entry: dict) -> str:
    return f'annotation {entry["id"]} of image {entry["image"]}: {entry["reason"]}'


def _too_many(what: str, texts: Sequence[str], total: int, most: float, path: Path) -> str:
    more = '; ...' if len(texts) > SHOWN else ''
    return (
        f'{len(texts)} of {total} {what} can not be used, and the config allows max_left_out = {most:g} of them: '
        f'{"; ".join(texts[:SHOWN])}{more}. {path} lists them all; tools/check_dataset.py looks through the whole set'
    )
