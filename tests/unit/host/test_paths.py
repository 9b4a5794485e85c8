"""Which dom0 a plugin or a configuration file belongs to."""

import pytest

from xentpm_lib.host.paths import Paths


@pytest.mark.parametrize(
    "plugin, root, config",
    [
        ("/etc/xapi.d/plugins/tpm", "/", "/opt/xensource/tpm/config"),
        ("/sim/h1/etc/xapi.d/plugins/tpm", "/sim/h1/", "/sim/h1/opt/xensource/tpm/config"),
        ("/somewhere/tpm", "/", "/opt/xensource/tpm/config"),
        ("/sim/not-etc/xapi.d/plugins/tpm", "/", "/opt/xensource/tpm/config"),
    ],
)
def test_of_plugin(plugin, root, config):
    assert Paths.of_plugin(plugin) == (root, config)


@pytest.mark.parametrize(
    "config, root",
    [
        ("/opt/xensource/tpm/config", "/"),
        ("/sim/h1/opt/xensource/tpm/config", "/sim/h1/"),
        ("/sim/h1/opt/xensource/tpm/../tpm/config", "/sim/h1/"),
        ("/root/my.config", "/"),
    ],
)
def test_of_config(config, root):
    assert Paths.of_config(config).root == root


def test_files():
    paths = Paths.of_plugin("/etc/xapi.d/plugins/tpm")
    assert (paths.lock, paths.state) == ("/run/xentpm.lock", "/var/lib/xentpm")
    assert paths.at("proc/cpuinfo") == "/proc/cpuinfo"
