"""verl 0.9.1 on a CPU, for tests alone: a platform by that name, and vLLM's weights unpacked.

verl imports it by VERL_USE_EXTERNAL_MODULES=verl_cpu, with VERL_PLATFORM=cpu and
VERL_ENGINE_DEVICE=cuda, in every process that it starts.
"""

import contextlib
import os
import sys
import types

import torch
import torch.distributed
import torch.distributed.fsdp
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry


class _Device(types.ModuleType):
    """What verl asks of `torch.cuda`."""

    memory = types.SimpleNamespace(_set_allocator_settings=lambda text: None)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        known = {
            "mem_get_info": lambda *a, **k: (8 << 30, 16 << 30),
            "get_device_name": lambda *a, **k: "cpu",
            "get_rng_state": lambda *a, **k: torch.get_rng_state(),
            "set_rng_state": lambda state, *a, **k: torch.set_rng_state(state),
            "get_device_properties": lambda *a, **k: types.SimpleNamespace(
                total_memory=16 << 30, name="cpu"
            ),
        }
        if name in known:
            return known[name]
        if name != "set_device" and hasattr(torch.cpu, name):
            return getattr(torch.cpu, name)
        return lambda *a, **k: 0


_DEVICE = _Device("cpu_as_device")


@PlatformRegistry.register(platform="cpu")
class PlatformCPU(PlatformBase):
    device_name = property(lambda self: "cpu")
    vendor_name = property(lambda self: "generic")
    device_module = property(lambda self: _DEVICE)

    def is_available(self):
        return True

    def is_platform_available(self, use_smi_check=False):
        return True

    def current_device(self):
        return "cpu"

    def device_count(self):
        return int(os.environ.get("VERL_CPU_RANKS", "2"))

    def set_device(self, index):
        pass

    def synchronize(self, index=None):
        pass

    def manual_seed(self, seed):
        torch.manual_seed(seed)

    def manual_seed_all(self, seed):
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings):
        pass

    def empty_cache(self):
        pass

    def get_device_capability(self, index=0):
        return None, None

    def communication_backend_name(self):
        return "gloo"

    def visible_devices_envvar(self):
        return "CUDA_VISIBLE_DEVICES"

    def ray_resource_name(self):
        return "GPU"

    def ray_resource_options(self, count):
        return {"num_gpus": count}

    def ray_noset_envvars(self):
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self):
        return False

    @contextlib.contextmanager
    def nvtx_range(self, message):
        yield

    def profiler_start(self):
        pass

    def profiler_stop(self):
        pass

    def cudart(self):
        return None


class _Unpinned(torch.distributed.fsdp.CPUOffloadPolicy):
    """verl keeps the reference in memory that is pinned for a GPU."""

    def __init__(self, pin_memory=True):
        super().__init__(pin_memory=False)


torch.distributed.fsdp.CPUOffloadPolicy = _Unpinned
_start_group = torch.distributed.init_process_group


def _start_one_group(backend=None, *args, **kwargs):
    """verl names the CPU's backend twice."""
    if isinstance(backend, str) and backend.startswith("cpu:gloo,cpu"):
        backend = "cpu:gloo"
    return _start_group(backend, *args, **kwargs)


torch.distributed.init_process_group = _start_one_group

if "vllm" in sys.modules:
    from declutch.rollout.vllm.weights import keep_weights_plain

    keep_weights_plain()
    from vllm.model_executor.layers import utils

    for _name, _module in list(sys.modules.items()):
        if _name.startswith("vllm.") and hasattr(_module, "dispatch_cpu_unquantized_gemm"):
            _module.dispatch_cpu_unquantized_gemm = utils.dispatch_cpu_unquantized_gemm
