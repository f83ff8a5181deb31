"""Devices, precision, processes: the only file that knows Accelerate.

The same code runs on a CPU, on one GPU, and on several processes under `accelerate launch` or `torchrun`.
Autocast and loss scaling are torch's own: Accelerate fixes its precision once for the whole Python process, while a
notebook may train one run in bf16 and the next in fp32.
"""

import atexit
import contextlib
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed
from accelerate import Accelerator, PartialState
from accelerate.utils import broadcast, gather_object, reduce
from torch import Tensor, nn
from torch.optim import Optimizer

from dmt import __version__
from dmt.errors import ConfigError, DMTError
from dmt.types import Batch

T = TypeVar("T")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_LEAST_SCALE = 2.0**-149
"""Of fp32 numbers above 0."""


def _leave_processes() -> None:
    """Take leave of the other processes before Python ends: what still runs in threads then may abort the process.

    A thread of Gloo lets go of the last collective a moment after that has returned, and needs the interpreter for it;
    nothing tells when it is done (PyTorch pull request 179291), and a barrier would hang where one process has failed.
    """
    if torch.distributed.is_initialized():
        time.sleep(0.5)
        torch.distributed.destroy_process_group()


class Engine:
    """Where and in what arithmetic networks run.

    Attributes:
        device: this process's device.
        precision: fp32, bf16 or fp16, resolved.
        rank: number of this process among `world_size`.

    Args:
        precision: as the config has it; auto takes what the device is fast in.
        alone: whether this process shares no work, though there may be others: each then has all answers.
    """

    def __init__(self, precision: str = "auto", *, alone: bool = False) -> None:
        # Unless told, Accelerate takes processes without a GPU for as many lone ones.
        self._accelerator = Accelerator(mixed_precision="no", cpu=not torch.cuda.is_available())
        self.device: torch.device = self._accelerator.device
        self.rank: int = 0 if alone else self._accelerator.process_index
        self.world_size: int = 1 if alone else self._accelerator.num_processes
        self.precision = resolve_precision(precision, self.device)
        self._scaler = self._fresh_scaler()
        if self.world_size > 1:
            atexit.register(_leave_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def place(self, network: nn.Module) -> nn.Module:
        """Move a network to the device, in the memory format that convolutions run fastest in."""
        placed: nn.Module = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return placed

    def distribute(self, network: nn.Module) -> nn.Module:
        """Wrap a placed network for training, so that gradients are averaged over processes."""
        if self.world_size == 1:
            return network
        prepared: nn.Module = self._accelerator.prepare_model(network)
        # Accelerate keeps every model it prepares, and a run prepares one a stage.
        self._accelerator.free_memory()
        return prepared

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Run networks in the run's precision."""
        enabled = self.precision != "fp32"
        with torch.autocast(self.device.type, dtype=DTYPES[self.precision], enabled=enabled):
            yield

    def to_device(self, batch: Batch) -> Batch:
        """A batch on this process's device."""
        tensors = {name: value for name, value in vars(batch).items() if value is not None}
        return replace(batch, **{name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()})

    def update(self, loss: Tensor, optimizers: Sequence[Optimizer]) -> None:
        """One optimizer step on the gradient of `loss`, left out where that is not finite on any process."""
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        self._accelerator.backward(self._scaler.scale(loss))
        for optimizer in optimizers:
            self._scaler.step(optimizer)
        self._scaler.update()

    def take_skipped(self) -> int:
        """How many steps `update` left out since the last call.

        fp16 leaves some out to find its scale, from 65,536 downwards: there only those at a scale below 1 count, where
        it is the gradient itself that is not finite. A look at the device: once in many steps.
        """
        scale = self._scaler.get_scale()
        if scale >= 1.0:
            return 0
        self._scaler.update(1.0)
        # Halved a hundred and fifty times and more, a scale is 0.
        return round(-math.log2(max(scale, _LEAST_SCALE)))

    def align(self, network: nn.Module) -> None:
        """Give every process the main one's buffers: BatchNorm's statistics are each process's own while it trains."""
        if self.world_size > 1:
            for buffer in network.buffers():
                buffer.copy_(broadcast(buffer))

    def gather(self, values: Sequence[Any]) -> list[Any]:
        """The concatenation of every process's list, on every process."""
        return list(gather_object(list(values))) if self.world_size > 1 else list(values)

    def told_by_main(self, look: Callable[[], T]) -> T:
        """What the main process finds, on all of them: a shared disk may show a file late to the others.

        Each process asks at the same place, as for any meeting; the main one alone looks.

        Raises:
            DMTError: the main process's, on all of them.
        """
        found: T | DMTError = self.gather([_found(look) if self.is_main else None])[0]
        if isinstance(found, DMTError):
            raise found
        return found

    def share(self, total: int) -> range:
        """Which of `total` items this process works on: every world_size-th, from its rank."""
        return range(self.rank, total, self.world_size)

    def any_stops(self, wish: bool, *, at_meeting: bool) -> bool:
        """Whether to stop here, since a process wishes to.

        One process may stop anywhere; of several, none may leave the others waiting in the next step, so that they ask
        each other, but only `at_meeting`, where all of them are at the same step.
        """
        if self.world_size == 1:
            return wish
        return at_meeting and any(self.gather([wish]))

    def wait(self) -> None:
        """Wait for all processes."""
        self._accelerator.wait_for_everyone()

    def _fresh_scaler(self) -> torch.amp.GradScaler:
        """Torch's loss scaling; beside fp16, by 1, for its other service: it leaves out steps that would spoil weights.

        Every step left out halves the scale until `take_skipped` has counted it; powers of two change no bit.
        """
        if self.precision == "fp16":
            return torch.amp.GradScaler(self.device.type)
        return torch.amp.GradScaler(self.device.type, init_scale=1.0, growth_interval=2**31 - 1)

    def scaler_state(self) -> dict[str, Any]:
        """State of the loss scaling."""
        return self._scaler.state_dict()

    def restore_scaler(self, state: dict[str, Any]) -> None:
        """Go on with a stored loss scaling; a fresh one where `state` is empty."""
        self._scaler = self._fresh_scaler()
        if state:
            self._scaler.load_state_dict(state)


def _found(look: Callable[[], T]) -> T | DMTError:
    try:
        return look()
    except DMTError as error:
        return error


def mean_over_processes(count: Tensor) -> Tensor:
    """The mean of every process's count, on every process."""
    if PartialState(cpu=not torch.cuda.is_available()).num_processes == 1:
        return count
    mean: Tensor = reduce(count.float(), reduction="mean")
    return mean


def is_main_process() -> bool:
    """Whether this process is the one that writes and prints."""
    return bool(PartialState(cpu=not torch.cuda.is_available()).is_main_process)


def resolve_precision(precision: str, device: torch.device) -> str:
    """`auto` as bf16 where the device has it in hardware, else fp32; other names as they are.

    Raises:
        ConfigError: for fp16 without a GPU.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError(f"precision: found 'fp16' on {device.type}; it needs a GPU. Allowed here: auto, fp32, bf16.")
    if precision != "auto":
        return precision
    return "bf16" if _has_bf16(device) else "fp32"


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = _cpu_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _cpu_capabilities() -> dict[str, Any]:
    """What torch knows of the CPU; nothing in versions that cannot tell."""
    get_capabilities = getattr(torch.cpu, "get_capabilities", None)
    return dict(get_capabilities()) if get_capabilities else {}


def peak_memory_mb(device: torch.device) -> int:
    """The most memory this process has held: the GPU's where there is one, else its resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) // 2**20
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 2**10


def reset_peak_memory() -> None:
    """Forget the most that was held before, where the system can: of several runs in one process, each has its own."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats(PartialState().device)
    with contextlib.suppress(OSError):  # Linux alone has it, and a container may forbid it
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def environment(engine: Engine) -> dict[str, Any]:
    """What a bit-exact repetition depends on beside the config."""
    gpu = torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else None
    return {
        "dmt": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: version(name) for name in ("torchvision", "timm", "numpy", "pillow")},
        "machine": platform.machine(),
        "cpu": _cpu_capabilities().get("cpu_name", platform.processor()),
        "cpu_instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "device": gpu or engine.device.type,
        "processes": engine.world_size,
        "precision": engine.precision,
    }


def environment_changes(stored: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What differs of an environment that a run folder holds, then and now; an older folder has fewer keys."""
    return {key: (stored[key], new) for key, new in current.items() if key in stored and stored[key] != new}
