"""Two faults at once, of different groups."""

from tests.evaluation.diagnosis.sabotage.variants import VARIANTS, Variant

# (one, the other): what is done, the sets on which it is tried, the kinds that are harmed by both
PAIRS = {
    ('ids-shifted-one-lower', 'masks-flattened-the-unsure-on-top'): ('totes', 'segm'),
    ('ids-shifted-one-lower', 'masks-flattened-the-large-on-top'): ('totes', 'segm'),
    ('ids-shifted-one-higher', 'boxes-xyxy-corners'): ('shapes totes coco', 'bbox'),
    ('labels-as-ids-from-0,-by-id', 'boxes-cxcywh-centres'): ('gaps coco', 'bbox'),
    ('labels-as-ids-from-1,-by-id', 'masks-transposed-columns-for-rows'): ('gaps coco', 'segm'),
    ('category-names-as-they-are', 'images-by-name-file-names'): ('coco totes', 'bbox segm'),
    ('images-by-index-from-0,-by-name', 'boxes-normalised-xywh'): ('gaps', 'bbox'),
    ('images-shifted-far', 'boxes-resized-1333-x-800'): ('coco shapes', 'bbox'),
    ('images-by-name-without-suffix', 'masks-inverted-background-for-object'): ('totes gaps', 'segm'),
    ('scores-reversed-of-the-background', 'boxes-xyxy-corners'): ('shapes coco', 'bbox'),
    ('scores-reversed-of-the-background', 'ids-shifted-one-lower'): ('totes coco', 'bbox segm'),
    ('part-of-pictures-the-first-half', 'ids-shifted-one-higher'): ('coco shapes', 'bbox segm'),
    ('part-of-pictures-every-second', 'boxes-transposed-y-before-x'): ('totes coco', 'bbox'),
    ('duplicates-no-suppression', 'boxes-cxcywh-centres'): ('shapes coco', 'bbox segm'),
    ('ids-shifted-one-lower', 'masks-resized-256-x-256'): ('shapes coco', 'segm'),
    ('classes-permuted-all', 'boxes-xyxy-corners'): ('shapes', 'bbox'),
    ('classes-permuted-two', 'images-shifted-one-lower'): ('shapes', 'bbox segm'),
    ('one-class-the-first', 'boxes-xyxy-corners'): ('shapes', 'bbox'),
    ('boxes-padded-letterbox-of-640', 'labels-as-ids-from-0,-by-id'): ('coco', 'bbox'),
}


def both(first: Variant, second: Variant, sets: str, kinds: str) -> Variant:
    """One after the other; the one that the ids of pictures are needed for comes first."""

    def make(entries, document, rng):
        return second.make(first.make(entries, document, rng), document, rng)

    mends = {first.mend, second.mend}
    mend = next(mend for mend in ('none', 'bound', 'exact') if mend in mends)
    faults, name = (*first.faults, *second.faults), f'{first.name}, {second.name}'
    return Variant(faults, name, make, tuple(kinds.split()), mend, tuple(sets.split()))


def add_pairs() -> None:
    """Add them to VARIANTS."""
    known = {variant.id: variant for variant in VARIANTS}
    VARIANTS.extend(_ordered(*(known[name] for name in names), *rest) for names, rest in PAIRS.items())


def _ordered(first: Variant, second: Variant, sets: str, kinds: str) -> Variant:
    """What changes ids comes last, since other makers look up pictures and categories by them."""
    late = ('images', 'category', 'labels', 'ids', 'classes', 'one')
    first, second = sorted((first, second), key=lambda variant: variant.faults[0].startswith(late))
    return both(first, second, sets, kinds)
