"""What a detector in use does without the packages that some of its parts need."""

import subprocess
import sys

from tests.detection import ROOT

CODE = """
import numpy as np
import damamba.inference
from damamba.checkpoint import CheckpointError
from damamba.inference import Detections
from damamba.inference.published import resolve

empty = np.zeros(0, np.float32)
found = Detections(empty.reshape(0, 4), empty, empty.astype(int), ('ball',), [], (4, 4))
for ask in (found.to_pandas, found.to_supervision, found.draw, lambda: resolve('damamba-tiny-mask-rcnn-1x')):
    try:
        ask()
    except (ImportError, CheckpointError) as error:
        print(error)
from damamba.cli.serve import main
main([])
"""


def test_importing_needs_none_of_them_and_what_needs_one_says_so(tmp_path):
    for name in ('gradio', 'supervision', 'pandas', 'huggingface_hub'):
        (tmp_path / f'{name}.py').write_text(f'raise ModuleNotFoundError("No module named {name!r}", name={name!r})')
    command = [sys.executable, '-c', f'import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]{CODE}']
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    said = done.stdout.splitlines()
    assert said[:3] == [
        f'this needs {name}: pip install {name}' for name in ('pandas', 'supervision', 'supervision')
    ], done.stderr
    assert "can not be fetched (No module named 'huggingface_hub'): put https" in said[3]
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == 'error: serve needs gradio: pip install gradio'
