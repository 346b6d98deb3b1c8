"""Swin (arXiv 2103.14030) as a backbone: its tensors' names and values in Hugging Face's, detectron2's and our form.

C channels of a stage, h heads, w a window's side. The three compute the same; but where four neighbours are merged, the
channels 4C lie neighbour by neighbour in theirs, the lower left as the second, and in MMDetection's channel by channel,
each with its neighbours row by row.
"""

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from damamba.checkpoint.conversion.layers import Names, Naming, Wanted, how_many, layer
from damamba.checkpoint.files import CheckpointError

STAGES = 4
BLOCK, MERGING = 'stages.{}.blocks.{}.', 'stages.{}.downsample.'
TABLE, INDEX = f'{BLOCK}attn.w_msa.relative_position_bias_table', f'{BLOCK}attn.w_msa.relative_position_index'

DETECTRON2: Names = {
    'patch_embed.projection': 'patch_embed.proj',
    'patch_embed.norm': 'patch_embed.norm',
    f'{BLOCK}norm1': 'layers.{}.blocks.{}.norm1',
    f'{BLOCK}attn.w_msa.qkv': 'layers.{}.blocks.{}.attn.qkv',
    TABLE: 'layers.{}.blocks.{}.attn.relative_position_bias_table',
    INDEX: 'layers.{}.blocks.{}.attn.relative_position_index',
    f'{BLOCK}attn.w_msa.proj': 'layers.{}.blocks.{}.attn.proj',
    f'{BLOCK}norm2': 'layers.{}.blocks.{}.norm2',
    f'{BLOCK}ffn.layers.0.0': 'layers.{}.blocks.{}.mlp.fc1',
    f'{BLOCK}ffn.layers.1': 'layers.{}.blocks.{}.mlp.fc2',
    f'{MERGING}norm': 'layers.{}.downsample.norm',
    f'{MERGING}reduction': 'layers.{}.downsample.reduction',
    **{f'norm{stage}': f'norm{stage}' for stage in range(STAGES)},
}
_THEIRS = 'swin.encoder.layers.{}.blocks.{}.'
HUGGINGFACE: Names = {
    'patch_embed.projection': 'swin.embeddings.patch_embeddings.projection',
    'patch_embed.norm': 'swin.embeddings.norm',
    f'{BLOCK}norm1': f'{_THEIRS}layernorm_before',
    f'{BLOCK}attn.w_msa.qkv': tuple(f'{_THEIRS}attention.{one}_proj' for one in 'qkv'),
    TABLE: f'{_THEIRS}attention.relative_position_bias.relative_position_bias_table',
    INDEX: f'{_THEIRS}attention.relative_position_bias.relative_position_index',
    f'{BLOCK}attn.w_msa.proj': f'{_THEIRS}attention.o_proj',
    f'{BLOCK}norm2': f'{_THEIRS}layernorm_after',
    f'{BLOCK}ffn.layers.0.0': f'{_THEIRS}mlp.fc1',
    f'{BLOCK}ffn.layers.1': f'{_THEIRS}mlp.fc2',
    f'{MERGING}norm': 'swin.encoder.layers.{}.downsample.norm',
    f'{MERGING}reduction': 'swin.encoder.layers.{}.downsample.reduction',
    **{f'norm{stage}': f'hidden_states_norms.stage{stage + 1}' for stage in range(STAGES)},
}
HUGGINGFACE_OLDER = {
    'encoder.swin.embeddings.': 'encoder.embeddings.',
    'encoder.swin.encoder.': 'encoder.encoder.',
    'attention.q_proj': 'attention.self.query',
    'attention.k_proj': 'attention.self.key',
    'attention.v_proj': 'attention.self.value',
    'attention.relative_position_bias.relative_position_': 'attention.self.relative_position_',
    'attention.o_proj': 'attention.output.dense',
    'mlp.fc1': 'intermediate.dense',
    'mlp.fc2': 'output.dense',
}


class Swin(NamedTuple):
    """The sizes of a Swin."""

    channels: int  # of the first stage; each further one has twice as many
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int

    def tensors(self) -> Iterator[Wanted]:
        """What is learned."""
        yield from layer('patch_embed.projection', (), self.channels, 3, 4, 4)
        yield from layer('patch_embed.norm', (), self.channels)
        for stage, depth in enumerate(self.depths):
            channels = self.channels << stage
            for block in range(depth):
                yield from self._block(stage, block, channels)
            if stage < STAGES - 1:
                yield from layer(f'{MERGING}norm', (stage,), 4 * channels)
                yield from layer(f'{MERGING}reduction', (stage,), 2 * channels, 4 * channels, bias=False)
            yield from layer(f'norm{stage}', (), channels)

    def _block(self, stage: int, block: int, channels: int) -> Iterator[Wanted]:
        at = stage, block
        yield from layer(f'{BLOCK}norm1', at, channels)
        yield from layer(f'{BLOCK}attn.w_msa.qkv', at, 3 * channels, channels)
        yield Wanted(TABLE, at, ((2 * self.window - 1) ** 2, self.heads[stage]))
        yield from layer(f'{BLOCK}attn.w_msa.proj', at, channels, channels)
        yield from layer(f'{BLOCK}norm2', at, channels)
        yield from layer(f'{BLOCK}ffn.layers.0.0', at, 4 * channels, channels)
        yield from layer(f'{BLOCK}ffn.layers.1', at, channels, 4 * channels)

    def blocks(self) -> Iterator[tuple[int, int]]:
        """The number of each block's stage, and its own in there."""
        return ((stage, block) for stage, depth in enumerate(self.depths) for block in range(depth))

    def __str__(self) -> str:
        depths = ', '.join(map(str, self.depths))
        return f'{self.channels} channels, depths {depths} and windows of {self.window}'


def recognise(state: Mapping[str, Tensor], naming: Naming) -> Swin:
    """Tell the sizes by the projection of patches [C, 3, 4, 4] and the tables of positions [(2w - 1)^2, h].

    Raises:
        CheckpointError: there is no Swin of four stages.
    """
    (projection,) = naming('patch_embed.projection.weight')
    depths = tuple(how_many(state, naming, TABLE, stage) for stage in range(STAGES))
    if projection not in state or not all(depths):
        raise CheckpointError('the backbone is no Swin of four stages; wanted Mask2Former with Swin')
    tables = [state[naming(TABLE, (stage, 0))[0]] for stage in range(STAGES)]
    if any(table.ndim != 2 for table in tables):
        raise CheckpointError(f'the backbone has {naming(TABLE, (0, 0))[0]} of another shape than a Swin')
    if not state[projection].ndim:
        raise CheckpointError(f'the backbone has {projection} of another shape than a Swin')
    return Swin(
        channels=len(state[projection]),
        depths=depths,
        heads=tuple(table.shape[1] for table in tables),
        window=(math.isqrt(len(tables[0])) + 1) // 2,
    )


def in_our_order(name: str, value: Tensor) -> Tensor:
    """Put the merged neighbours' channels [..., 4C] of a tensor of ours into MMDetection's order."""
    if '.downsample.' not in name:
        return value
    neighbours = value.unflatten(-1, (2, 2, -1))  # [..., column, row, C]
    return neighbours.movedim(-1, -3).transpose(-1, -2).flatten(-3).contiguous()  # [..., C, row, column]


def index_of_positions(window: int) -> Tensor:
    """Where in the table the offset between each two of a window's places lies, [w^2, w^2]."""
    side = torch.arange(window, device='cpu')
    rows, columns = torch.meshgrid(side, side, indexing='ij')
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[:, None] - rows + window - 1
    return down * (2 * window - 1) + columns[:, None] - columns + window - 1
