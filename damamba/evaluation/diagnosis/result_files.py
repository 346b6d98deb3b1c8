"""Reading files of results that anybody wrote."""

from pathlib import Path

from damamba.datasets.json_files import read_json
from damamba.evaluation.results import EvaluationError

AROUND = ('annotations', 'predictions', 'results', 'detections')  # keys under which some tools put the list
WANTED = 'a list of objects with image_id, category_id, score, and bbox or segmentation'


def read_entries(path: Path) -> list[dict]:
    """The entries of a file of results, a list, or a dictionary with that list in it.

    Raises:
        EvaluationError: it can't be read, or holds something else; the text says what was wanted.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise EvaluationError(f'{path} can not be read as JSON: {error}') from error
    if isinstance(content, dict):
        if 'images' in content and not any('score' in it for it in content.get('annotations') or () if it):
            raise EvaluationError(f'{path} is a ground truth; wanted results: {WANTED}')
        content = next((content[key] for key in AROUND if isinstance(content.get(key), list)), None)
    if not isinstance(content, list) or not all(isinstance(it, dict) for it in content):
        raise EvaluationError(f'{path} does not hold results in the format of COCO: {WANTED}')
    return content
