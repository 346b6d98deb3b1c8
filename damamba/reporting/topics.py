"""The report's topics, each with the tables and the pictures of every data set; the first data set is the main one."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from damamba.reporting import comparison as draw
from damamba.reporting import figures
from damamba.reporting.page import Block, Page, Picture, Topic
from damamba.reporting.published import published_sheet
from damamba.reporting.sections import Section, focused
from damamba.reporting.setups import setup
from damamba.reporting.sheets import Sheet
from damamba.reporting.words import listed

BEHIND = 'The figures are in the table.'
WORDS = {'segm': 'masks', 'bbox': 'boxes'}


def topics_of(page: Page) -> list[Topic]:
    """All that there is something to show for, in their order; pictures are drawn on the way."""
    parts = (comparison, training, overview, sizes, recall, curves, latency, errors, segmentation, classes, examples)
    topics = [part(page) for part in (*parts, proofs, published, setup)]
    return [topic for topic in topics if topic.blocks]


def comparison(page: Page) -> Topic:
    """The tables to decide from."""
    text = 'Each table is of one ground truth; the best value of a column is marked.'
    if len({s.results[0].dataset.name for s in page.sections}) < len(page.sections):
        text += ' Runs that were tested on other annotations, or scored in another way, have a table of their own.'
    blocks = [
        Block(_heading(page, s), [figures.comparison(s, page.runs)], notes=_notes(page, s)) for s in page.sections
    ]
    return Topic('comparison', 'Comparison', text, blocks)


def _heading(page: Page, section: Section) -> str:
    return (
        f'{section.label} (the main data set)'
        if len(page.sections) > 1 and section is page.sections[0]
        else section.label
    )


def _notes(page: Page, section: Section) -> list[str]:
    """What is to be known of a table."""
    it = section.results[0].evaluation
    notes = [f'{it["images"]:,} pictures, {it["objects"]:,} objects of {listed(section.classes)}.'] * (
        len(section.classes) <= 8
    )
    notes = notes or [f'{it["images"]:,} pictures, {it["objects"]:,} objects of {len(section.classes)} classes.']
    if section.focus:
        notes.append(f'{section.focus} comes first: the mean over classes takes in the others.')
    if section.drawn:
        notes.append('These pictures are drawn, a stand-in for ARMBench: figures on them compare nothing but set-ups.')
    unproved = [result.run for result in section.results if not result.proved]
    if unproved:
        notes.append(f'Not proved: {listed(unproved)}. What proves it stands above, under what is missing.')
    notes += _unlike(section)
    refused = [r for r in page.refusals if r.dataset == section.results[0].dataset.name]
    return [*notes, *(f'{r.run} has no row: its figures are refused, for the reasons above.' for r in refused)]


def _unlike(section: Section) -> list[str]:
    places = figures.unlike_speeds(section)
    return [f'Times and memory were not measured alike, so none is marked: {"; ".join(places)}.'] if places else []


def training(page: Page) -> Topic:
    """Losses, and mAP while training, of all runs."""
    losses = {run.name: run.log for run in page.runs if run.log.train}
    maps = {run.name: run.log for run in page.runs if run.log.val and not page.refused(run)}
    maps = {name: log for name, log in maps.items() if any('mAP' in key for row in log.val for key in row)}
    pictures = []
    if losses:
        alt = f'Curves: the loss by epoch of {listed(losses)}.'
        pictures.append(page.draw('losses.png', alt, draw.draw_losses, losses))
    if maps:
        alt = f'Curves: mask mAP and box mAP on the validation data by epoch, of {listed(maps)}.'
        pictures.append(page.draw('validation.png', alt, draw.draw_validation, maps))
    notes = ['Validation is on the data that each config validates on, and is the mean over classes.'] if maps else []
    left_out = [run.name for run in page.runs if run.log.val and page.refused(run)]
    if left_out:
        notes.append(f'Without a curve of mAP, since figures of it are refused: {listed(left_out)}.')
    return Topic('training', 'Training', blocks=[Block(pictures=pictures, notes=notes)] if pictures else [])


def overview(page: Page) -> Topic:
    """AP50 and mAP of all runs on all data sets in one picture, by focus."""
    blocks = []
    for focus in dict.fromkeys(section.focus for section in page.sections):
        scores = {s.label: _scores(s) for s in page.sections if s.focus == focus and 'segm' in s.kinds}
        if scores:
            name = 'overview.png' if not blocks else f'overview-{len(blocks) + 1}.png'
            alt = f'Bars: mask mAP and AP50 of every run on {listed(scores)}. {BEHIND}'
            blocks.append(Block(pictures=[page.draw(name, alt, draw.draw_overview, scores, focus=focus)]))
    return Topic('overview', 'All data sets', blocks=blocks)


def _scores(section: Section) -> dict[str, dict]:
    return {run: focused(it['scores']['segm'], section.focus) for run, it in section.of('segm').items()}


def sizes(page: Page) -> Topic:
    """AP by size."""
    text = (
        'COCO calls objects small below 32² pixels and large from 96² on, which hardly fits large pictures; so AP is '
        'also sorted by the part of the picture that an object takes.'
    )
    return Topic('sizes', 'AP by size', text, list(_by_kind(page, 'sizes', figures.sizes, draw.draw_sizes)))


def recall(page: Page) -> Topic:
    """AR."""
    text = 'How much of what is there is found: AR, by the number of detections in a picture that count, and by size.'
    return Topic('recall', 'Recall', text, list(_by_kind(page, 'recall', figures.recall, draw.draw_recall)))


def _by_kind(page: Page, name: str, sheet: Callable, drawer: Callable) -> Iterator[Block]:
    """A picture of masks, or else of boxes, and tables of both."""
    for section in page.sections:
        kind = section.kinds[0]
        alt = f'Bars: {name} of {WORDS[kind]} of {section.of_what()} on {section.label}. {BEHIND}'
        evaluations = section.of(kind)
        picture = page.draw(f'{section.slug}-{name}.png', alt, drawer, evaluations, kind=kind, focus=section.focus)
        yield _block(page, section, [sheet(section, it) for it in section.kinds], [picture])


def _block(
    page: Page, section: Section, sheets: Sequence[Sheet], pictures: Sequence[Picture], notes: Sequence[str] = ()
) -> Block:
    """The main data set is open, the others fold."""
    return Block(section.label, sheets, pictures, notes, folded=section is not page.sections[0])


def curves(page: Page) -> Topic:
    """Precision by recall."""
    blocks = []
    for section in page.sections:
        kind = section.kinds[0]
        having = section.detailed(kind, 'curves')
        if having:
            alt = f'Curves: precision by recall at IoU 0.50 and 0.75 of {listed(having)} on {section.label}.'
            name = f'{section.slug}-precision-recall.png'
            picture = page.draw(name, alt, draw.draw_precision_recall, having, kind=kind, focus=section.focus)
            blocks.append(_block(page, section, [], [picture], _without(section, having)))
    return Topic('precision-recall', 'Precision by recall', blocks=blocks)


def _without(section: Section, having: dict) -> list[str]:
    lacking = [result.run for result in section.results if result.run not in having]
    return [f'Not measured: {listed(lacking)}.'] if lacking else []


def latency(page: Page) -> Topic:
    """Seconds by the number of objects, and memory."""
    text = 'Median seconds from a loaded batch to masks at the size of the picture, by the number of objects in it.'
    blocks = []
    for section in page.sections:
        if section.speeds:
            alt = f'Bars: seconds a picture by the number of objects, and peak memory, on {section.label}. {BEHIND}'
            picture = page.draw(f'{section.slug}-latency.png', alt, draw.draw_latency, section.speeds)
            notes = [*_unlike(section), *_without(section, section.speeds)]
            blocks.append(_block(page, section, [figures.latency(section)], [picture], notes))
    return Topic('latency', 'Latency', text, blocks)


def errors(page: Page) -> Topic:
    """What errors cost."""
    text = (
        'How much AP50 would gain if errors of one kind alone were mended. A run that finds little has little to lose: '
        'read it beside its AP50.'
    )
    blocks = []
    for section in page.sections:
        kind = section.kinds[0]
        having = section.detailed(kind, 'errors')
        if having:
            alt = f'Bars: AP50 lost to each kind of error on {section.label}, for {listed(having)}. {BEHIND}'
            name = f'{section.slug}-errors.png'
            picture = page.draw(name, alt, draw.draw_errors, having, kind=kind, focus=section.focus)
            sheets = [figures.errors(section, it) for it in section.kinds if section.detailed(it, 'errors')]
            blocks.append(_block(page, section, sheets, [picture], _without(section, having)))
    return Topic('errors', 'What errors cost', text, blocks)


def segmentation(page: Page) -> Topic:
    """Over- and under-segmentation."""
    text = (
        'Under-segmentation is one mask over several objects, over-segmentation several masks on one object: '
        'what makes a grasp fail.'
    )
    blocks = []
    for section in page.sections:
        having = section.detailed('segm', 'segmentation')
        if having:
            alt = f'Bars: rates of over- and under-segmentation on {section.label}, for {listed(having)}. {BEHIND}'
            name = f'{section.slug}-segmentation.png'
            picture = page.draw(name, alt, draw.draw_segmentation, having, focus=section.focus)
            blocks.append(_block(page, section, [figures.segmentation(section)], [picture], _without(section, having)))
    return Topic('segmentation', 'Over- and under-segmentation', text, blocks)


def classes(page: Page) -> Topic:
    """AP of each class, where there is room for it."""
    blocks = []
    for section in page.sections:
        if 1 < len(section.classes) <= figures.FEW_CLASSES:
            blocks.append(_block(page, section, [figures.by_class(section, it) for it in section.kinds], []))
        elif len(section.classes) > 1:
            note = f'The figures of all {len(section.classes)} classes are in classes.csv.'
            blocks.append(_block(page, section, [], [], [note]))
    return Topic('classes', 'By class', blocks=blocks)


def examples(page: Page) -> Topic:
    """The same pictures, as each run sees them."""
    blocks = []
    for section in page.sections:
        having = {it.run: it for it in section.results if it.examples and it.examples.get('images')}
        if not having:
            continue
        notes = _without(section, having)
        if not _shared(having):
            notes.append(f'The runs left no picture that all have, so none is shown: {listed(having)}.')
            blocks.append(_block(page, section, [], [], notes))
            continue
        folders = {run: it.folder for run, it in having.items()}
        contents = {run: it.examples for run, it in having.items()}
        alt = f'Pictures of {section.label}: the ground truth, and beside it the masks of {listed(having)}.'
        name = f'{section.slug}-examples.png'
        picture = page.draw(name, alt, draw.draw_examples, contents, folders, least=page.least)
        blocks.append(_block(page, section, [], [picture], notes))
    text = f'What scores at least {page.least:g} is drawn. The pictures were chosen by the ground truth alone.'
    return Topic('examples', 'The same pictures side by side', text, blocks)


def _shared(having: dict) -> set:
    """The pictures that all have."""
    return set.intersection(*({image['id'] for image in it.examples['images']} for it in having.values()))


def proofs(page: Page) -> Topic:
    """Every claim, and what was seen."""
    text = (
        'Before a test with --prove, the ground truth is fed back as predictions, through the heads and the evaluator '
        'of the config: it has to score 1.000. Then known faults are made in it, and each has to be seen.'
    )
    blocks = []
    for run, result in page.results():
        label, proof = page.label(result), result.metrics.get('proof')
        if not proof:
            blocks.append(
                Block(f'{run.name} on {label}: not proved', notes=['It was tested without --prove.'], folded=True)
            )
            continue
        verdict = 'proved' if result.proved else 'NOT PASSED'
        counts = Counter(it['passed'] for it in result.checks)
        parts = {'hold': counts[True], 'do NOT hold': counts[False], 'had nothing to see': counts[None]}
        claims = ', '.join(f'{count} {what}' for what, count in parts.items() if count)
        seen = f'{proof["images"]:,} pictures and {proof["objects"]:,} objects of {proof["ann_file"]}'
        origin = f'On {seen}, through {proof["head"]}.'
        title = f'{run.name} on {label}: {verdict}; of {len(result.checks)} claims {claims}'
        sheets = [figures.checks(label, result)]
        blocks.append(Block(title, sheets, notes=[origin], folded=True, opened=not result.proved))
    return Topic('proof', 'Proof of the evaluations', text, blocks)


def published(page: Page) -> Topic:
    """What others have published of the same data sets."""
    sheets = [sheet for section in page.sections if (sheet := published_sheet(section))]
    text = 'Published, not measured here.'
    return Topic('published', 'Published figures', text, [Block(it.title, [it], lead=it.note) for it in sheets])
