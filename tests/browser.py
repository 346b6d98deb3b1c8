"""Opening a page in Debian's chromium."""

import json
import os
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

SCRIPT = """<script>
    window.problems = [];
    window.addEventListener('error', (event) => problems.push(event.message || event.target.tagName), true);
    document.addEventListener('securitypolicyviolation', (event) => problems.push(event.blockedURI));
</script>"""
TELL = """<script>
    window.addEventListener('load', () => {
        const images = [...document.images].map((it) => [it.complete, it.naturalWidth, it.alt]);
        const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
        document.body.dataset.told = JSON.stringify({images, problems: window.problems, wide});
    });
</script>"""


def browser() -> str:
    found = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
    if not found and os.environ.get('CI'):
        pytest.fail('there is no chromium here to open the report in')
    return found or pytest.skip('there is no chromium here to open the report in')


def open_page(path: Path, tmp_path: Path) -> tuple[dict, str]:
    """Open a copy of a page that tells of its pictures; what it told, and what the console says."""
    text = path.read_text(encoding='utf-8')
    text = text.replace("default-src 'none';", "default-src 'none'; script-src 'unsafe-inline';")
    text = text.replace('<head>', f'<head>{SCRIPT}', 1).replace('</body>', f'{TELL}</body>')
    copy = tmp_path / 'copy.html'
    copy.write_text(text, encoding='utf-8')
    flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr', '--v=0', '--dump-dom']
    flags += [f'--user-data-dir={tmp_path / "profile"}', '--disable-dev-shm-usage', '--window-size=600,900']
    done = subprocess.run([browser(), *flags, copy.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(unescape(re.search(r'data-told="(.*?)"', done.stdout)[1])), done.stderr
