"""Which config and which weights a name stands for: the published models', or the demo's where nothing is said."""

import csv
import difflib
from pathlib import Path

from damamba.checkpoint import CheckpointError
from damamba.engine.config_checks import ConfigError
from damamba.run_record.datasets import sha256_of

HERE = Path(__file__).resolve()
CONFIGS = next(
    (folder for folder in (HERE.parents[2] / 'configs', HERE.parents[1] / '.mim' / 'configs') if folder.is_dir()),
    HERE.parents[2] / 'configs',
)
REPOSITORY = 'ltzovo/DAMamba'  # at huggingface.co
FOLDER = Path('checkpoints')  # where a file may lie that was fetched by hand
DEMO_CONFIG = CONFIGS / 'demo' / 'mask_rcnn_DAMamba_nano_fpn_shapes.py'
DEMO = Path('work_dirs/demo')


def published() -> dict[str, dict[str, str]]:
    """The published models by their names: config, file, and sha256 where it is known."""
    with HERE.with_name('published.csv').open(encoding='utf-8', newline='') as file:
        return {row['name']: row for row in csv.DictReader(file)}


def resolve(
    config: str | Path | None = None, checkpoint: str | Path | None = None, revision: str = 'main'
) -> tuple[str, str]:
    """The config file and the checkpoint that are meant.

    Args:
        config: a file, the name of a published model, or None: the demo's.
        checkpoint: a path or a URL; None: the published model's, fetched from Hugging Face once and kept in its cache,
            or the demo's best.
        revision: of the repository of published weights: a branch, a tag or a commit.

    Raises:
        ConfigError: there is no such file or name.
        CheckpointError: there are no weights; the text says where they are to be put.
    """
    if config is None:
        return str(DEMO_CONFIG), str(checkpoint or _demo_checkpoint())
    model = published().get(str(config))
    if model:
        return str(CONFIGS / model['config']), str(checkpoint or _fetched(model, revision))
    if not Path(config).is_file():
        raise ConfigError(f'{config} is no config file and no published model{_nearest(str(config))}')
    if checkpoint is None:
        raise CheckpointError(f'which weights for {config}? Give a checkpoint, such as one of its work folder')
    return str(config), str(checkpoint)


def _nearest(name: str) -> str:
    near = difflib.get_close_matches(name, published(), 1, 0.6)
    return f': did you mean {near[0]}?' if near else f'; published are {", ".join(published())}'


def _demo_checkpoint() -> Path:
    """The best of the demo's checkpoints, else its newest."""
    for pattern in ('best_*.pth', 'epoch_*.pth'):
        found = sorted(DEMO.glob(pattern), key=lambda path: path.stat().st_mtime_ns)
        if found:
            return found[-1]
    raise CheckpointError(
        f'no model is named, and {DEMO} has no checkpoint of the demo: run `damamba demo`, or give --config and '
        f'--checkpoint, or a published model as --config {next(iter(published()))}'
    )


def _fetched(model: dict[str, str], revision: str) -> Path:
    """The file by hand, or from Hugging Face's cache, or from there."""
    path = FOLDER / model['file']
    if not path.is_file():
        try:
            from huggingface_hub import hf_hub_download

            path = Path(hf_hub_download(REPOSITORY, model['file'], revision=revision))
        except Exception as error:  # of the network, of the hub, of a hub that is not installed
            raise CheckpointError(
                f'{model["name"]} can not be fetched ({_first_line(error)}): put '
                f'https://huggingface.co/{REPOSITORY}/resolve/{revision}/{model["file"]} into {FOLDER}/, or give its '
                'path as checkpoint'
            ) from error
    if model['sha256']:
        found = sha256_of(path)
        if found != model['sha256']:
            raise CheckpointError(f'{path} is not the published {model["file"]}: its SHA-256 is {found}: remove it')
    return path


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip('.')
