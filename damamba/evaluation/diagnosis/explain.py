"""Results in COCO's format, from anybody, and annotations -> what is wrong with them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from pycocotools import mask as coco_mask

from damamba.evaluation.analysis.errors import break_down
from damamba.evaluation.analysis.overlaps import read_pictures
from damamba.evaluation.coco_ap import ground_truth, score
from damamba.evaluation.diagnosis.columns import (
    Results,
    Truth,
    as_entries,
    read_results,
    read_truth,
    with_drawn_polygons,
)
from damamba.evaluation.diagnosis.entries import broken, notes_of
from damamba.evaluation.diagnosis.mends import State
from damamba.evaluation.diagnosis.other_set import other_set
from damamba.evaluation.diagnosis.scores import scale_of
from damamba.evaluation.diagnosis.search import Way, claims, find_ways, sample_of
from damamba.evaluation.diagnosis.verdict import Diagnosis, Explanation, shown, told
from damamba.evaluation.results import NAMES, Evaluation, EvaluationError

NEARLY_NOTHING = 0.05  # mAP below which results may be of other pictures
COSTS = {
    'missed': 'objects that nothing lies on',
    'background': 'detections where no object is',
    'localisation': 'detections that lie badly on their objects',
    'classification': 'wrong classes',
    'both': 'detections wrong in class and place',
    'duplicate': 'objects found several times',
}
MOST = 3  # explanations of a kind that are measured
MASKS = 20_000  # that are changed to measure a mend; of more, those of a sample


def diagnose(document: Mapping, entries: Sequence[Mapping]) -> Diagnosis:
    """Score results as they stand, and try what may be wrong with them.

    Args:
        document: annotations in COCO's format.
        entries: results in COCO's format, or nearly so: boxes, masks (RLE or polygons), or both.

    Raises:
        EvaluationError: there are no results, or nothing to find.
    """
    truth = read_truth(document)
    if not len(truth.image) or truth.crowd.all():
        raise EvaluationError('the annotations have nothing to find: no objects, or crowds alone')
    if not entries:
        raise EvaluationError('there are no results: an empty list finds nothing')
    results = with_drawn_polygons(read_results(entries, truth), truth)
    kinds = kinds_of(results, truth)
    evaluation = score(ground_truth(dict(document)), {kind: as_entries(results, truth, kind) for kind in kinds})
    found = {kind: _explain(State(results, truth, kind), evaluation.scores[kind].values['mAP']) for kind in kinds}
    explanations = _joined(found) or _without_mend(results, truth, evaluation)
    explanations = _with_scale(explanations, results, evaluation)
    notes = () if explanations else tuple(notes_of(results, truth))
    costs = '' if explanations else costs_of(document, evaluation, results, truth)
    return Diagnosis(evaluation, tuple(explanations), costs, notes, State(results, truth, kinds[-1]))


def kinds_of(results: Results, truth: Truth) -> list[str]:
    """What can be scored; EvaluationError if there are neither boxes nor masks."""
    kinds = [] if results.boxes is None else ['bbox']
    kinds += ['segm'] if results.masks and truth.has_masks else []
    if not kinds:
        raise EvaluationError('the results have neither boxes nor masks that can be scored on these annotations')
    return kinds


def _explain(state: State, given: float) -> list[Explanation]:
    """What explains figures of boxes or masks, the best first, measured on all pictures where that is affordable."""
    chosen = sample_of(state)
    of_sample, ways = find_ways(state, chosen)
    found = []
    for way in ways[:MOST]:
        changes_masks = 'masks' in way.families or (state.kind == 'segm' and 'pictures' in way.families)
        if chosen.all() or (changes_masks and len(state.results) > MASKS):
            found.append(_explanation(way, way.mean_ap, of_sample, int(chosen.sum()), len(chosen)))
        else:
            measured = state
            for mend in way.mends:
                measured = mend.change(measured)
            value = measured.mean_ap()
            if claims(way.mends, value, given):
                found.append(_explanation(way, value, given, len(chosen), len(chosen)))
    return sorted(found, key=lambda it: it.rank)


def _explanation(way: Way, value: float, given: float, pictures: int, of: int) -> Explanation:
    kind, is_bound = way.state.kind, any(mend.is_bound for mend in way.mends)
    on = '' if pictures == of else f' on {pictures} of {of:,} pictures, which have {shown(given)} as they are'
    sentence = told([it.words for it in way.mends], [it.cause for it in way.mends], value, is_bound, on)
    return Explanation(way.faults, kind, value, given, pictures, sentence, is_bound, way.mends)


def _joined(found: Mapping[str, list[Explanation]]) -> list[Explanation]:
    """Those of masks and boxes, the same once; where the best of each have faults of their own, both together first."""
    boxes, masks = (found.get(kind, []) for kind in ('bbox', 'segm'))
    alone = {frozenset(it.faults): it for it in boxes}
    merged = [_of_both(it, alone.pop(frozenset(it.faults), None)) for it in masks]
    rest = sorted([*merged, *alone.values()], key=lambda it: it.rank)
    if not (boxes and masks):
        return rest
    of_masks, of_boxes = set(masks[0].faults), set(boxes[0].faults)
    if of_masks <= of_boxes or of_boxes <= of_masks:
        rest.sort(key=lambda it: set(it.faults) != of_masks | of_boxes)
        return rest
    faults = tuple(dict.fromkeys((*masks[0].faults, *boxes[0].faults)))
    both = f'Masks: {masks[0].sentence} Boxes: {boxes[0].sentence}'
    return [replace(masks[0], faults=faults, sentence=both), *rest]


def _of_both(masks: Explanation, boxes: Explanation | None) -> Explanation:
    if boxes is None:
        return masks
    figure = f'{"about " if masks.is_bound else ""}{shown(masks.mean_ap)}'
    return replace(
        masks, sentence=masks.sentence.replace(f': {figure}', f': {figure} (boxes {shown(boxes.mean_ap)})', 1)
    )


def _without_mend(results: Results, truth: Truth, evaluation: Evaluation) -> list[Explanation]:
    """What explains figures of nearly nothing, and nothing can mend."""
    values = {kind: it.values['mAP'] for kind, it in evaluation.scores.items()}
    kind, images = min(values, key=values.get), len(truth.image_ids)
    if values[kind] >= NEARLY_NOTHING:
        return []
    found = broken(results, truth)
    if found and found[0] in values:
        return [Explanation(('broken-entries',), found[0], None, values[found[0]], images, found[1])]
    if 'segm' in values and not any(isinstance(mask, dict) and coco_mask.area(mask) for mask in results.masks):
        sentence = 'Masks have no pixels: was a threshold too high, or a type cut to whole numbers?'
        return [Explanation(('masks-empty',), 'segm', None, values['segm'], images, sentence)]
    why = other_set(results, truth) if max(values.values()) < NEARLY_NOTHING else None
    return [Explanation(('other-set',), kind, None, values[kind], images, why)] if why else []


def _with_scale(explanations: list[Explanation], results: Results, evaluation: Evaluation) -> list[Explanation]:
    """With what is wrong with the scale of the scores, which moves no mAP, beside the best explanation."""
    found = scale_of(results.scores)
    if not found or any('scores-reversed' in it.faults for it in explanations):
        return explanations
    fault, sentence = found
    if explanations:
        first, *others = explanations
        return [replace(first, faults=(*first.faults, fault), sentence=f'{first.sentence} {sentence}'), *others]
    kind = list(evaluation.scores)[-1]
    given = evaluation.scores[kind].values['mAP']
    return [Explanation((fault,), kind, given, given, evaluation.images, sentence)]


def costs_of(document: Mapping, evaluation: Evaluation, results: Results, truth: Truth) -> str:
    """Which errors cost most, as text, on a sample of the pictures."""
    kind = min(evaluation.scores, key=lambda it: evaluation.scores[it].values['mAP'])
    state = State(results, truth, kind)
    chosen = {truth.image_ids[place] for place in np.flatnonzero(sample_of(state))}
    part = {
        key: [it for it in document[key] if it[own] in chosen]
        for key, own in (('images', 'id'), ('annotations', 'image_id'))
    }
    sample = ground_truth({**document, **part})
    entries = [it for it in as_entries(results, truth, kind) if it['image_id'] in chosen]
    names = [category['name'] for category in document['categories']]
    errors = break_down(read_pictures(sample, entries, kind, truth.category_ids), names).values
    dearest = sorted((name for name in errors if name in COSTS), key=lambda name: -errors[name])[:2]
    costs = [f'{COSTS[name]} ({errors[name]:.3f} of AP50)' for name in dearest if errors[name] > 0.005]
    return f'what costs {NAMES[kind]} mAP most are {" and ".join(costs)}.' if costs else ''
