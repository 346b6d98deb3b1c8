"""mmcv's operators by torchvision: values and gradients are those of loops in float64, and of the compiled ones."""

import pickle

import pytest
import torch
from mmcv import ops
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

from damamba.mmcv_ops import stand_in
from tests.mmcv_ops import reference

DTYPES = pytest.mark.parametrize('dtype', [torch.float64, torch.float32, torch.float16, torch.bfloat16], ids=str)
FORMATS = pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=['plain', 'last'])


def boxes_at_random(count: int, side: float = 40.0) -> torch.Tensor:
    corners = torch.rand(count, 2) * side
    return torch.cat((corners, corners + 1 + torch.rand(count, 2) * side), dim=1)


def gradients(function, inputs: list[torch.Tensor], direction: torch.Tensor) -> list[torch.Tensor]:
    """The value, and the gradients of its product with a direction, with respect to what is floating."""
    inputs = [it.detach().requires_grad_(it.is_floating_point()) for it in inputs]
    value = function(*inputs)
    wanted = [it for it in inputs if it.requires_grad]
    return [value, *torch.autograd.grad(value, wanted, direction.to(value))]


def assert_same(function, truth, inputs, close, dtype, direction=None) -> None:
    """Values and gradients, against those of float64 at the same (rounded) numbers."""
    inputs = [it.to(dtype) if it.is_floating_point() else it for it in inputs]
    doubles = [it.double() if it.is_floating_point() else it for it in inputs]
    direction = torch.randn_like(truth(*doubles)).to(dtype).double()
    found = gradients(function, inputs, direction)
    wanted = gradients(truth, doubles, direction)
    for value, right in zip(found, wanted, strict=True):
        assert value.dtype == dtype
        close(value, right)


# Suppression -------------------------------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 1.0])
def test_nms_is_the_loop(dtype, offset, threshold, device):
    boxes, scores = boxes_at_random(60).to(dtype), torch.rand(60).to(dtype)
    boxes[:20].round_()  # so that some are alike, and some overlaps are whole fractions
    dets, kept = ops.nms(boxes.to(device), scores.to(device), threshold, offset)
    assert kept.tolist() == reference.nms(boxes.double(), scores.double(), threshold, offset)
    assert torch.equal(dets.cpu(), torch.cat((boxes, scores[:, None]), dim=1)[kept.cpu()])


def test_an_overlap_of_just_the_threshold_stays(device):
    """3 of 10 pixels: 0.3 in float32 is above 0.3 in float64."""
    boxes = torch.tensor([[0, 0, 10, 1], [0, 0, 3, 1]], dtype=torch.float32, device=device)
    assert ops.nms(boxes, torch.tensor([0.9, 0.8], device=device), 0.3)[1].tolist() == [0, 1]


def test_of_equal_scores_the_first_is_taken(device):
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9], [30, 0, 40, 10]] * 8, dtype=torch.float32, device=device)
    assert ops.nms(boxes, torch.full((24,), 0.5, device=device), 0.5)[1].tolist() == [0, 2]
    assert ops.soft_nms(boxes, torch.full((24,), 0.5, device=device), 0.5, method='naive')[1].tolist() == [0, 2]


def test_nms_takes_arrays_and_other_limits():
    boxes, scores = boxes_at_random(50), torch.rand(50)
    dets, kept = ops.nms(boxes.numpy(), scores.numpy(), 0.5, score_threshold=0.2, max_num=5)
    valid = [i for i in reference.nms(boxes, scores, 0.5) if scores[i] > 0.2]
    assert kept.tolist() == valid[:5] and dets.shape == (5, 5)


@pytest.mark.parametrize('kind', ['nms', 'soft_nms'])
def test_classes_do_not_suppress_each_other(kind):
    boxes, scores, labels = boxes_at_random(40), torch.rand(40), torch.arange(40) % 3
    found = ops.batched_nms(boxes, scores, labels, dict(type=kind, iou_threshold=0.4))[1]
    truth = set()
    for label in range(3):
        (own,) = (labels == label).nonzero(as_tuple=True)
        if kind == 'nms':
            kept = reference.nms(boxes[own], scores[own], 0.4)
        else:
            kept = [i for i, _ in reference.soft_nms(boxes[own], scores[own], 0.4, 0.5, 1e-3, 'linear')]
        truth |= set(own[kept].tolist())
    assert set(found.tolist()) == truth


@DTYPES
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms_is_the_loop(dtype, offset, method, device, close):
    boxes, scores = boxes_at_random(40).to(dtype), torch.rand(40).to(dtype)
    scores[:] = (torch.randperm(40) + 1) / 64  # distinct in half precision too
    dets, kept = ops.soft_nms(boxes.to(device), scores.to(device), 0.4, 0.5, 0.05, method, offset)
    truth = reference.soft_nms(boxes.double(), scores.double(), 0.4, 0.5, 0.05, method, offset)
    assert kept.tolist() == [i for i, _ in truth] and dets.device.type == device
    close(dets[:, 4], torch.tensor([score for _, score in truth], dtype=torch.float64))
    assert torch.equal(dets[:, :4].cpu(), boxes[kept.cpu()])


def test_empty_boxes_do_not_overlap():
    """mmcv's own gives not a number for the overlap of two of them."""
    boxes, scores = torch.tensor([[5.0, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]]), torch.tensor([0.9, 0.8, 0.7])
    for method in ('naive', 'linear', 'gaussian'):
        dets, kept = ops.soft_nms(boxes, scores, 0.3, method=method)
        assert kept.tolist() == [0, 1, 2] and torch.equal(dets[:, 4], scores)
    assert ops.nms(boxes, scores, 0.3)[1].tolist() == [0, 1, 2]


def test_without_boxes_nothing_is_found(device):
    boxes, scores = torch.zeros(0, 4, device=device), torch.zeros(0, device=device)
    for found in (ops.nms(boxes, scores, 0.5), ops.soft_nms(boxes, scores, 0.5)):
        assert [tuple(it.shape) for it in found] == [(0, 5), (0,)] and found[1].dtype == torch.int64


# RoIAlign ----------------------------------------------------------------------------------------------------------

ROIS = torch.tensor(
    [
        [0, 2.25, 3.5, 30.5, 21.25],
        [1, -14.5, -9.25, 12.0, 16.5],  # partly outside
        [1, 20.5, 10.75, 70.5, 55.25],
        [0, 90.5, 90.5, 120.25, 120.5],  # wholly
        [1, 8.5, 8.5, 8.5, 8.5],  # empty
        [0, 5.0, 5.0, 7.0, 6.0],
    ]
)


@DTYPES
@FORMATS
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
def test_roi_align_is_the_loop(dtype, layout, aligned, ratio, device, close):
    maps = torch.randn(2, 3, 12, 10, device=device)

    def ours(it):
        return ops.roi_align(it.contiguous(memory_format=layout), ROIS.to(it), (3, 2), 0.25, ratio, 'avg', aligned)

    def truth(it):
        return reference.roi_align(it, ROIS, (3, 2), 0.25, ratio, aligned)

    assert_same(ours, truth, [maps], close, dtype)


def test_roi_align_without_rois_or_pictures():
    maps = torch.randn(2, 3, 8, 8, requires_grad=True)
    found = ops.roi_align(maps, torch.zeros(0, 5), (7, 7))
    found.sum().backward()
    assert found.shape == (0, 3, 7, 7) and not maps.grad.any()
    assert ops.roi_align(maps[:0], torch.zeros(0, 5), (7, 7)).shape == (0, 3, 7, 7)


def test_the_layer_goes_through_pickle():
    layer = ops.RoIAlign((3, 2), 0.25, 0)
    maps = torch.randn(2, 3, 12, 10)
    assert torch.equal(pickle.loads(pickle.dumps(layer))(maps, ROIS), layer(maps, ROIS))
    assert pickle.loads(pickle.dumps(stand_in.nms)) is stand_in.nms


def test_roi_align_under_deterministic_algorithms(deterministic_algorithms, device, close):
    maps = torch.randn(2, 3, 12, 10, device=device)
    direction = torch.randn(6, 3, 3, 2).double()
    found = gradients(lambda it: ops.roi_align(it, ROIS.to(it), (3, 2), 0.25, 0), [maps], direction)[1]
    wanted = gradients(lambda it: reference.roi_align(it, ROIS, (3, 2), 0.25, 0), [maps.double()], direction)[1]
    close(found, wanted)


def test_what_would_raise_under_deterministic_algorithms_is_computed_on_the_cpu(deterministic_algorithms):
    """A tensor of another device, here the one without memory, is brought to the CPU and back."""
    seen = []

    def operator(*args):
        seen.extend(args)
        return args[0], args[0]

    def cpu(self):
        return torch.zeros(self.shape)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, 'cpu', cpu)
        found = stand_in._derivative(operator, torch.zeros(2, device='meta'), 3)
    assert seen[0].device.type == 'cpu' and seen[1] == 3
    assert [it.device.type for it in found] == ['meta', 'meta']


# Deformable convolution --------------------------------------------------------------------------------------------

LAYOUTS = pytest.mark.parametrize(
    ('stride', 'padding', 'dilation', 'groups', 'deform_groups'), [(1, 1, 1, 1, 1), (2, 2, 2, 2, 2)]
)


def convolution_inputs(stride, padding, dilation, groups, deform_groups, device):
    """Offsets are odd sixteenths of a pixel: exact in any type, and never at a kink."""
    size = (4 + 2 * padding - 2 * dilation - 1) // stride + 1
    offset = torch.randint(-24, 24, (2, 18 * deform_groups, size, size)) / 8 + 1 / 16
    mask = torch.rand(2, 9 * deform_groups, size, size)
    tensors = (torch.randn(2, 4, 4, 4), offset, torch.randn(4, 4 // groups, 3, 3), mask, torch.randn(4))
    return [it.to(device) for it in tensors]


@DTYPES
@LAYOUTS
@FORMATS
def test_deformable_convolution_is_the_loop(
    dtype, layout, stride, padding, dilation, groups, deform_groups, device, close
):
    inputs = convolution_inputs(stride, padding, dilation, groups, deform_groups, device)[:3]

    def ours(maps, offset, weight):
        maps = maps.contiguous(memory_format=layout)
        return ops.deform_conv2d(maps, offset, weight, stride, padding, dilation, groups, deform_groups)

    def truth(maps, offset, weight):
        return reference.deform_conv(maps, offset, weight, None, None, stride, padding, dilation, groups)

    assert_same(ours, truth, inputs, close, dtype)


@DTYPES
@LAYOUTS
@pytest.mark.parametrize('with_bias', [True, False])
def test_modulated_deformable_convolution_is_the_loop(
    dtype, stride, padding, dilation, groups, deform_groups, with_bias, device, close
):
    inputs = convolution_inputs(stride, padding, dilation, groups, deform_groups, device)[: 4 + with_bias]

    def ours(maps, offset, weight, mask, bias=None):
        return ops.modulated_deform_conv2d(
            maps, offset, mask, weight, bias, stride, padding, dilation, groups, deform_groups
        )

    def truth(*tensors):
        bias = tensors[4] if with_bias else None
        return reference.deform_conv(*tensors[:4], bias, stride, padding, dilation, groups)

    assert_same(ours, truth, inputs, close, dtype)


# Attention and focal loss, which mmcv takes from its extension on a GPU alone ---------------------------------------


@DTYPES
def test_deformable_attention_is_the_loop(dtype, device, close):
    shapes = [(4, 5), (2, 3)]
    value, weights = torch.randn(2, 26, 2, 3), torch.rand(2, 4, 2, 2, 3)
    locations = torch.randint(-6, 70, (2, 4, 2, 2, 3, 2)) / 64 + 1 / 128  # exact in any type, and never at a kink

    def ours(*tensors):
        sizes, starts = torch.tensor(shapes, device=device), torch.tensor([0, 20], device=device)
        return MultiScaleDeformableAttnFunction.apply(tensors[0], sizes, starts, *tensors[1:], 64)

    inputs = [it.to(device) for it in (value, locations, weights)]
    assert_same(ours, lambda v, at, w: reference.attend(v, shapes, at, w), inputs, close, dtype)


@DTYPES
@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize(('gamma', 'alpha'), [(2.0, 0.25), (0.0, 0.5), (0.5, 0.75)])
def test_focal_loss_is_the_formula(dtype, weighted, gamma, alpha, device, close):
    labels = torch.tensor([0, 2, 4, 1, 4, 3, 0, 4])  # 4: the background
    weight = torch.rand(4).to(dtype) if weighted else None

    def ours(logits):
        own = None if weight is None else weight.to(logits)
        return ops.sigmoid_focal_loss(logits, labels.to(device), gamma, alpha, own, 'none')

    def truth(logits):
        return reference.focal_loss(logits, labels, gamma, alpha, None if weight is None else weight.to(logits))

    assert_same(ours, truth, [3 * torch.randn(8, 4, device=device)], close, dtype)


def test_focal_loss_is_finite_where_the_sigmoid_is_not_0_or_1_in_float32(device):
    logits = torch.tensor([[-200.0, 200.0], [200.0, -200.0]], device=device, requires_grad=True)
    loss = ops.sigmoid_focal_loss(logits, torch.tensor([0, 0], device=device), 2.0, 0.25, None, 'none')
    loss.sum().backward()
    assert loss[0].tolist() == [50.0, 150.0] and logits.grad.isfinite().all()


# Whatever is given -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('number', [float('nan'), float('inf')])
def test_a_roi_that_is_not_finite_is_refused(number):
    """torchvision's own would read beyond the map."""
    with pytest.raises(ValueError, match='roi_align takes finite RoIs'):
        ops.roi_align(torch.randn(1, 2, 8, 8), torch.tensor([[0, number, 0, 5, 5]]), (2, 2))


def test_integers_are_refused_where_they_would_be_rounded():
    boxes, scores = torch.tensor([[0, 0, 10, 10], [0, 0, 9, 10]]), torch.tensor([0.9, 0.8])
    assert ops.nms(boxes, scores, 0.5)[1].tolist() == [0]
    for call in (
        lambda: ops.soft_nms(boxes, scores, 0.5),
        lambda: ops.roi_align(torch.ones(1, 1, 8, 8, dtype=torch.uint8), torch.zeros(1, 5), (2, 2)),
    ):
        with pytest.raises(TypeError, match="mmcv's operators take floating-point tensors, got one of torch"):
            call()


def test_a_box_whose_score_is_not_a_number_comes_last():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])
    assert ops.soft_nms(boxes, torch.tensor([float('nan'), 0.8, 0.9]), 0.5)[1].tolist() == [2, 1, 0]


def test_a_compiled_model_has_the_same_gradients(close):
    """What is written into the wrappers' tensors would be lost within a graph."""
    maps = torch.randn(2, 4, 12, 10)
    offset, weight = convolution_inputs(1, 1, 1, 1, 1, 'cpu')[1:3]
    offset = torch.nn.functional.pad(offset, (0, 6, 0, 8), value=1 / 16)

    def model(maps, offset, weight):
        return ops.roi_align(ops.deform_conv2d(maps, offset, weight, 1, 1), ROIS, (3, 2), 0.25)

    direction = torch.randn(6, 4, 3, 2)
    truth = gradients(model, [maps, offset, weight], direction)
    torch.compiler.reset()
    found = gradients(torch.compile(model, backend='aot_eager'), [maps, offset, weight], direction)
    torch.compiler.reset()
    for value, right in zip(found, truth, strict=True):
        assert right.any()
        close(value, right)


# What is not there -------------------------------------------------------------------------------------------------


def test_any_other_operator_raises_a_sentence_that_names_it_and_the_command():
    assert stand_in.a_new_operator  # as mmcv asks when it is imported
    with pytest.raises(NotImplementedError) as error:
        stand_in.ball_query_forward(torch.zeros(1), min_radius=1)
    text = str(error.value)
    assert text.startswith("mmcv's ball_query_forward ") and '\n' not in text
    assert '--no-build-isolation --no-cache-dir --force-reinstall --no-deps onedl-mmcv==' in text
    with pytest.raises(NotImplementedError, match="mmcv's roi_align with pool_mode='max' "):
        ops.roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), (2, 2), 1.0, 0, 'max')
    with pytest.raises(AttributeError):
        stand_in.__wrapped__  # noqa: B018


def test_a_layer_without_its_operator_raises_when_it_is_used():
    with pytest.raises(NotImplementedError, match="mmcv's roi_pool_forward "):
        ops.RoIPool((2, 2))(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5))


# The compiled ones -------------------------------------------------------------------------------------------------


def test_values_and_gradients_are_those_of_a_compiled_mmcv(use_compiled, close):
    boxes, scores = boxes_at_random(300), torch.rand(300)
    maps, rois = torch.randn(2, 3, 12, 10), torch.cat((torch.arange(300)[:, None] % 2, boxes), dim=1)
    convolution = convolution_inputs(2, 2, 2, 2, 2, 'cpu')
    direction = torch.randn(2, 4, 2, 2)

    def everything():
        yield ops.nms(boxes, scores, 0.5)[1]
        yield ops.nms(boxes.round(), scores, 0.3, offset=1)[1]
        yield from ops.soft_nms(boxes, scores, 0.3, method='linear')
        yield from gradients(lambda it: ops.roi_align(it, rois, 7, 0.25, 0), [maps], torch.ones(300, 3, 7, 7))
        yield from gradients(lambda *it: ops.deform_conv2d(*it, 2, 2, 2, 2, 2), convolution[:3], direction)
        maps2, offset, weight, mask, bias = convolution
        ordered = [maps2, offset, mask, weight, bias]
        yield from gradients(lambda *it: ops.modulated_deform_conv2d(*it, 2, 2, 2, 2, 2), ordered, direction)

    found = list(everything())
    use_compiled()
    for value, right in zip(found, everything(), strict=True):
        close(value.float(), right)
