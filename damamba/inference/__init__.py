"""Trained detectors in use: masks of pictures, and a look at where the adaptive scan reads."""

import damamba.register  # noqa: F401  the backbone, and safe reading of checkpoints
from damamba.inference.detections import Detections
from damamba.inference.detector import inference_detector, init_detector
from damamba.inference.pictures import PictureError
from damamba.inference.predictor import Predictor
from damamba.picking import PickPoint

__all__ = ['Detections', 'PickPoint', 'PictureError', 'Predictor', 'inference_detector', 'init_detector']
