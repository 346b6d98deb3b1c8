"""The virtual environment that the set-up makes: what is in it, and the notes that finished steps leave there.

Only the standard library is imported, since the set-up runs this before anything else is there.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOTES = 'damamba-install.json'
TELL_FACTS = 'from damamba.cli.environment import tell_facts; tell_facts()'


@dataclass(frozen=True)
class Facts:
    """What the torch of the environment is, and for what the onedl-mmcv beside it was compiled."""

    torch: str  # '2.11.0+cu130'
    cuda: str | None = None  # '13.0'
    gpus: tuple[str, ...] = ()  # compute capabilities, ('9.0',)
    mmcv: str | None = None
    ops: str | None = None  # 'cpu' or 'cuda'; None: no operators that load


def say(text: str) -> None:
    sys.stdout.write(f'{text}\n')
    sys.stdout.flush()


def read_pins(text: str) -> dict[str, str]:
    """{'torch': 'torch==2.11.0', ...} of requirements.txt; its path to tools/require_mmcv is left out."""
    lines = (line.split('#')[0].strip() for line in text.splitlines())
    return {line.split('==')[0]: line for line in lines if '==' in line}


def fingerprint() -> str:
    """Of what the environment follows from; the place counts too, since the editable install points to it."""
    files = ['requirements.txt', 'setup.py', 'damamba/cli/install.py']
    parts = [str(ROOT).encode(), *((ROOT / name).read_bytes() for name in files)]
    return hashlib.sha256(b'\0'.join(parts)).hexdigest()


def read_notes(venv: Path) -> dict:
    path = venv / NOTES
    return json.loads(path.read_text(encoding='utf-8')) if path.exists() else {}


def write_notes(venv: Path, notes: dict) -> None:
    draft = venv / f'{NOTES}.new'
    draft.write_text(json.dumps(notes, indent=2) + '\n', encoding='utf-8')
    draft.replace(venv / NOTES)


def has_nvidia_device() -> bool:
    return Path('/dev/nvidiactl').exists() or Path('/dev/dxg').exists()


def is_intact(venv: Path, pins: dict[str, str]) -> bool:
    """Whether the tested versions, mmcv's compiled operators and a single OpenCV are (still) in the environment."""
    site = next(venv.glob('lib/python3*/site-packages'), None)
    if site is None or not (venv / 'bin' / 'python').exists():
        return False
    found = {path.name[: -len('.dist-info')].split('+')[0] for path in site.glob('*.dist-info')}
    wanted = {pin.replace('-', '_').replace('==', '-') for pin in pins.values()}
    one_opencv = sum(name.startswith('opencv_') for name in found) == 1
    return wanted <= found and one_opencv and any(site.glob('mmcv/_ext.*'))


def is_ready(venv: Path, pins: dict[str, str], index: str, gpu: bool) -> bool:
    """`gpu`: there is one here; what was finished on a machine without one is not ready for it."""
    notes = read_notes(venv)
    done = notes.get('done') or {}
    same = done.get('fingerprint') == fingerprint() and notes.get('index') == index
    return same and done['gpu'] >= gpu and is_intact(venv, pins)


def venv_python(venv: Path) -> tuple[int, int] | None:
    """The version of the environment's Python; None if there is no environment, or one without pip."""
    python = venv / 'bin' / 'python'
    if not python.exists():
        return None
    ask = [str(python), '-c', 'import json, pip, sys; print(json.dumps(sys.version_info[:2]))']
    answer = subprocess.run(ask, capture_output=True, text=True)
    return tuple(json.loads(answer.stdout)) if answer.returncode == 0 else None


def tell_facts() -> None:
    """Write `Facts` as JSON; runs in the environment, where torch is."""
    from importlib import metadata

    import torch

    from damamba.mmcv_ops import compiled_for

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    gpus = {'{}.{}'.format(*torch.cuda.get_device_capability(i)) for i in range(count)}
    mmcv = next((dist.version for dist in metadata.distributions(name='onedl-mmcv')), None)
    facts = Facts(torch.__version__, torch.version.cuda, tuple(sorted(gpus)), mmcv, compiled_for())
    say(json.dumps(asdict(facts)))


def ask_facts(venv: Path) -> Facts:
    ask = [str(venv / 'bin' / 'python'), '-c', TELL_FACTS]
    answer = subprocess.run(ask, cwd=ROOT, capture_output=True, text=True)
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ['no reason given'])[-1]
        raise SystemExit(f'torch does not work in {venv} ({reason}); `rm -rf {venv}` and then `make install` mends it.')
    told = json.loads(answer.stdout.splitlines()[-1])
    return Facts(**{**told, 'gpus': tuple(told['gpus'])})
