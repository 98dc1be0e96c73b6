"""What train.py's processes get of the server's environment: what drivers and compilers need, and nothing else.

The operator sets it before the server starts, and every process of a run gets the same: it carries nothing from one to
another. Names are listed one by one, because what begins alike may be a secret (NVIDIA_API_KEY). Folders for caches are
not among them: they are train.py's own, in its scratch folder.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

_PLACES = (  # files, or folders divided by colons, of which a process must be able to read
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "CUDNN_HOME", "CUDNN_PATH"),
    *("ROCM_HOME", "ROCM_PATH", "HIP_PATH", "HIP_DEVICE_LIB_PATH"),
    *("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX"),
    *("SDKROOT", "DEVELOPER_DIR", "OMP_PREFIX", "CONDA_PREFIX", "NIX_LD", "NIX_LD_LIBRARY_PATH"),
    *("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH", "TRITON_CUOBJDUMP_PATH", "TRITON_NVDISASM_PATH"),
    *("TRITON_LIBDEVICE_PATH", "TRITON_LIBCUDA_PATH", "TRITON_LIBHIP_PATH", "TRITON_HIP_LLD_PATH"),
    *("TRITON_CUDACRT_PATH", "TRITON_CUDART_PATH", "TRITON_CUPTI_INCLUDE_PATH", "TRITON_CUPTI_LIB_PATH"),
)
_OTHERS = frozenset(
    (
        *("PATH", "LANG", "LC_ALL", "LC_CTYPE"),
        *("CC", "CXX", "CUDACXX", "PYTORCH_NVCC", "TORCH_CUDA_ARCH_LIST", "PYTORCH_ROCM_ARCH", "HIP_PLATFORM"),
        *("MACOSX_DEPLOYMENT_TARGET", "NIX_CFLAGS_COMPILE", "NIX_LDFLAGS"),
        *("CUDA_VISIBLE_DEVICES", "CUDA_MODULE_LOADING"),
        *("NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES", "NVIDIA_TF32_OVERRIDE"),
        *("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"),
        *("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_HIP_ALLOC_CONF", "PYTORCH_NVML_BASED_CUDA_CHECK"),
        *("PYTORCH_ENABLE_MPS_FALLBACK", "PYTORCH_MPS_HIGH_WATERMARK_RATIO", "PYTORCH_MPS_LOW_WATERMARK_RATIO"),
        *("ATEN_CPU_CAPABILITY", "MKL_THREADING_LAYER", "MKL_SERVICE_FORCE_INTEL", "KMP_DUPLICATE_LIB_OK"),
    )
)
_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "NIX_LD_LIBRARY_PATH")
_DRIVERS = "HSA_"  # ROCm's runtime, which has dozens, some with a device's number


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The part of `environment` that every process of a run gets."""
    return {
        name: value
        for name, value in environment.items()
        if name in _OTHERS or name in _PLACES or name.startswith(_DRIVERS)
    }


def without_current_folder(environment: Mapping[str, str]) -> dict[str, str]:
    """The same without what means the current folder to whoever looks for programs and libraries: an empty word too.

    For processes of the referee that start in a folder which a candidate has filled.
    """
    words = {name: environment.get(name, "").split(os.pathsep) for name in _SEARCHED}
    kept = {name: os.pathsep.join(filter(os.path.isabs, told)) for name, told in words.items()}
    return {name: kept.get(name, told) for name, told in environment.items() if kept.get(name, told)}


def places() -> Iterator[Path]:
    """What that part names in the file system: absolute, as far as they are there."""
    for told in filter(None, map(os.environ.get, _PLACES)):
        yield from (Path(word) for word in told.split(os.pathsep) if os.path.isabs(word) and os.path.exists(word))
