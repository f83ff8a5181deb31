"""A network as an ONNX file, and whether it says the same there."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dmt.errors import ConfigError, ExportError, first_line

EXTRA = "onnx"
OPSET = 18
INPUT, OUTPUT = "images", "probabilities"
MAX_DIFFERENCE = 1e-3
"""Of a probability, between PyTorch and the exported file."""
TIE = 1e-5
"""Where PyTorch's two best classes are no further apart, rounding decides between them, and no label is changed."""

_BATCH, _SIZE = {0: "batch"}, {2: "height", 3: "width"}
_BATCHES = (1, 3)
_GROWN, _GROWTH = 2, 1.5
_EXPORT_ERRORS = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError, KeyError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How an exported file compares with PyTorch on real images.

    Attributes:
        largest: the largest difference of a probability.
        num_images: how many images were compared, at how many sizes each.
        changed: labels that are not the same, ties apart.
        ties: labels that are not the same where PyTorch's two best classes are as good as equal.
        sizes: the heights and widths that were tried.
        any_size: whether the file takes images of any size.
    """

    largest: float
    num_images: int
    changed: int
    ties: int
    sizes: tuple[tuple[int, int], ...]
    any_size: bool


class _Probabilities(nn.Module):
    """Images `(N, channels, H, W)`, float in [0, 1] -> probabilities `(N, C, *S)`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        probabilities: Tensor = self.network(images).softmax(dim=1)
        return probabilities


def onnx_of(network: nn.Module, images: Sequence[Tensor], metadata: Mapping[str, str]) -> tuple[bytes, Agreement]:
    """The file's content, held against PyTorch on real images.

    The file takes a batch of any size of images in [0, 1], normalizes them itself, and gives probabilities. Images may
    be of any size, too, where the network can be exported so and is right then.

    Args:
        network: on the CPU, in eval mode: images `(N, channels, H, W)` in [0, 1] -> logits `(N, C, *S)`.
        images: real ones, `(channels, H, W)` uint8, of the sizes that the network is to see.
        metadata: text for the file's `metadata_props`.

    Raises:
        ConfigError: the packages of the extra `onnx` are missing.
        ExportError: the network cannot be exported, or says something else there.
    """
    require_extra()
    module = _Probabilities(network).eval()
    problem = ""
    for any_size in (False,) if _pads_by_size(network) else (True, False):
        shape = _BATCH | _SIZE if any_size else _BATCH
        try:
            content = _serialized(module, images[0], shape, metadata)
            compared = [image for image in images if any_size or image.shape == images[0].shape]
            agreement = _compare(module, content, compared, any_size=any_size)
        except _EXPORT_ERRORS as error:
            problem = first_line(error)
            continue
        if agreement.changed == 0 and agreement.largest <= MAX_DIFFERENCE:
            return content, agreement
        problem = _disagreement(agreement)
    raise ExportError(f"The network cannot be exported to ONNX: {problem}. A bundle (--format bundle) needs no export.")


def _pads_by_size(network: nn.Module) -> bool:
    """Whether layers pad by what their input measures, as TensorFlow's do.

    Each depends on the one before, and for sizes that are left open the exporter has not written that down after hours.
    timm calls all such layers Conv2dSame, MaxPool2dSame, ...
    """
    return any(type(module).__name__.endswith("Same") for module in network.modules())


def require_extra() -> None:
    """Refuse to go on without the packages that ONNX needs.

    Raises:
        ConfigError: one is missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"Exporting to ONNX needs {error.name or 'a package'}, which is not installed: "
            f"pip install 'dmt-ssl[{EXTRA}]'."
        ) from error


def session(content: bytes) -> Any:
    """An ONNX file ready to run on the CPU, in one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _serialized(module: nn.Module, image: Tensor, shape: dict[int, str], metadata: Mapping[str, str]) -> bytes:
    import onnx

    # Two images: a size of 1 would be taken for one that stays.
    example = (image[None].float() / 255).repeat(2, 1, 1, 1)
    with _quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=(shape,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    # Where in this machine's files each node comes from is nobody's business.
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    del model.metadata_props[:], model.graph.metadata_props[:]
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


@torch.inference_mode()
def _compare(module: nn.Module, content: bytes, images: Sequence[Tensor], *, any_size: bool) -> Agreement:
    """Both on the same images, in several batches, and larger where any size is promised."""
    ready = _started(content)
    largest, changed, ties, sizes = 0.0, 0, 0, set[tuple[int, int]]()
    for batch in _batches(images, any_size=any_size):
        wanted = module(batch).numpy()
        found = _answers(ready, batch)
        if found.shape != wanted.shape or not np.isfinite(found).all():
            raise ValueError(
                f"it gives {found.shape} where PyTorch gives {wanted.shape}, or values that are not finite"
            )
        largest = max(largest, float(np.abs(found - wanted).max()))
        best = np.sort(wanted, axis=1)
        differs, tied = found.argmax(axis=1) != wanted.argmax(axis=1), best[:, -1] - best[:, -2] <= TIE
        changed, ties = changed + int((differs & ~tied).sum()), ties + int((differs & tied).sum())
        sizes.add((batch.shape[2], batch.shape[3]))
    return Agreement(
        largest=largest,
        num_images=len(images),
        changed=changed,
        ties=ties,
        sizes=tuple(sorted(sizes)),
        any_size=any_size,
    )


def _answers(ready: Any, batch: Tensor) -> np.ndarray:
    """What the exported network says.

    Raises:
        RuntimeError: ONNX Runtime cannot compute it, for whatever reason.
    """
    try:
        answers: np.ndarray = ready.run([OUTPUT], {INPUT: batch.numpy()})[0]
    except Exception as error:  # its own errors have no nearer base
        raise RuntimeError(f"ONNX Runtime fails on {tuple(batch.shape)}: {first_line(error)}") from error
    return answers


def _started(content: bytes) -> Any:
    try:
        return session(content)
    except Exception as error:  # as above
        raise RuntimeError(f"ONNX Runtime does not take the file: {first_line(error)}") from error


def _batches(images: Sequence[Tensor], *, any_size: bool) -> Iterator[Tensor]:
    """Every image alone, some together, and, where any size is promised, each larger as well and not square."""
    scaled = [image[None].float() / 255 for image in images]
    yield from scaled
    same = [image for image in scaled if image.shape == scaled[0].shape]
    for size in _BATCHES:
        yield torch.cat((same * size)[:size])
    if any_size:
        for image in scaled[:_GROWN]:
            height, width = (int(side * _GROWTH) + extra for side, extra in zip(image.shape[2:], (1, 4), strict=True))
            yield nn.functional.interpolate(image, size=(height, width), mode="bilinear")


def _disagreement(agreement: Agreement) -> str:
    return (
        f"on {agreement.num_images} real images it differs by up to {agreement.largest:.2g} in a probability (allowed "
        f"is {MAX_DIFFERENCE:g}) and in {agreement.changed} labels"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells of its own steps on every channel; what matters is whether the result agrees."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
