"""A web page to try a detector on: a picture in, masks out; and the same for programs, one request a picture.

Whoever comes second waits for his turn: pictures are looked at one at a time, and a queue that is full says so.
"""

import shutil
import tempfile
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from fastapi import FastAPI, HTTPException, Request
from PIL import Image
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from damamba.inference.detections import DRAWN, Detections
from damamba.inference.explain import ExplainError, explain
from damamba.inference.pictures import VIDEOS, PictureError
from damamba.inference.predictor import Predictor
from damamba.inference.results import Results
from damamba.models import DAMamba

MEGABYTES = 20  # of an uploaded file
PIXELS = 50_000_000  # of a picture
WAITING = 16  # requests at most
KEPT = 64  # folders, each with a download
HEADINGS = ['class', 'score', 'left', 'top', 'right', 'bottom', 'area']
NOTE = 'What is found stays on the machine that runs this page; files are removed after an hour.'
NO_FORM = "wanted a form with a file as 'picture': curl -F picture=@PICTURE.jpg"
BUSY = f'{WAITING} pictures are waiting: try again in a moment'


class Desk:
    """Where pictures are handed in: one after the other, none too large."""

    def __init__(self, predictor: Predictor, pixels: int = PIXELS) -> None:
        self.predictor, self.pixels = predictor, pixels
        self._turn, self._waiting = threading.Lock(), threading.BoundedSemaphore(WAITING + 1)

    def detect(self, path: str) -> Detections:
        """Find what is in a file.

        Raises:
            PictureError: it is no picture, or too large, or too many others are waiting.
        """
        self._refuse_large(path)
        with self.turn():
            return next(self.predictor(path, skip_unreadable=False))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until nobody else's picture is looked at."""
        if not self._waiting.acquire(blocking=False):
            raise PictureError(BUSY)
        try:
            with self._turn:
                yield
        finally:
            self._waiting.release()

    def _refuse_large(self, path: str) -> None:
        if Path(path).suffix.lower() in VIDEOS:
            raise PictureError(f'{Path(path).name} is a video, not a picture')
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except Image.DecompressionBombError as error:
            raise PictureError(f'it has too many pixels: at most {self.pixels / 1e6:.0f} million') from error
        except Exception as error:  # a broken file raises whatever its decoder stumbles upon
            raise PictureError(f'{Path(path).name} is no picture that can be read') from error
        if width * height > self.pixels:
            raise PictureError(f'{width} x {height} pixels are too many: at most {self.pixels / 1e6:.0f} million')


class Page:
    """What happens on the page."""

    def __init__(self, desk: Desk, folder: Path) -> None:
        self.desk, self.folder = desk, folder
        self._folders: deque[Path] = deque()

    def detect(self, path: str | None) -> Detections | None:
        """A file that was uploaded -> what is found; a message where that can't be, and no older results beside it."""
        if path is None:
            return None
        try:
            return self.desk.detect(path)
        except PictureError as error:
            gr.Warning(str(error).replace(f'{Path(path).parent}/', ''))
            return None

    def show(self, found: Detections | None, score: float, names: Sequence[str]) -> tuple:
        """-> the drawn picture, rows, a sentence, a file to download."""
        if found is None:
            return None, [], '', gr.DownloadButton(interactive=False)
        chosen = found.above(score)
        if names:
            chosen = chosen[np.isin(chosen.names, names)]
        drawn = chosen.draw(0)[..., ::-1]
        rows = [
            [name, round(float(value), 3), *map(round, [*box.tolist(), float(area)])]
            for name, value, box, area in zip(chosen.names, chosen.scores, chosen.boxes, chosen.areas, strict=True)
        ]
        return drawn, rows, _sentence(chosen), gr.DownloadButton(value=str(self._packed(chosen)), interactive=True)

    def look_inside(self, found: Detections | None, event: gr.SelectData) -> np.ndarray | None:
        """The sheet of the position that was clicked at: see :mod:`damamba.inference.explain`."""
        if found is None:
            return None
        try:
            with self.desk.turn():
                return explain(self.desk.predictor.model, found.picture, tuple(event.index)).draw()
        except (ExplainError, PictureError) as error:
            raise gr.Error(str(error), print_exception=False) from error

    def _packed(self, found: Detections) -> Path:
        """The drawn picture, COCO results, masks and polygons in one file."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self._folders.append(folder)
        if len(self._folders) > KEPT:
            shutil.rmtree(self._folders.popleft(), ignore_errors=True)
        kinds = ['overlays', 'coco', 'yolo', *(['masks'] if found.rles is not None else [])]
        with Results(folder / 'found', kinds, score=0) as results:
            results.add(found)
        path = Path(shutil.make_archive(str(folder / Path(found.name).stem), 'zip', folder / 'found'))
        shutil.rmtree(folder / 'found')
        return path


def _sentence(found: Detections) -> str:
    height, width = found.size
    steps = ', '.join(f'{step} {value:.0f}' for step, value in found.milliseconds.items())
    total = sum(found.milliseconds.values())
    return f'**{len(found)} objects** in {width} x {height} pixels, in **{total:.0f} ms** ({steps})'


def _as_sent(payload: Any) -> str | None:
    """The file that was uploaded: gradio would decode it, and a broken one would end in its words."""
    return payload.path if payload else None


def build_page(desk: Desk, examples: Sequence[str | Path], folder: Path) -> gr.Blocks:
    """Lay the page out."""
    page, classes = Page(desk, folder), list(desk.predictor.classes)
    with gr.Blocks(title='DAMamba', analytics_enabled=False, delete_cache=(600, 3600)) as blocks:
        gr.Markdown(f'# DAMamba\nMasks of the objects in a picture, by `{Path(desk.predictor.config).stem}`. {NOTE}')
        found = gr.State(None)
        with gr.Row():
            with gr.Column():
                picture = gr.Image(type='filepath', sources=['upload', 'clipboard'], label='Picture', elem_id='picture')
                picture.preprocess = _as_sent
                score = gr.Slider(0, 1, DRAWN, step=0.01, label='Least score', elem_id='score')
                names = gr.Dropdown(classes, multiselect=True, label='Classes (all, where none is chosen)')
                if examples:
                    gr.Examples([[str(path)] for path in examples], picture, label='Examples', cache_examples=False)
            with gr.Column():
                drawn = gr.Image(
                    label='Found', interactive=False, format='png', elem_id='found', buttons=['download', 'fullscreen']
                )
                sentence = gr.Markdown(elem_id='sentence')
                rows = gr.Dataframe(headers=HEADINGS, label='Objects, in pixels', interactive=False, elem_id='rows')
                download = gr.DownloadButton(
                    'Download masks, boxes and polygons', interactive=False, elem_id='download'
                )
        if isinstance(desk.predictor.model.backbone, DAMamba):
            gr.Markdown(
                '**Look inside:** click into the picture on the right, to see where the scan reads for that place.'
            )
            inside = gr.Image(label='What DAMamba looks at', interactive=False, format='png', elem_id='inside')
            drawn.select(
                page.look_inside,
                found,
                inside,
                concurrency_limit=1,
                concurrency_id='detector',
                api_visibility='private',
            )
        outputs = [drawn, rows, sentence, download]
        quiet = dict(api_visibility='private', show_progress='minimal')
        done = picture.change(
            page.detect, picture, found, concurrency_limit=1, concurrency_id='detector', api_visibility='private'
        )
        done.then(page.show, [found, score, names], outputs, **quiet)
        for event in (score.release, names.change):
            event(page.show, [found, score, names], outputs, **quiet)
    return blocks


def add_api(app: FastAPI, desk: Desk) -> None:
    """Add ``POST /predict``: a picture as the form's field ``picture``; what scores ``score`` or more comes back."""

    async def answer(request: Request, score: float = DRAWN) -> dict:
        try:
            form = await MultiPartParser(request.headers, _no_more(request.stream())).parse()
        except (KeyError, MultiPartException) as error:
            raise HTTPException(422, NO_FORM) from error
        if not isinstance(form.get('picture'), UploadFile):
            raise HTTPException(422, NO_FORM)
        return await run_in_threadpool(_answer, desk, form['picture'], score)

    app.post('/predict')(answer)


async def _no_more(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same, as long as they are not too many: the rest is not waited for, and not kept."""
    total = 0
    async for chunk in chunks:
        total += len(chunk)
        if total > MEGABYTES * 2**20:
            raise HTTPException(413, f'this is more than {MEGABYTES} MB')
        yield chunk


def _answer(desk: Desk, picture: UploadFile, score: float) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'upload')  # what it is called may be no name of a file
        with path.open('wb') as file:
            shutil.copyfileobj(picture.file, file)
        try:
            found = replace(desk.detect(str(path)), name=Path(picture.filename or '').name)
        except PictureError as error:
            raise HTTPException(503 if str(error) == BUSY else 422, str(error).replace(f'{folder}/', '')) from error
    return as_json(found.above(score))


def as_json(found: Detections) -> dict:
    """``{name, height, width, milliseconds, detections: [{class, score, box, mask, pick}]}``, in pixels.

    A box is left, top, right, bottom, a mask COCO's RLE, ``pick`` a point in it, None for a tote or an empty mask.
    """
    masks = found.to_coco().get('segm')
    picks = {} if found.rles is None else {point.place: [point.x, point.y] for point in found.pick_points(0)}
    detections = [
        {
            'class': name,
            'score': float(score),
            'box': box.tolist(),
            **({'mask': masks[place]['segmentation'], 'pick': picks.get(place)} if masks is not None else {}),
        }
        for place, (name, score, box) in enumerate(zip(found.names, found.scores, found.boxes, strict=True))
    ]
    height, width = found.size
    return dict(name=found.name, height=height, width=width, milliseconds=found.milliseconds, detections=detections)
