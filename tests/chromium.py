"""A chromium without a window, led through its DevTools protocol over a pipe."""

import base64
import json
import os
import subprocess
import time
from pathlib import Path

from tests.browser import browser


class Chromium:
    """One browser; :meth:`page` opens pages in it."""

    def __init__(self, profile: Path) -> None:
        read, self._out = os.pipe()
        self._in, write = os.pipe()
        flags = [
            '--headless=new',
            '--no-sandbox',
            '--disable-gpu',
            '--disable-dev-shm-usage',
            '--remote-debugging-pipe',
        ]
        command = [
            'bash',
            '-c',
            f'exec "$0" "$@" 3<&{read} 4>&{write}',
            browser(),
            *flags,
            f'--user-data-dir={profile}',
        ]
        self._process = subprocess.Popen(command, pass_fds=(read, write), stderr=subprocess.DEVNULL)
        os.close(read), os.close(write)
        self._number, self._rest = 0, b''

    def call(self, method: str, session: str | None = None, **params) -> dict:
        self._number += 1
        message = {
            'id': self._number,
            'method': method,
            'params': params,
            **({'sessionId': session} if session else {}),
        }
        os.write(self._out, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._read()
            if answer.get('id') == self._number:
                assert 'error' not in answer, (method, answer['error'])
                return answer['result']

    def _read(self) -> dict:
        while b'\0' not in self._rest:
            block = os.read(self._in, 2**16)
            assert block, 'the browser is gone'
            self._rest += block
        message, _, self._rest = self._rest.partition(b'\0')
        return json.loads(message)

    def page(self, url: str, size: tuple[int, int] = (1280, 900)) -> 'Page':
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        page = Page(self, session)
        page.call(
            'Emulation.setDeviceMetricsOverride', width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )
        page.call('Page.navigate', url=url)
        return page

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._out), os.close(self._in)


class Page:
    def __init__(self, chromium: Chromium, session: str) -> None:
        self._chromium, self._session = chromium, session

    def call(self, method: str, **params) -> dict:
        return self._chromium.call(method, self._session, **params)

    def run(self, script: str):
        """The value of an expression of JavaScript, as JSON has it."""
        found = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in found, found['exceptionDetails']
        return found['result'].get('value')

    def wait(self, script: str, seconds: float = 120):
        """Until the expression is true; its value."""
        end = time.monotonic() + seconds
        while not (value := self.run(script)):
            assert time.monotonic() < end, f'never true: {script}\n{self.run("document.body.innerText")[:2000]}'
            time.sleep(0.2)
        return value

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file in an input."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[str(path)])

    def click(self, selector: str) -> None:
        """With the mouse, into the middle of an element."""
        x, y = self.run(f"""(() => {{
            const element = document.querySelector('{selector}');
            element.scrollIntoView({{block: 'center'}});
            const box = element.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2];
        }})()""")
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.call('Page.captureScreenshot', format='png')['data']))
