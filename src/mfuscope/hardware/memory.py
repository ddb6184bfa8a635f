"""A device's memory: total, free and peak, and errors for models or pages that do not fit."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from mfuscope.core.errors import InsufficientMemoryError, OutOfMemoryError

# Texts of the RuntimeErrors that failed allocations raise beside torch.OutOfMemoryError and
# MemoryError: of the CPU's allocator, the CUDA runtime, cuBLAS and the C++ library.
_OUT_OF_MEMORY = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
)
# Controller in /proc/self/cgroup -> mount point of its groups, files of limit and usage, prefix of
# the names in memory.stat: version 2 of control groups, then version 1.
_CGROUPS = {
    "": ("", "memory.max", "memory.current", ""),
    "memory": ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
}


@dataclass(frozen=True, slots=True)
class Memory:
    """A device's memory in bytes."""

    free: int
    total: int


def device_memory(device: torch.device) -> Memory:
    """Free and total memory of a device for this process.

    Of a CPU, the least free of: the host's memory (what the kernel could make available without
    swapping), the process's control groups, and its address space.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return Memory(free, total)
    return min([_host(), *control_groups(), *_address_space()], key=lambda memory: memory.free)


def _host() -> Memory:
    sizes = _table(Path("/proc/meminfo"))
    return Memory(sizes["MemAvailable"] * 1024, sizes["MemTotal"] * 1024)


def control_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> list[Memory]:
    """The memory of each control group of this process that has a limit."""
    found = []
    for line in own.read_text(encoding="utf-8").splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        controller = next((name for name in controllers.split(",") if name in _CGROUPS), None)
        if controller is None:
            continue
        mount, limit_file, use_file, prefix = _CGROUPS[controller]
        # In a container, the own group may be the mounted root, under the path that the host uses.
        inner = Path(path.lstrip("/"))
        for group in {root / mount / part for part in (inner, *inner.parents)}:
            try:
                limit = (group / limit_file).read_text(encoding="ascii").strip()
                used = int((group / use_file).read_text(encoding="ascii"))
                use = _table(group / "memory.stat")
            except OSError:  # missing, or not readable
                continue
            if limit != "max":
                # Usage includes the page cache, which the kernel frees on demand.
                used -= use.get(f"{prefix}active_file", 0) + use.get(f"{prefix}inactive_file", 0)
                found.append(Memory(max(0, int(limit) - used), int(limit)))
    return found


def _address_space() -> list[Memory]:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return []
    used = _table(Path("/proc/self/status"))["VmSize"] * 1024
    return [Memory(max(0, limit - used), limit)]


def _table(path: Path) -> dict[str, int]:
    """The numbers of a kernel file with a name and a number per line."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    rows = [line.replace(":", " ").split() for line in lines]
    return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdecimal()}


class PeakMemory:
    """Peak memory since it was made: the allocator's on a GPU, the resident set on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._reason = ""
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            except OSError as error:
                self._reason = f"the peak resident set cannot be reset ({error})"

    def read(self) -> tuple[int | None, str]:
        """Bytes, or None and the reason."""
        if self._reason:
            return None, self._reason
        return peak_bytes(self._device)


def peak_bytes(device: torch.device) -> tuple[int | None, str]:
    """The peak since it was last reset: bytes, or None and the reason."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device)), ""
    peak = _table(Path("/proc/self/status")).get("VmHWM")
    if peak is None:
        return None, "the system does not report the peak resident set"
    return peak * 1024, ""


def check_fits(name: str, weight_bytes: int, dtype: str, device: torch.device) -> None:
    """Refuse a model whose weights are larger than the free memory of its device.

    Raises:
        InsufficientMemoryError: with the figures.
    """
    memory = device_memory(device)
    if weight_bytes > memory.free:
        remedy = "set a shorter `dtype` or a smaller `model`"
        if weight_bytes <= memory.total:
            remedy = f"{_free_memory_remedy(device)}, or {remedy}"
        raise InsufficientMemoryError(
            f"model: {name!r} does not fit: its weights alone need {_size(weight_bytes)} in "
            f"{dtype}, and {_free(memory, device)}",
            remedy,
        )


@contextmanager
def report_out_of_memory(
    what: str, weight_bytes: int | None, device: torch.device, settings: Sequence[str] = ()
) -> Iterator[None]:
    """Turn a failed allocation in the body into a user error.

    Args:
        what: the body's work and what decides its memory, e.g. ``a page at 1024``.
        weight_bytes: the model's size, None before there is a model.
        settings: what would help first, beside the resolution and the length.

    Raises:
        OutOfMemoryError: with the figures.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            device = torch.device("cpu")  # the host's memory, although a GPU measures
        names = " or ".join(f"`{name}`" for name in (*settings, "resolution", "max_new_tokens"))
        raise OutOfMemoryError(
            f"the {_kind(device)}'s memory ran out in {what}: {_figures(weight_bytes, device)}",
            f"set a smaller {names} or a shorter `dtype`, or {_free_memory_remedy(device)}",
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is a failed allocation."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def _figures(weight_bytes: int | None, device: torch.device) -> str:
    figures = ["no weights yet" if weight_bytes is None else f"weights {_size(weight_bytes)}"]
    peak, reason = peak_bytes(device)
    figures.append(f"peak so far {_size(peak) if peak is not None else f'not known ({reason})'}")
    with suppress(RuntimeError):  # a full GPU cannot be asked
        figures.append(_free(device_memory(device), device))
    return ", ".join(figures)


def _kind(device: torch.device) -> str:
    return "GPU" if device.type == "cuda" else "host"


def _free(memory: Memory, device: torch.device) -> str:
    return f"{_size(memory.free)} of the {_kind(device)}'s {_size(memory.total)} are free"


def _free_memory_remedy(device: torch.device) -> str:
    if device.type == "cuda":
        return "end what else holds the GPU's memory (nvidia-smi shows it)"
    return "end what else holds memory (or raise the limit that this process runs under)"


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
