"""The tensors of Mask2Former's head, by MMDetection's names and those of Hugging Face and detectron2.

All three order the levels from coarse to fine, put q, k and v one below the other, and "no object" behind the classes.

"""

from collections.abc import Iterator
from typing import NamedTuple

from damamba.checkpoint.conversion.layers import Names, Wanted, layer

LEVELS = 3
ENCODER, DECODER = 'pixel_decoder.encoder.layers.{}.', 'transformer_decoder.layers.{}.'
SAMPLING = ('sampling_offsets', 'attention_weights', 'value_proj', 'output_proj')
MASK_LAYERS = (0, 2, 4)  # of mask_embed; between them lie activations
CLASSES = 'cls_embed'

_PIXEL, _LAYER = 'pixel_decoder.', 'pixel_decoder.transformer.encoder.layers.{}.'
_CROSS, _SELF = 'predictor.transformer_cross_attention_layers.{}.', 'predictor.transformer_self_attention_layers.{}.'
_FFN = 'predictor.transformer_ffn_layers.{}.'
DETECTRON2: Names = {
    'pixel_decoder.input_convs.{}.conv': f'{_PIXEL}input_proj.{{}}.0',
    'pixel_decoder.input_convs.{}.gn': f'{_PIXEL}input_proj.{{}}.1',
    'pixel_decoder.level_encoding.weight': f'{_PIXEL}transformer.level_embed',
    **{f'{ENCODER}self_attn.{one}': f'{_LAYER}self_attn.{one}' for one in SAMPLING},
    f'{ENCODER}norms.0': f'{_LAYER}norm1',
    f'{ENCODER}ffn.layers.0.0': f'{_LAYER}linear1',
    f'{ENCODER}ffn.layers.1': f'{_LAYER}linear2',
    f'{ENCODER}norms.1': f'{_LAYER}norm2',
    'pixel_decoder.lateral_convs.0.conv': f'{_PIXEL}adapter_1',
    'pixel_decoder.lateral_convs.0.gn': f'{_PIXEL}adapter_1.norm',
    'pixel_decoder.output_convs.0.conv': f'{_PIXEL}layer_1',
    'pixel_decoder.output_convs.0.gn': f'{_PIXEL}layer_1.norm',
    'pixel_decoder.mask_feature': f'{_PIXEL}mask_features',
    f'{DECODER}cross_attn.attn.in_proj_weight': f'{_CROSS}multihead_attn.in_proj_weight',
    f'{DECODER}cross_attn.attn.in_proj_bias': f'{_CROSS}multihead_attn.in_proj_bias',
    f'{DECODER}cross_attn.attn.out_proj': f'{_CROSS}multihead_attn.out_proj',
    f'{DECODER}norms.0': f'{_CROSS}norm',
    f'{DECODER}self_attn.attn.in_proj_weight': f'{_SELF}self_attn.in_proj_weight',
    f'{DECODER}self_attn.attn.in_proj_bias': f'{_SELF}self_attn.in_proj_bias',
    f'{DECODER}self_attn.attn.out_proj': f'{_SELF}self_attn.out_proj',
    f'{DECODER}norms.1': f'{_SELF}norm',
    f'{DECODER}ffn.layers.0.0': f'{_FFN}linear1',
    f'{DECODER}ffn.layers.1': f'{_FFN}linear2',
    f'{DECODER}norms.2': f'{_FFN}norm',
    'transformer_decoder.post_norm': 'predictor.decoder_norm',
    'query_embed': 'predictor.query_embed',
    'query_feat': 'predictor.query_feat',
    'level_embed': 'predictor.level_embed',
    CLASSES: 'predictor.class_embed',
    **{f'mask_embed.{ours}': f'predictor.mask_embed.layers.{theirs}' for theirs, ours in enumerate(MASK_LAYERS)},
}
DETECTRON2_OLDER = {
    'predictor.query_feat': 'predictor.static_query',
    **{
        f'sem_seg_head.pixel_decoder.{part}': f'sem_seg_head.{part}'
        for part in ('input_proj', 'transformer', 'adapter_1', 'layer_1', 'mask_features')
    },
}

_DECODER, _MODULE = 'model.pixel_level_module.decoder.', 'model.transformer_module.'
_LAYER, _QUERY = f'{_DECODER}encoder.layers.{{}}.', f'{_MODULE}decoder.layers.{{}}.'
HUGGINGFACE: Names = {
    'pixel_decoder.input_convs.{}.conv': f'{_DECODER}input_projections.{{}}.0',
    'pixel_decoder.input_convs.{}.gn': f'{_DECODER}input_projections.{{}}.1',
    'pixel_decoder.level_encoding.weight': f'{_DECODER}level_embed',
    **{f'{ENCODER}self_attn.{one}': f'{_LAYER}self_attn.{one}' for one in SAMPLING},
    f'{ENCODER}norms.0': f'{_LAYER}self_attn_layer_norm',
    f'{ENCODER}ffn.layers.0.0': f'{_LAYER}fc1',
    f'{ENCODER}ffn.layers.1': f'{_LAYER}fc2',
    f'{ENCODER}norms.1': f'{_LAYER}final_layer_norm',
    'pixel_decoder.lateral_convs.0.conv': f'{_DECODER}adapter_1.0',
    'pixel_decoder.lateral_convs.0.gn': f'{_DECODER}adapter_1.1',
    'pixel_decoder.output_convs.0.conv': f'{_DECODER}layer_1.0',
    'pixel_decoder.output_convs.0.gn': f'{_DECODER}layer_1.1',
    'pixel_decoder.mask_feature': f'{_DECODER}mask_projection',
    f'{DECODER}cross_attn.attn.in_proj_weight': f'{_QUERY}cross_attn.in_proj_weight',
    f'{DECODER}cross_attn.attn.in_proj_bias': f'{_QUERY}cross_attn.in_proj_bias',
    f'{DECODER}cross_attn.attn.out_proj': f'{_QUERY}cross_attn.out_proj',
    f'{DECODER}norms.0': f'{_QUERY}cross_attn_layer_norm',
    f'{DECODER}self_attn.attn.in_proj_weight': tuple(f'{_QUERY}self_attn.{one}_proj.weight' for one in 'qkv'),
    f'{DECODER}self_attn.attn.in_proj_bias': tuple(f'{_QUERY}self_attn.{one}_proj.bias' for one in 'qkv'),
    f'{DECODER}self_attn.attn.out_proj': f'{_QUERY}self_attn.out_proj',
    f'{DECODER}norms.1': f'{_QUERY}self_attn_layer_norm',
    f'{DECODER}ffn.layers.0.0': f'{_QUERY}fc1',
    f'{DECODER}ffn.layers.1': f'{_QUERY}fc2',
    f'{DECODER}norms.2': f'{_QUERY}final_layer_norm',
    'transformer_decoder.post_norm': f'{_MODULE}decoder.layernorm',
    'query_embed': f'{_MODULE}queries_embedder',
    'query_feat': f'{_MODULE}queries_features',
    'level_embed': f'{_MODULE}level_embed',
    CLASSES: 'class_predictor',
    **{
        f'mask_embed.{ours}': f'{_MODULE}decoder.mask_predictor.mask_embedder.{theirs}.0'
        for theirs, ours in enumerate(MASK_LAYERS)
    },
}


class Head(NamedTuple):
    """The sizes of a head."""

    inputs: tuple[int, ...]  # channels of the backbone's maps, from fine to coarse
    width: int  # D
    queries: int
    encoder: int  # layers
    decoder: int
    classes: int  # without "no object"

    def tensors(self) -> Iterator[Wanted]:
        """What is learned."""
        yield from self._pixel_decoder()
        for number in range(self.decoder):
            yield from self._decoder_layer(number)
        yield from layer('transformer_decoder.post_norm', (), self.width)
        for name, rows in (('query_embed', self.queries), ('query_feat', self.queries), ('level_embed', LEVELS)):
            yield from layer(name, (), rows, self.width, bias=False)
        yield from layer(CLASSES, (), self.classes + 1, self.width)
        for number in MASK_LAYERS:
            yield from layer(f'mask_embed.{number}', (), self.width, self.width)

    def _pixel_decoder(self) -> Iterator[Wanted]:
        width = self.width
        for level, channels in enumerate(self.inputs[:0:-1]):
            yield from layer('pixel_decoder.input_convs.{}.conv', (level,), width, channels, 1, 1)
            yield from layer('pixel_decoder.input_convs.{}.gn', (level,), width)
        for number in range(self.encoder):
            for name in SAMPLING:
                rows = width if name in ('value_proj', 'output_proj') else None  # heads x levels x points
                yield from layer(f'{ENCODER}self_attn.{name}', (number,), rows, width)
            yield from _feed_forward(ENCODER, number, width)
            yield from (it for norm in range(2) for it in layer(f'{ENCODER}norms.{norm}', (number,), width))
        yield from layer('pixel_decoder.level_encoding', (), LEVELS, width, bias=False)
        yield from layer('pixel_decoder.lateral_convs.0.conv', (), width, self.inputs[0], 1, 1, bias=False)
        yield from layer('pixel_decoder.lateral_convs.0.gn', (), width)
        yield from layer('pixel_decoder.output_convs.0.conv', (), width, width, 3, 3, bias=False)
        yield from layer('pixel_decoder.output_convs.0.gn', (), width)
        yield from layer('pixel_decoder.mask_feature', (), width, width, 1, 1)

    def _decoder_layer(self, number: int) -> Iterator[Wanted]:
        at, width = (number,), self.width
        for attention in ('cross_attn', 'self_attn'):
            name = f'{DECODER}{attention}.attn'
            yield Wanted(f'{name}.in_proj_weight', at, (3 * width, width))
            yield Wanted(f'{name}.in_proj_bias', at, (3 * width,))
            yield from layer(f'{name}.out_proj', at, width, width)
        yield from _feed_forward(DECODER, number, width)
        yield from (it for norm in range(3) for it in layer(f'{DECODER}norms.{norm}', at, width))


def _feed_forward(where: str, number: int, width: int) -> Iterator[Wanted]:
    yield from layer(f'{where}ffn.layers.0.0', (number,), None, width)
    yield from layer(f'{where}ffn.layers.1', (number,), width, None)
