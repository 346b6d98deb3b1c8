"""Test a detector: COCO mAP of boxes and masks, predictions to a file, pictures."""

import argparse
import copy
import inspect
from collections.abc import Sequence
from pathlib import Path

from mmdet.evaluation.metrics import CocoMetric
from mmdet.registry import METRICS
from mmengine.config import Config
from mmengine.evaluator import BaseMetric

from damamba.cli.commands import command_parser
from damamba.cli.common import (
    add_shared,
    build_runner,
    load_config,
    logger,
    run,
    settle_shared,
)
from damamba.cli.options import OptionAction, add_pairs
from damamba.cli.prove_evaluation import prove_config
from damamba.engine.config import read_config
from damamba.engine.config_checks import ConfigError
from damamba.engine.examples import clear
from damamba.engine.launch import rank_of
from damamba.engine.records import RESULTS, write_failed_proof
from damamba.engine.tta import use_tta
from damamba.evaluation.metric import CocoInstanceMetric
from damamba.evaluation.proof.claims import ProofError
from damamba.types import is_of, listed, name_of

OLD_OPTIONS = {'jsonfile_prefix': 'outfile_prefix'}


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line; flags of MMDetection 2.x work, or say what replaced them."""
    parser = command_parser('test', __doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('checkpoint', help='weights: a path or URL')
    parser.add_argument(
        '--eval',
        nargs='+',
        choices=['bbox', 'segm', 'proposal', 'proposal_fast'],
        metavar='KIND',
        help="what to measure: bbox, segm, proposal, proposal_fast; by default what the config's evaluator says",
    )
    add_pairs(parser, '--eval-options', 'settings of the evaluator, such as classwise=True')
    parser.add_argument('--out', metavar='FILE.pkl', help='write the predictions too')
    parser.add_argument('--format-only', action='store_true', help='write COCO result files and measure nothing')
    parser.add_argument(
        '--show-dir', metavar='DIR', help='draw predictions beside the ground truth into this folder of the run'
    )
    parser.add_argument('--show', action='store_true', help='draw them on the screen')
    parser.add_argument(
        '--show-score-thr', type=float, default=0.3, metavar='X', help='draw what scores at least this much: 0.3'
    )
    parser.add_argument('--fuse-conv-bn', action='store_true', help='fold batch normalisation into convolutions')
    parser.add_argument(
        '--tta',
        action='store_true',
        help='test each picture flipped too, and merge both, masks included; or by tta_pipeline of the config',
    )
    parser.add_argument(
        '--prove',
        action='store_true',
        help='first prove the evaluation, on 100 pictures; where it fails, or figures look wrong, the exit status is 1',
    )
    add_shared(parser)
    parser.add_argument('--options', nargs='+', action=OptionAction, default={}, help=argparse.SUPPRESS)
    parser.add_argument('--gpu-collect', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--tmpdir', help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    settle_shared(parser, args)
    _check(parser, args)
    return args


def _check(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    if args.eval and args.format_only:
        parser.error('--format-only measures nothing: leave out --eval')
    if args.prove and args.format_only:
        parser.error('--format-only measures nothing: leave out --prove')
    if args.out and not args.out.endswith(('.pkl', '.pickle')):
        parser.error(f'--out must end in .pkl or .pickle, got {args.out}')
    if args.options:
        args.eval_options = {**args.options, **args.eval_options}
        logger.warning('--options is the old way: --eval-options')


def configure(args: argparse.Namespace) -> Config:
    """Return the config with the command line in it."""
    cfg = load_config(args, load_from='CHECKPOINT', resume='CHECKPOINT')
    if not cfg.get('test_dataloader'):
        raise ConfigError(f'{args.config} has no test_dataloader: nothing to test on')
    if not cfg.get('test_evaluator'):
        raise ConfigError(f'{args.config} has no test_evaluator: nothing to measure with')
    cfg.load_from, cfg.resume = args.checkpoint, False
    cfg.work_dir = str(Path(cfg.work_dir) / _folder_of_its_own(cfg, args.config))
    cfg.test_evaluator = _evaluators(cfg, args)
    if args.show or args.show_dir:
        _draw(cfg, args)
    if args.tta:
        use_tta(cfg)
    if args.fuse_conv_bn:
        cfg.custom_hooks = [*cfg.get('custom_hooks', []), dict(type='FuseConvBNHook')]
    return cfg


def _folder_of_its_own(cfg: Config, path: str) -> str:
    """Of a test on another subset than the config's own, so that its figures lie beside those of the other subsets."""
    own, tested = ((it.get('test_subset') or '').rstrip('/') for it in (read_config(path), cfg))
    if tested == own:
        return ''
    if {'', '.', '..'} & set(tested.split('/')):
        raise ConfigError(f'test_subset must be a folder below data_root, such as mix-object-tote, got {tested!r}')
    return tested


def _evaluators(cfg: Config, args: argparse.Namespace) -> list[dict]:
    options = _evaluator_options(args)
    evaluators = [_settled(evaluator, options, cfg.work_dir) for evaluator in listed(cfg.test_evaluator)]
    dump = dict(type='DumpDetResults', out_file_path=args.out, collect_dir=_collect_dir(args))
    return [*evaluators, dump] if args.out else evaluators


def _settled(evaluator: dict, options: dict, work_dir: str) -> dict:
    """Merge options into an evaluator of COCO's kind; others have no such options."""
    if not is_of(evaluator, METRICS, CocoMetric):
        return evaluator
    merged = {**evaluator, **options}
    if merged.get('format_only') and not merged.get('outfile_prefix'):
        merged['outfile_prefix'] = str(Path(work_dir) / RESULTS)
    return merged


def _evaluator_options(args: argparse.Namespace) -> dict:
    options = {OLD_OPTIONS.get(key, key): value for key, value in args.eval_options.items()}
    known = [name for name in inspect.signature(CocoInstanceMetric).parameters if name != 'metric']
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f'--eval-options does not know {", ".join(unknown)}; it takes {", ".join(known)}')
    if args.eval:
        options['metric'] = args.eval
    if args.format_only:
        options['format_only'] = True
    if args.gpu_collect:
        options['collect_device'] = 'gpu'
    if args.tmpdir:
        options['collect_dir'] = _collect_dir(args)
    return options


def _collect_dir(args: argparse.Namespace) -> str | None:
    """A folder in --tmpdir, since MMEngine removes the one that it is given, with all that is in it."""
    return str(Path(args.tmpdir) / 'damamba-results') if args.tmpdir else None


def _draw(cfg: Config, args: argparse.Namespace) -> None:
    hook = cfg.get('default_hooks', {}).get('visualization')
    if not hook:
        raise ConfigError(f'--show and --show-dir need default_hooks.visualization in {args.config}')
    if name_of(hook) == 'DetVisualizationHook':
        hook['type'] = 'DrawingHook'
    hook.update(draw=True, show=args.show, wait_time=2, score_thr=args.show_score_thr, test_out_dir=args.show_dir)


def test(argv: list[str] | None = None) -> None:
    """Parse, build, test; with ``--prove`` the evaluation is proved before, and its figures are looked at after."""
    args = parse(argv)
    cfg = configure(args)
    proof = _prove(cfg) if args.prove and rank_of(args.launcher) == 0 else None
    runner = build_runner(cfg, ('test',))
    runner.proof = proof
    runner.test()
    if args.prove:
        _refuse_faults(runner.test_loop.evaluator.metrics)


def _prove(cfg: Config) -> dict:
    """The proof of the evaluation; where it fails, the end, and metrics.json has it in place of older figures.

    torchrun stops the processes that wait for this one.
    """
    cfg = copy.deepcopy(cfg)
    proof = prove_config(cfg)
    if not proof.passed:
        write_failed_proof(cfg, proof.to_dict())
        clear(Path(cfg.work_dir))
    proof.require()
    return proof.to_dict()


def _refuse_faults(metrics: Sequence[BaseMetric]) -> None:
    """Figures that look wrong are no figures, though metrics.json has them by now, for whoever looks for the reason."""
    evaluations = [getattr(metric, 'evaluation', None) for metric in metrics]
    faults = [str(fault) for evaluation in evaluations if evaluation for fault in evaluation.faults]
    if faults:
        raise ProofError(f'these figures look wrong: {"; ".join(faults)}')


def main(argv: list[str] | None = None) -> None:
    """Entry point."""
    run(test, argv)
