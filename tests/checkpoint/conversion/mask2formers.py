"""Mask2Former by transformers beside ours: of published sizes or shallower, with plausible weights."""

import re
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from PIL import Image, ImageDraw
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig
from transformers.models.swin.modeling_swin import SwinRelativePositionBias

import damamba.register  # noqa: F401
from tests.detection import ROOT

SWINS = {
    't': dict(embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=7, image_size=224),
    's': dict(embed_dim=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24), window_size=7, image_size=224),
    'b': dict(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32), window_size=12, image_size=384),
    'l': dict(embed_dim=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48), window_size=12, image_size=384),
}
QUERIES = {'t': 100, 's': 100, 'b': 100, 'l': 200}
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's pixels
EMBEDDINGS = (
    *('queries_embedder.weight', 'queries_features.weight', 'level_embed', 'level_embed.weight'),
    'relative_position_bias_table',
)
Predictions = list[tuple[Tensor, Tensor]]  # of each layer: classes [1, Q, K + 1] and masks [1, Q, h, w], logits


def theirs(size: str, classes: int = 80, **backbone) -> nn.Module:
    """transformers' model; arguments change its Swin, such as its depths."""
    swin = SwinConfig(**{**SWINS[size], **backbone}, out_features=[f'stage{number}' for number in (1, 2, 3, 4)])
    config = Mask2FormerConfig(backbone_config=swin, num_queries=QUERIES[size], num_labels=classes)
    return Mask2FormerForUniversalSegmentation(config).eval()


def ours(size: str, **backbone) -> nn.Module:
    """The model of our config, not initialised."""
    return built(f'configs/mask2former/mask2former_swin-{size}_coco.py', **backbone)


def built(config: str, **backbone) -> nn.Module:
    """The model of any of our configs."""
    cfg = Config.fromfile(ROOT / config)
    cfg.model.backbone.update(backbone, init_cfg=None)
    detector = MODELS.build(cfg.model)
    detector.eval()  # Swin's eval returns nothing
    return detector


def redraw(model: nn.Module, seed: int) -> None:
    """Draw weights with which all layers matter: transformers' own start leaves masks and classes almost constant."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.named_parameters():
        value.data.normal_(generator=generator)
        if value.ndim > 1 and not name.endswith(EMBEDDINGS):
            value.data *= value[0].numel() ** -0.5
        elif value.ndim == 1:
            value.data.mul_(0.2).add_(name.endswith('weight'))


def picture(shared: Path | None, size: tuple[int, int]) -> Tensor:
    """A real picture, or where there is none a drawn one, [1, 3, H, W], as both models want it."""
    if shared:
        image = Image.open(shared / 'data/coco_tiny/val2017/000000005001.jpg').convert('RGB')
    else:
        image = Image.effect_mandelbrot((640, 480), (-2, -1, 1, 1), 40).convert('RGB')
        ImageDraw.Draw(image).rectangle((80, 90, 300, 350), fill=(200, 40, 90))
    pixels = np.asarray(image.resize(size[::-1]), dtype=np.float64)
    return torch.from_numpy((pixels - MEAN) / STD).permute(2, 0, 1)[None].contiguous()


@torch.no_grad()
def predictions_of_theirs(model: nn.Module, pixels: Tensor) -> Predictions:
    output = model(pixel_values=pixels, output_auxiliary_logits=True)
    every = [*output.auxiliary_logits, output]
    return [(layer['class_queries_logits'], layer['masks_queries_logits']) for layer in every]


@torch.no_grad()
def predictions_of_ours(model: nn.Module, pixels: Tensor) -> Predictions:
    return list(zip(*model.panoptic_head(model.extract_feat(pixels), [None]), strict=True))


# From transformers' names to those in which facebookresearch/Mask2Former keeps its modules: first the backbone's.
TO_DETECTRON2 = (
    (
        r'^model\.pixel_level_module\.encoder\.hidden_states_norms\.stage(\d)',
        lambda found: f'backbone.norm{int(found[1]) - 1}',
    ),
    (r'^model\.pixel_level_module\.encoder\.swin\.(encoder|embeddings)\.', 'backbone.'),
    (r'^backbone\.patch_embeddings\.projection', 'backbone.patch_embed.proj'),
    (r'^backbone\.norm\.', 'backbone.patch_embed.norm.'),
    (r'layernorm_before', 'norm1'),
    (r'layernorm_after', 'norm2'),
    (r'attention\.(relative_position_bias\.)?', 'attn.'),
    (r'attn\.o_proj', 'attn.proj'),
    (r'^model\.pixel_level_module\.decoder\.', 'sem_seg_head.pixel_decoder.'),
    (r'pixel_decoder\.input_projections', 'pixel_decoder.input_proj'),
    (r'pixel_decoder\.(encoder|level_embed)', r'pixel_decoder.transformer.\1'),
    (r'pixel_decoder\.mask_projection', 'pixel_decoder.mask_features'),
    (r'pixel_decoder\.(adapter|layer)_1\.0', r'pixel_decoder.\1_1'),
    (r'pixel_decoder\.(adapter|layer)_1\.1', r'pixel_decoder.\1_1.norm'),
    (r'(transformer\..*)self_attn_layer_norm', r'\1norm1'),
    (r'(transformer\..*)fc1', r'\1linear1'),
    (r'(transformer\..*)fc2', r'\1linear2'),
    (r'(transformer\..*)final_layer_norm', r'\1norm2'),
    (r'^model\.transformer_module\.', 'sem_seg_head.predictor.'),
    (r'predictor\.queries_embedder', 'predictor.query_embed'),
    (r'predictor\.queries_features', 'predictor.query_feat'),
    (r'predictor\.decoder\.layernorm', 'predictor.decoder_norm'),
    (r'predictor\.decoder\.mask_predictor\.mask_embedder\.(\d)\.0', r'predictor.mask_embed.layers.\1'),
    (r'decoder\.layers\.(\d)\.cross_attn_layer_norm', r'transformer_cross_attention_layers.\1.norm'),
    (r'decoder\.layers\.(\d)\.self_attn_layer_norm', r'transformer_self_attention_layers.\1.norm'),
    (r'decoder\.layers\.(\d)\.final_layer_norm', r'transformer_ffn_layers.\1.norm'),
    (r'decoder\.layers\.(\d)\.cross_attn', r'transformer_cross_attention_layers.\1.multihead_attn'),
    (r'decoder\.layers\.(\d)\.self_attn', r'transformer_self_attention_layers.\1.self_attn'),
    (r'decoder\.layers\.(\d)\.fc(\d)', r'transformer_ffn_layers.\1.linear\2'),
    (r'^class_predictor', 'sem_seg_head.predictor.class_embed'),
)


def in_detectron2(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict that detectron2's model would have."""
    result, threes = {}, {}
    for name, value in state.items():
        if '.swin.layernorm.' in name:
            continue  # detectron2's backbone has none
        for pattern, theirs in TO_DETECTRON2:
            name = re.sub(pattern, theirs, name)
        if found := re.fullmatch(r'(.*attn\.)([qkv])_proj\.(weight|bias)', name):
            whole = f'{found[1]}in_proj_{found[3]}' if 'predictor' in name else f'{found[1]}qkv.{found[3]}'
            threes.setdefault(whole, {})[found[2]] = value
        else:
            result[name] = value
        if name.endswith('.relative_position_bias_table'):
            window = (round(len(value) ** 0.5) + 1) // 2
            index = SwinRelativePositionBias(1, (window, window)).relative_position_index
            result[name.replace('bias_table', 'index')] = index.view(window**2, window**2)
    return result | {name: torch.cat([parts[one] for one in 'qkv']) for name, parts in threes.items()}
