"""How often the guess of what lies on top is right, in totes of which it is known. No GPU, half a minute.

    python benchmarks/picks.py
    python benchmarks/picks.py --totes 600 --long-side 960

What lies on what is known of the stand-in for ARMBench, which draws it. An object is taken for uncovered if others hide
at most a twentieth of it. `gap` leaves two pixels between neighbours, as annotators may.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout: nothing needs to be installed

from damamba.datasets.drawing.heap import Visible
from damamba.datasets.drawing.totes import VIEWS, fill_tote
from damamba.evaluation.analysis.picks import TOLERANCE
from damamba.picking import covered_shares, patch_of, pick_points

HIDDEN = 0.05  # of an object, at most, if nothing to speak of lies on it
GAP = np.ones((3, 3), np.uint8)  # takes a pixel from every side


def totes(count: int, long_side: int) -> list[list[Visible]]:
    """The objects of so many totes, of the three subsets in turn."""
    views = [*VIEWS.values()]
    return [
        fill_tote(views[n % len(views)], long_side, np.random.default_rng((n % len(views), n)))[2].see()
        for n in range(count)
    ]


def judge(things: list[Visible], gap: bool) -> dict[str, list[bool]]:
    """What is guessed of each object, and what is known of it; whether the first pick, and any, is uncovered."""
    masks = [cv2.erode(it.mask.astype(np.uint8), GAP) if gap else it.mask.astype(np.uint8) for it in things]
    known = [(it, mask) for it, mask in zip(things, masks, strict=True) if mask.any()]
    rles = [coco_mask.encode(np.asfortranarray(mask)) for _, mask in known]
    free = [it.hidden <= HIDDEN for it, _ in known]
    covered = covered_shares([patch_of({**it, 'counts': it['counts'].decode()}) for it in rles])
    on_top = [share <= min(covered) + TOLERANCE for share in covered]
    first = next(pick_points(rles, [1.0] * len(rles), ['object'] * len(rles)))
    return {'on top': on_top, 'uncovered': free, 'first': [free[first.place]], 'random': [sum(free) / len(free)]}


def shares(found: list[dict[str, list[bool]]]) -> dict[str, float]:
    """The four figures of docs/evaluation.md."""
    columns = {key: np.concatenate([it[key] for it in found]) for key in found[0]}
    on_top, free = columns['on top'].astype(bool), columns['uncovered'].astype(bool)
    return {
        'on top that are uncovered': free[on_top].mean(),
        'uncovered that are on top': on_top[free].mean(),
        'first picks that are uncovered': columns['first'].mean(),
        'uncovered if picked at random': columns['random'].mean(),
    }


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--totes', type=int, default=180, help='how many are drawn (default: %(default)s)')
    parser.add_argument('--long-side', type=int, default=480, help='of the pictures, in pixels (default: %(default)s)')
    args = parser.parse_args(argv)
    drawn = [things for things in totes(args.totes, args.long_side) if things]
    for what, gap in (('as drawn', False), ('with a gap of two pixels', True)):
        for name, share in shares([judge(things, gap) for things in drawn]).items():
            sys.stdout.write(f'{what}: {name}: {share:.1%}\n')


if __name__ == '__main__':
    main()
