"""Read, verify, strip and write weights. Torch only, no OpenMMLab package."""

from damamba.checkpoint.files import CheckpointError, download, is_url, read, trust_checkpoints
from damamba.checkpoint.folder import CheckpointFolder
from damamba.checkpoint.publishing import publish
from damamba.checkpoint.states import Match, backbone_state, check_finite, describe, load_backbone, match, state_dict_of

__all__ = [
    'CheckpointError',
    'CheckpointFolder',
    'Match',
    'backbone_state',
    'check_finite',
    'describe',
    'download',
    'is_url',
    'load_backbone',
    'match',
    'publish',
    'read',
    'state_dict_of',
    'trust_checkpoints',
]
