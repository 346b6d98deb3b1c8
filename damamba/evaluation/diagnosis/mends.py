"""What can be wrong with results, how it would be mended, and what mAP a mend brings."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from damamba.evaluation.diagnosis.columns import Results, Truth
from damamba.evaluation.diagnosis.quick_ap import MOST, Pairs, mean_ap, pair

FAULTS = {  # what the mistake is, by its name
    'images-by-index': 'image ids count the pictures',
    'images-by-name': 'image ids are names of files, or texts',
    'images-shifted': 'image ids are off by a number',
    'images-order': 'pictures stand in another order than in the annotations',
    'broken-entries': 'most entries have no box, or no mask, that can be read or that is of the size of its picture',
    'other-set': 'the results are of other pictures',
    'category-names': 'names of categories in place of their ids',
    'ids-shifted': 'category ids are off by a number',
    'labels-as-ids': "a class's place in a list in place of the id of its category",
    'classes-permuted': 'categories stand for each other',
    'one-class': 'all detections are of one category',
    'boxes-xyxy': 'boxes are left, top, right, bottom, not left, top, width, height',
    'boxes-cxcywh': 'boxes begin with their centre',
    'boxes-transposed': 'x and y of boxes are exchanged',
    'boxes-turned': 'boxes are in pictures that were mirrored or turned',
    'boxes-normalised': "boxes are shares of the picture's width and height (or thousandths)",
    'boxes-resized': 'boxes are in the pixels of a resized picture',
    'boxes-padded': 'boxes are in the pixels, or shares, of a padded picture',
    'boxes-offset': 'boxes are off by what was cropped or added',
    'boxes-beside-masks': 'boxes do not lie around the masks of the same detections',
    'masks-transposed': 'rows and columns of masks are exchanged',
    'masks-turned': 'masks are of pictures that were mirrored or turned',
    'masks-resized': 'masks are of another size than their pictures',
    'masks-are-boxes': 'masks are boxes',
    'masks-flattened': 'masks went through one map, in which a pixel belongs to one object alone',
    'masks-empty': 'masks have no pixels',
    'masks-inverted': 'masks are of what is around the objects',
    'scores-missing': 'detections have no scores',
    'scores-constant': 'all scores are equal',
    'scores-logits': 'scores are logits, or logarithms',
    'scores-percent': 'scores are in percent',
    'scores-scale': 'scores are not from 0 to 1',
    'scores-reversed': 'low scores are the sure ones',
    'max-dets': 'crowded pictures have more objects than detections that count, or that were kept',
    'part-of-pictures': 'a part of the pictures has no results',
    'ignored-objects': 'objects that should be left out count',
    'duplicates': 'each object is detected several times',
}


@dataclass(frozen=True)
class State:
    """Results beside annotations, with what is measured of them: all of it, or of some pictures alone."""

    results: Results
    truth: Truth
    kind: str  # bbox or segm
    most: int = MOST  # detections of a picture and class
    pictures: np.ndarray | None = None  # [I], flags of those that count; all where None
    known: dict[str, Pairs] = field(default_factory=dict, repr=False)  # pairs by kind, for these places

    def with_results(self, same_places: bool = False, **columns: object) -> 'State':
        """With other columns in the results; ``same_places`` where everything lies where it lay."""
        return replace(self, results=replace(self.results, **columns), known=self.known if same_places else {})

    def with_truth(self, same_places: bool = False, **columns: object) -> 'State':
        return replace(self, truth=replace(self.truth, **columns), known=self.known if same_places else {})

    @property
    def pairs(self) -> Pairs:
        """Detections and objects that overlap by 0.5 or more."""
        if self.kind not in self.known:
            self.known[self.kind] = pair(self.results, self.truth, self.kind)
        return self.known[self.kind]

    def mean_ap(self) -> float:
        return mean_ap(self.results, self.truth, self.pairs, most=self.most, pictures=self.pictures)

    def localised(self) -> float:
        """The same as if all were of one class."""
        truth = replace(self.truth, label=np.zeros_like(self.truth.label), categories=['anything'])
        results = replace(self.results, label=np.zeros_like(self.results.label))
        return mean_ap(results, truth, self.pairs, most=self.most, pictures=self.pictures)

    def sample(self, chosen: np.ndarray) -> 'State':
        """Of the pictures chosen, flags [I], alone."""
        objects, image = np.flatnonzero(chosen[self.truth.image]), self.results.image
        columns = {name: getattr(self.truth, name)[objects] for name in ('image', 'label', 'boxes', 'crowd', 'ignored')}
        truth = replace(self.truth, **columns, outlines=[self.truth.outlines[g] for g in objects])
        pictures = None if self.pictures is None else self.pictures & chosen
        results = self.results.take((image >= 0) & chosen[image])
        return replace(self, truth=truth, results=results, pictures=pictures, known={})


@dataclass(frozen=True)
class Mend:
    """A way to put results right.

    ``words`` end a sentence that begins with "With", ``cause`` says what the mistake was. ``is_bound``: what is lost
    can't be had back from the file, so that the mAP is about what could be reached. ``gain`` and ``times`` say by
    how much, and how many times, mAP has to rise for the fault to be claimed: little where the fault is seen itself.
    """

    faults: tuple[str, ...]
    words: str
    cause: str
    change: Callable[[State], State]
    family: str
    is_bound: bool = False
    gain: float = 0.02
    times: float = 1.25


def plain(value: float) -> str:
    """A number without needless digits."""
    return f'{value:.4g}'
