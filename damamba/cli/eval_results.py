"""Score predictions that lie in a file: FILE.pkl of ``--out``, or FILE.json of ``--format-only``.

Of a run's metrics.json the figures are shown again, and its details are drawn.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from faster_coco_eval import COCO
from mmdet.registry import DATASETS

from damamba.cli.commands import command_parser
from damamba.cli.common import run
from damamba.cli.console import say
from damamba.cli.options import add_pairs
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError, check_files
from damamba.evaluation.analysis.details import analyse
from damamba.evaluation.annotations import read, require_usable
from damamba.evaluation.building import build_dataset
from damamba.evaluation.coco_ap import IOU_THRS, MAX_DETS, EvaluationError, category_ids, ground_truth, renamed, score
from damamba.evaluation.known_faults import name_faults
from damamba.evaluation.predictions import coco_results, read_json, read_pickle, with_readable_values
from damamba.evaluation.results import Evaluation, Fault, Scores
from damamba.evaluation.tested import Tested, read_tested
from damamba.reporting.charts import draw_class_errors, draw_class_precision_recall, draw_confusion
from damamba.run_record import read_metrics
from damamba.types import class_of

OPTIONS = {'classwise': False, 'proposal_nums': MAX_DETS, 'iou_thrs': IOU_THRS, 'details': False, 'containers': None}

PLOTS = {
    'precision_recall.png': draw_class_precision_recall,
    'confusion.png': draw_confusion,
    'errors.png': draw_class_errors,
}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = command_parser('eval-results', __doc__)
    parser.add_argument('file', type=Path, metavar='FILE', help='predictions: a .pkl or .json file; or metrics.json')
    parser.add_argument('--config', help='what made them; by default the config that the run left beside FILE')
    parser.add_argument('--ann-file', type=Path, metavar='JSON', help="the ground truth, in place of the config's")
    parser.add_argument(
        '--eval',
        nargs='+',
        choices=['bbox', 'segm'],
        metavar='KIND',
        help='what to measure: bbox, segm; by default all that FILE holds',
    )
    add_pairs(parser, '--eval-options', 'classwise=True, details=True, proposal_nums=(1,10,100), iou_thrs=[0.5,0.75]')
    add_pairs(parser, '--cfg-options', 'override the config')
    parser.add_argument('--json', type=Path, metavar='OUT', help='write the figures to this file too')
    parser.add_argument(
        '--plots', type=Path, metavar='DIR', help='draw the details into this folder; brings details=True'
    )
    args = parser.parse_args(argv)
    unknown = sorted(set(args.eval_options) - set(OPTIONS))
    if unknown:
        parser.error(f'--eval-options does not know {", ".join(unknown)}; it takes {", ".join(OPTIONS)}')
    if args.plots:
        args.eval_options['details'] = True
    return args


def evaluate(args: argparse.Namespace) -> Evaluation:
    """Read the predictions and what they are to be held against; score them."""
    if not args.file.is_file():
        raise EvaluationError(f'{args.file} does not exist; wanted predictions, a .pkl or .json file')
    document, meta, tested = _ground_truth(args)
    truth, cat_ids = _truth(document, meta)
    predictions = _predictions(args.file, truth, cat_ids, tested)
    lacking = set(args.eval or ()) - predictions.keys()
    if lacking:
        raise EvaluationError(f'{args.file} has nothing to measure {" and ".join(sorted(lacking))} of')
    wanted = {kind: predictions[kind] for kind in args.eval or predictions}
    options = {**OPTIONS, **args.eval_options}
    present = [cat_id for cat_id in cat_ids if cat_id is not None]
    require_usable(document, str(args.ann_file or ' and '.join(tested.files)), present, wanted)
    evaluation = score(truth, wanted, present, options['iou_thrs'], options['proposal_nums'])
    evaluation = replace(evaluation, faults=name_faults(truth, wanted, present))
    if not options['details']:
        return evaluation
    given = dict(most=evaluation.max_dets[-1], containers=options['containers'])
    return replace(evaluation, details=analyse(truth, wanted, present, **given))


def _truth(document: dict, meta: dict) -> tuple[COCO, list[int | None]]:
    """The ground truth, and the category of each label; without classes all categories, in the order of their ids."""
    categories, classes = document['categories'], meta.get('classes')
    if not classes:
        categories = sorted(categories, key=lambda category: category['id'])
        classes = [category['name'] for category in categories]
    cat_ids = category_ids(categories, classes, meta.get('by_name', False))
    return ground_truth(renamed(document, cat_ids, classes)), cat_ids


def _ground_truth(args: argparse.Namespace) -> tuple[dict, dict, Tested | None]:
    """The annotations, and what the data set says of the classes that labels stand for; none: all of the file's."""
    path = args.config or _config_beside(args.file)
    if not path:
        if not args.ann_file:
            raise ConfigError(f'no config, or several, beside {args.file}: say --config, or --ann-file')
        return _read(args.ann_file), {}, None
    cfg = read_config(path, args.cfg_options)
    if not cfg.get('test_dataloader'):
        raise ConfigError(f'{path} has no test_dataloader: which classes were tested?')
    dataset = cfg.test_dataloader.dataset
    if args.ann_file:
        return _read(args.ann_file), class_of(dataset, DATASETS)._load_metainfo(dataset.get('metainfo', {})), None
    check_files(cfg, ('test',))
    built = build_dataset(dataset)
    tested = read_tested(built)
    if tested is None:
        raise ConfigError(f"the data set that {path} tests on has no annotations in COCO's format: say --ann-file")
    return tested.document, built.metainfo, tested


def _read(path: Path) -> dict:
    if not path.is_file():
        raise EvaluationError(f'{path} does not exist; --ann-file names the ground truth')
    return read(path)


def _config_beside(file: Path) -> str | None:
    """The config that a run leaves in its work folder; no other Python file is run."""
    folder = file.resolve().parent
    found = list(folder.glob('*.py'))
    return str(found[0]) if len(found) == 1 and any(folder.glob('*/*.log')) else None


def _predictions(file: Path, truth: COCO, cat_ids: Sequence[int], tested: Tested | None) -> dict[str, list[dict]]:
    if file.suffix == '.json':
        kinds = read_json(file)
        readable = with_readable_values(next(iter(kinds.values())), truth, file)
        return dict.fromkeys(kinds, readable)
    return coco_results(read_pickle(file, truth, **({'number': tested.number} if tested else {})), cat_ids)


def _measured(path: Path) -> dict | None:
    try:
        return read_metrics(path)
    except ValueError as error:
        raise EvaluationError(f'{path} is no JSON: {error}') from error


def show(argv: list[str] | None = None) -> None:
    """Parse, score, print the tables; or print and draw what a run has scored."""
    args = parse(argv)
    metrics = _measured(args.file) if args.file.suffix == '.json' and args.file.is_file() else None
    if metrics:
        _refuse_unproved(args.file, metrics)
        _show_again(args, metrics['evaluations'])
        return
    evaluation = evaluate(args)
    _say(evaluation, args)
    if args.plots:
        _draw(evaluation.details.to_dict(), args.plots)
    if args.json:
        args.json.write_text(json.dumps(evaluation.to_dict(), indent=2), encoding='utf-8')


def _say(evaluation: Evaluation, args: argparse.Namespace) -> None:
    say(f'{evaluation.table()}\n{evaluation.interval_line()}'.rstrip())
    if args.eval_options.get('classwise'):
        say(f'\n{evaluation.class_table()}')
    if args.eval_options.get('details') and evaluation.interval_table():
        say(f'\n{evaluation.interval_table()}')
    if evaluation.details:
        say(f'\n{evaluation.details.table()}')
    for fault in evaluation.faults:
        say(f'These figures look wrong. {fault}')


def _refuse_unproved(file: Path, metrics: dict) -> None:
    """A test whose proof fails measures nothing."""
    proof = metrics.get('proof')
    if proof and not proof['passed']:
        failed = [f'{check["name"]}: {check["seen"]}' for check in proof['checks'] if check['passed'] is False]
        raise EvaluationError(
            f'{file} has no figures, since the proof of its evaluation failed ({"; ".join(failed)}); '
            f'python tools/prove_evaluation.py {metrics["config"]} proves it again'
        )


def _show_again(args: argparse.Namespace, evaluations: dict[str, dict]) -> None:
    """What metrics.json holds, by the prefix of each evaluator; the details are drawn of the first that has some."""
    others = set(args.eval_options) - {'classwise', 'details'}
    if args.config or args.ann_file or args.eval or args.cfg_options or args.json or others:
        raise EvaluationError(
            f'{args.file} has been scored: it goes with --plots and --eval-options classwise=True details=True alone'
        )
    if not evaluations:
        raise EvaluationError(f'{args.file} has no figures of boxes or masks')
    for evaluation in evaluations.values():
        _say(_restored(evaluation), args)
    if args.plots:
        details = next((e['details'] for e in evaluations.values() if e.get('details')), None)
        if not details:
            raise EvaluationError(f'{args.file} has no details to draw: test with --eval-options details=True')
        _draw(details, args.plots)


def _restored(content: dict) -> Evaluation:
    """An evaluation from its dictionary, without the details."""
    numbers = {name: content[name] for name in ('images', 'objects', 'max_dets', 'iou_thrs')}
    scores = {kind: Scores(**values) for kind, values in content['scores'].items()}
    return Evaluation(**numbers, scores=scores, faults=[Fault(**fault) for fault in content.get('faults', ())])


def _draw(details: dict, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PLOTS.items():
        say(f'wrote {draw(details, folder / name)}')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(show, argv)
