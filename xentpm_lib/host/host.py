"""A host: its files, its configuration, and the way to its TPM."""

from contextlib import contextmanager
from typing import Iterator, NamedTuple, Optional, Tuple

from xentpm_lib.host.config import Config, load_config
from xentpm_lib.host.dom0 import Dom0
from xentpm_lib.host.paths import Paths
from xentpm_lib.tpm.asset_tag import AssetTag
from xentpm_lib.tpm.connection import TpmSettings, connect
from xentpm_lib.tpm.esys import Esys
from xentpm_lib.tpm.journal import Journal
from xentpm_lib.tpm.keys import KeyRing

__all__ = ["Host", "HostTpm"]


class HostTpm(NamedTuple):
    """The host's TPM while its lock is held; ``owner_auth``: 20 bytes."""

    esys: Esys
    keys: KeyRing
    tag: AssetTag
    owner_auth: bytes


class Host:
    """The dom0 that a plugin or command line works for. Its configuration is read when it is first needed."""

    def __init__(self, paths: Paths, config: Optional[Config] = None) -> None:
        self.paths = paths
        self._config = config

    @property
    def config(self) -> Config:
        """The configuration. Raises: XenTpmError ``XENTPM_CONFIG``."""
        if self._config is None:
            self._config = load_config(self.paths.config)
        return self._config

    @property
    def warnings(self) -> Tuple[str, ...]:
        """What is not good about the configuration that was used; nothing where none was."""
        return self._config.warnings if self._config else ()

    @property
    def dom0(self) -> Dom0:
        """What this host's files tell."""
        return Dom0(self.paths)

    @contextmanager
    def tpm(self, operation: str) -> Iterator[HostTpm]:
        """Hold the TPM for ``operation``. Raises as `xentpm_lib.tpm.connection.connect`."""
        config = self.config
        settings = TpmSettings(config.tcti, self.paths.lock, config.lock_timeout_s)
        journal = Journal(self.paths.state)
        with connect(settings, operation) as esys:
            keys = KeyRing(esys, journal, config.owner_auth, config.ak_algorithm)
            yield HostTpm(esys, keys, AssetTag(esys, journal, config.owner_auth), config.owner_auth)
