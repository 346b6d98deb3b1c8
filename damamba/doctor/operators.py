"""The operators of DAMamba and of mmcv: what runs them on each device, and whether it gives the right answer."""

from importlib import metadata

from damamba import mmcv_ops
from damamba.doctor import PIP, Look, Problem, first_line


def devices() -> list[str]:
    import torch

    return ['cpu', 'cuda'] if torch.cuda.is_available() else ['cpu']


# DAMamba's own.


def look_at_backends() -> Look:
    """Why each backend can or can't run on each device; the one that is taken is held against the reference loop."""
    rows, problems = {}, []
    for device in devices():
        taken = {}
        for operator, tables, inputs in _operators(device):
            reasons = {name: backend.why_not(*inputs) for name, backend in tables.items()}
            chosen, problem = _chosen(operator, tables, inputs)
            for name, reason in reasons.items():
                text = (
                    'runs, and is taken'
                    if tables[name] is chosen
                    else f"can't run: {reason}"
                    if reason
                    else 'could run'
                )
                rows.setdefault(f'{name} on {device}', []).append(text)
            problems += [problem] if problem else _wrong_answers(operator, inputs, device)
            taken[operator] = reasons
        problems += _slow(device, taken['selective_scan'])
    return Look({name: ' / '.join(dict.fromkeys(texts)) for name, texts in rows.items()}, problems)


def _operators(device: str):
    """(name, backends, small arguments on the device) of each operator."""
    import torch

    from damamba.ops import adaptive_sample, selective_scan  # noqa: F401  which load the tables
    from damamba.ops.adaptive_sample import BACKENDS as SAMPLING
    from damamba.ops.selective_scan import BACKENDS as SCANNING

    draw = torch.Generator().manual_seed(0)
    sizes = {'adaptive_sample': [(1, 3, 4, 16), (1, 3, 4, 2)]}  # x, offset
    sizes['selective_scan'] = [
        (1, 5, 16),
        (1, 5, 16),
        (16,),
        (1, 5),
        (1, 5),
        (16,),
        (16,),
    ]  # u, dt, A, B, C, D, dt_bias
    for (operator, shapes), tables in zip(sizes.items(), (SAMPLING, SCANNING), strict=True):
        yield operator, tables, [torch.rand(shape, generator=draw).neg().to(device) for shape in shapes]


def _chosen(operator: str, tables, inputs):
    """The backend that is taken, or the problem with the one that DAMAMBA_BACKEND asks for."""
    from damamba.ops.backend import choose

    try:
        return choose(operator, tables, inputs), None
    except (ValueError, RuntimeError) as error:
        return None, Problem(str(error), 'unset DAMAMBA_BACKEND')


def _wrong_answers(operator: str, inputs, device: str) -> list[Problem]:
    """A compiler may be missing, or fail: that is seen when a kernel first runs."""
    import torch

    from damamba import ops

    run, instead = getattr(ops, operator), 'export DAMAMBA_BACKEND=vectorized'
    truth = run(*(it.cpu() for it in inputs), backend='reference')
    try:
        answer = run(*inputs).cpu()
    except Exception as error:  # each compiler has its own
        return [Problem(f'{operator} does not run on {device} tensors ({first_line(error)})', instead)]
    if torch.allclose(answer, truth, rtol=1e-4, atol=1e-5):
        return []
    return [Problem(f'{operator} gives a wrong answer on {device} tensors', instead)]


def _slow(device: str, reasons: dict[str, str | None]) -> list[Problem]:
    """Without compiled kernels a device has plain torch, which is many times slower."""
    name, needed = ('numba', reasons['numba']) if device == 'cpu' else ('triton', reasons['triton'])
    if not needed or 'not installed' not in needed:
        return []
    return [Problem(f'{needed}, and DAMamba is many times slower on {device} without', f'{PIP} install {name}', False)]


# mmcv's.


def mmcv_command() -> str:
    """Takes compiled operators out, by building mmcv where no torch is seen."""
    return f'{PIP} install --no-deps --force-reinstall --no-cache-dir onedl-mmcv=={metadata.version("onedl-mmcv")}'


def look_at_mmcv() -> Look:
    """What mmcv.ops runs on, and two of its operators against an answer known by hand."""
    by, problems = mmcv_ops.describe(), []
    rows = {'operators by': 'torchvision, since none are compiled' if by == 'torchvision' else by}
    for device in devices():
        found = check_mmcv(device)
        rows[device] = 'see below' if found else 'nms and roi_align give the right answers'
        problems += found
    return Look(rows, problems)


def check_mmcv(device: str) -> list[Problem]:
    """Two of mmcv's operators, ours or compiled ones, against an answer known by hand."""
    try:
        answers = {'nms': (nms_answer(device), [0, 2]), 'roi_align': (roi_align_answer(device), [2.5, 4.5, 10.5, 12.5])}
    except RuntimeError as error:
        return [Problem(f"mmcv's operators do not run on {device} tensors ({first_line(error)})", mmcv_command())]
    wrong = [name for name, (found, truth) in answers.items() if found != truth]
    return [Problem(f'{name} of mmcv gives a wrong answer on {device} tensors', mmcv_command()) for name in wrong]


def nms_answer(device: str) -> list[int]:
    """The second box overlaps the first with an IoU of 81 / 119, the third overlaps nothing: [0, 2] stay."""
    import torch
    from mmcv.ops import nms

    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 11, 11], [20, 20, 30, 30]], dtype=torch.float32, device=device)
    scores = torch.tensor([0.9, 0.8, 0.7], device=device)
    return nms(boxes, scores, iou_threshold=0.5)[1].tolist()


def roi_align_answer(device: str) -> list[float]:
    """The means of 2 x 2 blocks of 0 ... 15: aligned, with two samples a side, each sample is a pixel's centre."""
    import torch
    from mmcv.ops import roi_align

    picture = torch.arange(16, dtype=torch.float32, device=device).reshape(1, 1, 4, 4)
    whole = torch.tensor([[0, 0, 0, 4, 4]], dtype=torch.float32, device=device)  # image 0, then the corners
    return roi_align(picture, whole, (2, 2), 1.0, 2, 'avg', True).flatten().tolist()
