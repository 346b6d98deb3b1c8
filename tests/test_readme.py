"""What README, CONTRIBUTING and docs say is so: paths, names, flags, commands, examples, the model zoo."""

import argparse
import ast
import importlib.util
import pkgutil
import re
import shlex

import pytest
import torch

import damamba
from benchmarks import backbone, detector, masks, ops, scaling
from tests.detection import ROOT

FILES = [*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')]
TEXTS = {str(path.relative_to(ROOT)): path.read_text(encoding='utf-8') for path in FILES}
README, COMMANDS = TEXTS['README.md'], TEXTS['docs/commands.md']
MANUAL = '\n'.join(text for name, text in TEXTS.items() if name == 'README.md' or name.startswith('docs/'))
OURS = re.compile(r'(\./)?((configs|damamba|tools|tests|benchmarks)/[\w./-]*|[\w-]+\.(py|sh|md|txt|toml))')
OF_OTHERS = {
    '--ntasks',
    '--ntasks-per-node',
    '--gres',
    '--cpus-per-task',
    '--mem',
    '--requeue',
    '--shm-size',
}  # Slurm's, docker's
OF_OTHERS |= {'--force-reinstall', '--no-build-isolation', '--no-cache-dir', '--no-deps'}  # pip's
OF_OTHERS |= {'--logdir'}  # TensorBoard's
OF_READERS = {
    'configs/mine.py',
    'configs/converted.py',
    'pick.py',
    'theirs.py',
    'mended.py',
    'why.py',
    'configs/theirs.py',
    'former.py',
    'best.py',
    'trial_0003.py',
    'labelmap.txt',
}  # what a reader writes, or has tools/tune.py write
HUB = 'https://huggingface.co/ltzovo/DAMamba/resolve/main/'


def blocks(text, language):
    """The fenced code blocks of a language."""
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def spans(text):
    """The inline code; table cells write a bar as \\|."""
    return [span.replace('\\|', '|') for span in re.findall(r'`([^`\n]+)`', re.sub(r'(?ms)^```.*?^```', '', text))]


def commands(text):
    """The shell commands of the bash blocks, as lists of words, without comments and settings such as NNODES=2."""
    for block in blocks(text, 'bash'):
        for line in block.replace('\\\n', ' ').splitlines():
            words = shlex.split(line.split(' > ')[0], comments=True)
            while words and re.match(r'\w+=', words[0]):
                words.pop(0)
            if words:
                yield words


def section(text, heading):
    """What stands under a heading, up to the next one."""
    return re.search(rf'^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)', text, re.MULTILINE | re.DOTALL).group(1)


def flags_of(text):
    return set(re.findall(r'(?<![\w-])--[a-z][\w-]*', text))


def slug(heading):
    return re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')


class CapturedError(Exception):
    pass


def captured(monkeypatch, parse):
    """The parser that a command builds, before it parses."""

    def capture(self, *args):
        raise CapturedError(self)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', capture)
        with pytest.raises(CapturedError) as caught:
            parse([])
    return caught.value.args[0]


@pytest.fixture
def parsers(monkeypatch):
    from damamba.cli import (
        browse_dataset,
        check_dataset,
        convert_data,
        convert_weights,
        demo,
        diagnose,
        eval_results,
        explain,
        get_flops,
        make_demo_data,
        predict,
        prove_evaluation,
        publish_model,
        report,
        serve,
        split_data,
        test,
        train,
        tune,
    )

    parse = {
        'train': train.parse,
        'test': test.parse,
        'eval_results': eval_results.parse,
        'get_flops': get_flops.parse,
        'make_demo_data': make_demo_data.main,
        'prove_evaluation': prove_evaluation.parse,
        'check_dataset': check_dataset.parse,
        'convert_data': convert_data.parse,
        'split_data': split_data.parse,
        'browse_dataset': browse_dataset.parse,
        'report': report.parse,
        'tune': tune.parse,
        'demo': demo.parse,
        'diagnose': diagnose.parse,
        'explain': explain.parse,
        'predict': predict.parse,
        'serve': serve.parse,
        'publish_model': publish_model.main,
        'convert_weights': convert_weights.parse,
    }
    return {name: captured(monkeypatch, function) for name, function in parse.items()}


def actions_of(parser):
    """The arguments of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from actions_of(subparser)


# Paths and names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('name', TEXTS)
def test_every_file_that_is_mentioned_exists(name):
    words = [*spans(TEXTS[name]), *(word for command in commands(TEXTS[name]) for word in command)]
    words = [word for text in words for word in text.split()]
    paths = {match.group() for word in words if (match := OURS.fullmatch(word.rstrip('.,;:')))}
    assert paths
    assert [path for path in sorted(paths - OF_READERS) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize('name', TEXTS)
def test_every_relative_link_leads_somewhere(name):
    text = TEXTS[name]
    anchors = {slug(heading) for heading in re.findall(r'^#+ (.+)$', text, re.MULTILINE)}
    links = [link for link in re.findall(r'\]\(([^)]+)\)', text) if '://' not in link]
    folder = (ROOT / name).parent
    assert [link for link in links if not (folder / link.split('#')[0]).exists()] == []
    assert [link for link in links if link.startswith('#') and link[1:] not in anchors] == []


@pytest.mark.parametrize('name', TEXTS)
def test_every_module_and_function_that_is_mentioned_exists(name):
    for span in spans(TEXTS[name]):
        for dotted in re.findall(r'(?<![\w/.])damamba(?:\.[A-Za-z_]\w*)+', span):
            assert pkgutil.resolve_name(dotted) is not None


@pytest.mark.parametrize('name', ['README.md', 'CONTRIBUTING.md', 'docs/install.md'])
def test_every_make_target_and_variable_exists(name):
    makefile = (ROOT / 'Makefile').read_text(encoding='utf-8')
    calls = [span.split() for span in spans(TEXTS[name]) if span.startswith('make ')]
    calls += [command for command in commands(TEXTS[name]) if command[0] == 'make']
    assert calls
    for _, target, *settings in calls:
        assert re.search(rf'^{target}:', makefile, re.MULTILINE), target
        for setting in (it for it in settings if '=' in it):
            assert f'$({setting.split("=")[0]})' in makefile, setting


def test_the_version_is_the_packages():
    assert f'Version {damamba.__version__}' in README
    assert damamba.__version__ in TEXTS['CHANGELOG.md']


# Flags and commands ------------------------------------------------------------------------------------------------


@pytest.fixture
def benchmark_flags(capsys):
    """What the benchmarks' help lists."""
    for benchmark in (backbone, detector, masks, ops, scaling):
        with pytest.raises(SystemExit):
            benchmark.parse(['--help'])
    return flags_of(capsys.readouterr().out)


def test_every_flag_is_one_of_a_command(parsers, benchmark_flags):
    known = {flag for parser in parsers.values() for action in actions_of(parser) for flag in action.option_strings}
    assert sorted(flags_of(MANUAL) - known - benchmark_flags - OF_OTHERS) == []


def test_the_tables_of_flags_are_what_the_commands_say():
    spec = importlib.util.spec_from_file_location('flags', ROOT / 'docs/flags.py')
    flags = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(flags)
    assert flags.filled(COMMANDS) == COMMANDS, 'make flags'


def test_the_table_of_old_flags_lists_what_help_leaves_out(parsers):
    hidden = {
        flag
        for command in ('train', 'test')
        for action in parsers[command]._actions
        for flag in action.option_strings
        if action.help == argparse.SUPPRESS
    }
    assert hidden - {'--local-rank'} <= flags_of(section(COMMANDS, 'Flags of MMDetection 2.x'))


def test_the_published_commands_are_there_as_published():
    config = './configs/mask_rcnn_DAMamba_tiny_fpn_1x_coco.py'
    assert f'\nbash dist_train.sh {config} 8\n' in README
    assert f'\nbash dist_test.sh {config} /path/to/checkpoint_file 8 --eval bbox segm\n' in README


def arguments_of(words):
    """What a documented command calls, and with which arguments: ('train', [...]), or None if it is not ours."""
    if words[:2] == ['bash', 'dist_train.sh']:
        return 'train', [words[2], *words[4:]]  # without the number of processes
    if words[:2] == ['bash', 'dist_test.sh']:
        return 'test', [*words[2:4], *words[5:]]
    if words[0] == 'damamba':
        return words[1].replace('-', '_'), words[2:]
    names = ('train', 'test', 'eval_results', 'prove_evaluation', 'get_flops', 'make_demo_data')
    names += ('check_dataset', 'browse_dataset', 'convert_data', 'convert_weights', 'split_data')
    scripts = {f'tools/{name}.py': name for name in (*names, 'publish_model')}
    at = next((i for i, word in enumerate(words) if word in scripts), None)
    return at if at is None else (scripts[words[at]], words[at + 1 :])


def test_every_command_is_understood(parsers):
    calls = [call for words in commands(MANUAL) if (call := arguments_of(words))]
    documented = {'train', 'test', 'eval_results', 'get_flops', 'make_demo_data', 'publish_model'}
    documented |= {'check_dataset', 'browse_dataset', 'prove_evaluation', 'predict', 'explain', 'diagnose', 'report'}
    documented |= {'convert_data', 'convert_weights', 'split_data'}
    assert {name for name, _ in calls} == documented
    for name, arguments in calls:
        parsers[name].parse_args(arguments)


# Examples ----------------------------------------------------------------------------------------------------------


def test_every_python_example_is_python():
    for block in blocks(README, 'python'):
        ast.parse(block)


def test_the_backbone_example_prints_what_stands_below_it(capsys):
    torch.set_num_threads(1)
    (example,) = [block for block in blocks(README, 'python') if 'from damamba.models import DAMamba' in block]
    exec(compile(example, 'README.md', 'exec'), {})
    assert f'```python\n{example}```\n\n```text\n{capsys.readouterr().out}```' in README


@pytest.fixture
def own_config(tmp_path):
    from mmengine.config import Config

    (example,) = [block for block in blocks(README, 'python') if 'custom_imports' in block]
    (tmp_path / 'own.py').write_text(example, encoding='utf-8')
    return Config.fromfile(tmp_path / 'own.py')


def test_the_example_of_an_own_config_builds_a_backbone_that_fits_its_neck(own_config):
    from mmdet.registry import MODELS

    assert own_config.optim_wrapper.optimizer == dict(type='AdamW', lr=1e-4, weight_decay=0.05)
    backbone, neck = MODELS.build(own_config.model.backbone).eval(), MODELS.build(own_config.model.neck)
    assert type(backbone) is damamba.models.DAMamba and backbone.pretrained == f'{HUB}DAMamba-T.pth'
    with torch.no_grad():
        maps = neck(backbone(torch.randn(1, 3, 64, 64)))
    assert [tuple(m.shape) for m in maps] == [(1, 256, n, n) for n in (16, 8, 4, 2, 1)]


def test_the_channels_for_a_neck_are_the_dims_of_the_backbones():
    from damamba.models import ARCHS

    rows = re.findall(r"^\| `'(\w+)'` \| `\[(.+)\]` \|$", README, re.MULTILINE)
    assert {name: tuple(ast.literal_eval(f'({dims})')) for name, dims in rows} == {
        name: arch.dims for name, arch in ARCHS.items()
    }


# The model zoo -----------------------------------------------------------------------------------------------------

COSTS = {'tiny': ('45 M', '284 G'), 'small': ('65 M', '395 G'), 'base': ('105 M', '520 G')}


def zoo():
    """The rows: name, config, epochs, box mAP, mask mAP, parameters, cost, links."""
    for line in section(README, 'Model zoo').splitlines():
        if found := re.match(r'\| \[(\w+ \dx)\]\((.+?)\) \| (\d+) epochs \| (.+)\|$', line):
            name, config, epochs, rest = found.groups()
            box, mask, parameters, cost, links = (cell.strip() for cell in rest.split('|'))
            yield name, config, int(epochs), box, mask, parameters, cost, re.findall(r'\((.+?)\)', links)


def test_the_model_zoo_has_a_row_for_every_published_config():
    rows = [config for _, config, *_ in zoo()]
    assert len(rows) == 6
    assert sorted(rows) == sorted(f'configs/{path.name}' for path in (ROOT / 'configs').glob('mask_rcnn_DAMamba_*.py'))
    assert 'published figures' in section(README, 'Model zoo')


def test_the_model_zoo_says_what_the_configs_say():
    from mmengine.config import Config

    for name, config, epochs, box, mask, parameters, cost, links in zoo():
        size, schedule = name.split()
        text = (ROOT / config).read_text(encoding='utf-8')
        assert f'{schedule}: published {box} box mAP and {mask} mask mAP' in text
        cfg = Config.fromfile(ROOT / config)
        assert (cfg.model.backbone.arch, cfg.train_cfg.max_epochs) == (size, epochs)
        assert (parameters, cost) == COSTS[size]
        assert links == [f'{HUB}{config.removeprefix("configs/")[:-3]}.pth', f'{HUB}DAMamba-{size[0].upper()}.pth']
        assert links[1] in text


# The diagnosis ------------------------------------------------------------------------------------------------------


def test_the_table_of_faults_is_the_diagnosis_s():
    from damamba.evaluation.diagnosis.mends import FAULTS

    table = section(TEXTS['docs/diagnose.md'], 'The faults')
    assert re.findall(r'^\| `([\w-]+)` \| (.+?) \| .+ \|.*\|$', table, re.MULTILINE) == list(FAULTS.items())


def test_the_table_of_keys_is_the_diagnosis_s():
    from damamba.evaluation.diagnosis import Explanation

    keys = re.findall(r'^\| `(\w+)` \|', section(TEXTS['docs/diagnose.md'], 'For programs'), re.MULTILINE)
    assert keys == ['figures', 'explanations', *Explanation(('a',), 'segm', 0.5, 0.1, 3, 'b').to_dict(), 'notes']


# Evaluation ---------------------------------------------------------------------------------------------------------


def test_the_table_of_evaluation_has_the_rows_of_ours():
    from faster_coco_eval import COCO

    from damamba.evaluation.coco_ap import score

    truth = dict(images=[dict(id=1, height=9, width=9)], categories=[dict(id=1, name='a')], annotations=[])
    ours = score(COCO(truth), {'bbox': [], 'segm': []}).table()
    (shown,) = [block for block in blocks(TEXTS['docs/evaluation.md'], 'text') if block.startswith('COCO')]

    def labels(table):
        return [line.split()[:4] for line in table.splitlines()[2:] if line.strip() and '─' not in line]

    assert labels(shown) == labels(ours)
