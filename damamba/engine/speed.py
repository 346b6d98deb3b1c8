"""How long a picture takes while a detector is tested, by how much there is in it, and the memory that it takes."""

import platform
import sys
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.structures import BaseDataElement
from torch import nn

from damamba.engine.hooks import bare
from damamba.tables import Table

EDGES = (0, 5, 10, 15, 20, 30, 50, 100)  # objects in a picture; a bin has its left edge and not its right one
WARM_UP = 3  # iterations, in which kernels are compiled and memory is first taken
NOTHING = 'Speed: nothing was measured: %s'


@dataclass(frozen=True)
class Times:
    """Seconds a picture, of so many pictures."""

    pictures: int
    median: float
    p90: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> 'Times':
        median, p90 = np.quantile(seconds, (0.5, 0.9)).tolist()
        return cls(len(seconds), median, p90)


@dataclass(frozen=True)
class Speed:
    """What a test took, from batches that are loaded to masks at the pictures' size.

    Attributes:
        overall: seconds a picture, of all; pictures that sampling repeats to fill up processes count again.
        bins: the same by the number of objects in a picture, such as ``'5-10'`` (5 to 9) or ``'100+'``; those alone
            that have pictures; none where nothing says what is in them.
        peak_memory: bytes: on a GPU what torch had allocated at most while testing, on the CPU the largest resident
            memory that the process ever had; of several processes the most of one.
        device: the name of the GPU or the CPU.
        kind: ``cuda`` or ``cpu``.
        threads: of torch on the CPU, of each process.
        warm_up: the first iterations of each process, which are left out.
    """

    overall: Times
    bins: dict[str, Times]
    peak_memory: int | None
    device: str
    kind: str
    processes: int
    threads: int
    batch_size: int
    warm_up: int

    def to_dict(self) -> dict:
        """Plain values for a JSON file."""
        return asdict(self)

    def table(self) -> str:
        """A line for each bin, one for all, and one that says where."""
        rows = {**self.bins, 'all': self.overall}.items()
        cells = ((name, times.pictures, times.median, times.p90) for name, times in rows)
        table = Table.of('Seconds a picture', ['objects', 'pictures', 'median', '90 %'], cells)
        memory = f'{self.peak_memory / 1e9:.2f} GB' if self.peak_memory else 'unknown'
        place = f'{self.device}, {self.processes} x {self.threads} threads, batch {self.batch_size}'
        return f'{table.text()}\n{place}, peak memory {memory}'


class TestSpeedHook(Hook):
    """Measure seconds a picture while testing, by the number of its objects, and the peak of memory.

    A picture's time is that of its batch, divided by the pictures of the batch: from the loaded batch to what the
    model returns, preprocessing and pasting of masks included; loading and the evaluator are not.

    Attributes:
        speed: the last test's :class:`Speed`; None if there is none.
    """

    __test__ = False  # pytest takes it for tests

    def __init__(self, warm_up: int = WARM_UP) -> None:
        self.warm_up = warm_up
        self.speed: Speed | None = None
        self._handle = None

    def before_test_epoch(self, runner) -> None:
        self._release()  # of a test that broke off
        self.speed, self._counts = None, None
        self._start, self._seconds, self._peak, self._batch_size = None, None, None, 0
        self._records: list[tuple[int | None, float]] = []  # (objects, seconds) of each picture
        model = bare(runner.model)
        self._device = next((parameter.device for parameter in model.parameters()), torch.device('cpu'))
        self._handle = model.register_forward_hook(self._stop)
        if self._device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self._device)

    def before_test_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._seconds = None
        self._start = self._now()

    def _stop(self, model: nn.Module, inputs: tuple, outputs: object) -> None:
        if self._start is not None:
            self._seconds = self._now() - self._start

    def _now(self) -> float:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._start = None
        self._peak = peak_memory(self._device)
        samples = data_batch.get('data_samples') if isinstance(data_batch, Mapping) else None
        if batch_idx < self.warm_up or self._seconds is None or not samples:
            return
        samples = samples[0] if isinstance(samples[0], (list, tuple)) else samples  # one view of several
        self._batch_size = max(self._batch_size, len(samples))
        self._records += [(self._objects(sample, runner), self._seconds / len(samples)) for sample in samples]

    def _objects(self, sample: BaseDataElement, runner) -> int | None:
        """How many objects are in a picture: of its annotations, of the evaluator's, or of the data set's."""
        truth = sample.get('gt_instances')
        if truth is not None and truth.keys():  # packed, but without a key, where the pipeline loads no annotations
            return len(truth)
        if self._counts is None:
            self._counts = count_objects(runner)
        return self._counts.get(sample.get('img_id')) if self._counts else None

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        self._release()
        parts = all_gather_object((self._records, self._peak, self._batch_size))
        records = [record for part, _, _ in parts for record in part]
        if not records:
            runner.logger.info(NOTHING, f'the first {self.warm_up} iterations of each process are left out')
            return
        self.speed = Speed(
            overall=Times.of([seconds for _, seconds in records]),
            bins=by_bin(records),
            peak_memory=max((peak for _, peak, _ in parts if peak), default=None),
            device=device_name(self._device),
            kind=self._device.type,
            processes=get_world_size(),
            threads=torch.get_num_threads(),
            batch_size=max(size for _, _, size in parts),
            warm_up=self.warm_up,
        )
        runner.logger.info('\n%s', self.speed.table())

    def _release(self) -> None:
        if self._handle is not None:
            self._handle.remove()
            self._handle = None


def by_bin(records: Iterable[tuple[int | None, float]]) -> dict[str, Times]:
    """(objects, seconds) of pictures -> the times of every bin that has some, rising; unknown numbers are left out."""
    found = defaultdict(list)
    for objects, seconds in records:
        if objects is not None:
            found[bisect_right(EDGES, objects) - 1].append(seconds)
    return {_bin_name(index): Times.of(found[index]) for index in sorted(found)}


def _bin_name(index: int) -> str:
    return f'{EDGES[index]}-{EDGES[index + 1]}' if index + 1 < len(EDGES) else f'{EDGES[index]}+'


def count_objects(runner) -> dict[int, int]:
    """The objects of each picture by its id, crowds left out: the evaluator's ground truth, or the data set's.

    Empty where neither has any: then nobody knows, as with test sets whose annotations are kept back.
    """
    tested = next(
        filter(None, (getattr(metric, 'tested', None) for metric in runner.test_loop.evaluator.metrics)), None
    )
    counts = _of_coco(tested.document) if tested else _of_dataset(runner.test_dataloader.dataset)
    return counts if any(counts.values()) else {}


def _of_coco(truth: dict) -> dict[int, int]:
    counts = Counter({image['id']: 0 for image in truth['images']})
    counts.update(a['image_id'] for a in truth.get('annotations', ()) if not (a.get('iscrowd') or a.get('ignore')))
    return counts


def _of_dataset(dataset) -> dict[int, int]:
    if not hasattr(dataset, 'get_data_info'):
        return {}
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    return {
        info['img_id']: sum(not instance.get('ignore_flag') for instance in info['instances'])
        for info in infos
        if 'img_id' in info and 'instances' in info
    }


def peak_memory(device: torch.device) -> int | None:
    """Bytes: see :attr:`Speed.peak_memory`; None where the system does not tell."""
    if device.type == 'cuda':
        return torch.cuda.max_memory_allocated(device)
    status = Path('/proc/self/status')
    lines = status.read_text().splitlines() if status.exists() else []
    peaks = [1024 * int(line.split()[1]) for line in lines if line.startswith('VmHWM:')]
    if peaks:  # what getrusage says may be the peak of the process that started this one
        return peaks[0]
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else 1024 * peak


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the CPU as Linux gives it."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    path = Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor() or platform.machine()
