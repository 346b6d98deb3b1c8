"""An empty package by the name opencv-python, for requirements.txt.

onedl-mmcv asks for opencv-python and imaug for opencv-python-headless. Both write the same folder `cv2`, and the first
needs libGL, which servers lack. With this in its place pip installs the second alone.
"""

from setuptools import setup

setup(
    name='opencv-python',
    version='4.11.0.86+headless',
    description='Empty: opencv-python-headless stands in for it',
    install_requires=['opencv-python-headless>=4.11'],
    py_modules=[],
)
