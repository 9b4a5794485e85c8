"""tpm2-pytss's binding of the TSS: loaded without the rest of tpm2-pytss where that is possible.

``import tpm2_pytss`` takes about 110 ms, most of it for ``cryptography``, which no dom0 function
needs; its compiled module, which binds the C library, takes about 15. It is the same code with the
same ESAPI, whose C interface is a published standard. A release that moves the compiled module
is imported whole instead: slower, but right.

Spec: TCG TSS 2.0 Enhanced System API (ESAPI) Specification.
"""

import importlib.machinery
import importlib.util
import os
import sys
from typing import Any, NamedTuple, Optional

from xentpm_lib.errors import XenTpmError

__all__ = ["Binding", "load_binding"]

_PACKAGE = "tpm2_pytss"
_MODULE = "tpm2_pytss._libtpm2_pytss"
_NEEDED = ("Esys_Initialize", "Esys_Quote", "Tss2_TctiLdr_Initialize", "Tss2_MU_TPMT_SIGNATURE_Marshal")


class Binding(NamedTuple):
    """``ffi`` and ``lib`` as cffi gives them."""

    ffi: Any
    lib: Any


def load_binding() -> Binding:
    """Load the TSS binding, in the cheap way if that works and else by importing tpm2-pytss.

    Raises:
        XenTpmError: ``XENTPM_INSTALL`` when tpm2-pytss or the TSS libraries cannot be loaded.
    """
    os.environ.setdefault("TSS2_LOG", "all+none")  # else the TSS writes warnings of its own to stderr
    module = sys.modules.get(_MODULE) or _load_compiled_module() or _import_all()
    return Binding(module.ffi, module.lib)


def _load_compiled_module() -> Optional[Any]:
    path = _compiled_module_path()
    if path is None:
        return None
    try:
        loader = importlib.machinery.ExtensionFileLoader(_MODULE, path)
        spec = importlib.util.spec_from_file_location(_MODULE, path, loader=loader)
        module = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
        loader.exec_module(module)
    except ImportError:
        return None
    if not _is_complete(module):
        return None
    # A later `import tpm2_pytss` has to share this module: cffi types of two copies do not mix.
    sys.modules[_MODULE] = module
    return module


def _compiled_module_path() -> Optional[str]:
    spec = importlib.util.find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for suffix in importlib.machinery.EXTENSION_SUFFIXES:
            path = os.path.join(folder, "_libtpm2_pytss" + suffix)
            if os.path.exists(path):
                return path
    return None


def _is_complete(module: Any) -> bool:
    lib = getattr(module, "lib", None)
    return hasattr(module, "ffi") and all(hasattr(lib, name) for name in _NEEDED)


def _import_all() -> Any:
    try:
        package = importlib.import_module(_PACKAGE)
        module = sys.modules.get(_MODULE) or _first_with_lib(package)
    except ImportError as error:
        raise _not_installed("the TSS binding could not be loaded: {}".format(error)) from error
    if module is None:
        raise _not_installed("this release of tpm2-pytss holds no binding that xentpm knows")
    return module


def _first_with_lib(package: Any) -> Optional[Any]:
    """A module of tpm2-pytss that holds ``ffi`` and ``lib``, wherever a release keeps them."""
    names = [name for name in sys.modules if name.startswith(package.__name__)]
    return next((sys.modules[name] for name in sorted(names) if _is_complete(sys.modules[name])), None)


def _not_installed(message: str) -> XenTpmError:
    return XenTpmError(
        message, "Install tpm2-pytss and the tpm2-tss libraries, or the pack again.", "XENTPM_INSTALL"
    )
