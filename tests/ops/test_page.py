"""The page that torch's exponential reads through a mask."""

import subprocess
import sys

from damamba.ops.cpu import page


def test_what_it_takes_overflows_and_what_it_gives_is_the_limit():
    """The value shows no page; that it was read shows in /proc/self/pagemap alone."""
    assert page.bring_in().tolist() == [0.0] * 64


def test_importing_the_operators_brings_it_in():
    code = """
import damamba.ops.cpu.page as page, importlib, sys
calls = []
page.bring_in = lambda: calls.append(1)
importlib.reload(sys.modules['damamba.ops'])
print(len(calls))
"""
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == '1'
