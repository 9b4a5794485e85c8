"""The plugin with dom0's own XenAPIPlugin module, and with one that cannot be used.

The stand-in is written from what is known of it: ``dispatch`` reads the call from ``sys.argv``, calls
``f(session, args)``, turns ``Failure(code, params)`` into ``[code] + params`` and any other exception into
``['XENAPI_PLUGIN_FAILURE', fn, class, str(e)]``; malformed calls are not its business.
"""

import json
import os

import pytest

from support.dom0 import NONCE, PluginFailed, PluginProcess, method_call, outcome

STAND_IN = '''
import sys
import xmlrpc.client

open({used!r}, "a").write("used ")


class Failure(Exception):
    def __init__(self, code, params):
        Exception.__init__(self)
        self.params = [code] + params

    def __str__(self):
        return str(self.params)


class _Session:
    """The local session: it carries the caller's reference."""

    def __init__(self, reference):
        self._session = reference


def _respond(result):
    sys.stdout.write(xmlrpc.client.dumps((result,), methodresponse=True))


def dispatch(fn_table):
    if len(sys.argv) != 2:
        sys.exit(1)
    params, name = xmlrpc.client.loads(sys.argv[1])
    session = _Session(params[0])
    if name not in fn_table:
        return _respond({{"Status": "Failure", "ErrorDescription": ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", name]}})
    try:
        _respond({{"Status": "Success", "Value": fn_table[name](session, params[1])}})
    except SystemExit:
        raise
    except Failure as failure:
        _respond({{"Status": "Failure", "ErrorDescription": failure.params}})
    except Exception as error:
        description = ["XENAPI_PLUGIN_FAILURE", name, error.__class__.__name__, str(error)]
        _respond({{"Status": "Failure", "ErrorDescription": description}})
'''

PYTHON_2 = """
import sys
def dispatch(fn_table):
    try:
        print "of another Python"
    except Failure, error:
        raise SystemExit, 1
"""

UNUSABLE = {
    "python 2": PYTHON_2,
    "no XenAPI": "import XenAPI_that_is_not_there\n",
    "raises": "raise RuntimeError('of another release')\n",
    "exits": "import sys\nsys.exit(1)\n",
    "prints": "print('loading', flush=True)\nimport nothing_of_this_name\n",
    "empty": "",
}


@pytest.fixture
def with_module(dom0):
    """A dom0 that has a XenAPIPlugin module; returns it and a function that puts one there."""

    def put(source):
        used = dom0.paths.at("used")
        dom0.write(
            "opt/xensource/tpm/lib/XenAPIPlugin.py", source.format(used=used) if "{used" in source else source
        )

    return dom0, put


def _used(dom0):
    return os.path.exists(dom0.paths.at("used"))


def test_success_and_failure(with_module):
    dom0, put = with_module
    put(STAND_IN)
    assert json.loads(dom0.call("tpm_get_quote", nonce=NONCE, pcrs="sha256:0"))["version"] == 1
    assert dom0.call("tpm_get_attestation_identity").startswith("<")
    with pytest.raises(PluginFailed) as caught:
        dom0.call("tpm_get_quote", nonce="AAAA")
    assert _used(dom0)
    assert caught.value.code == "XENTPM_BAD_ARGUMENT"
    assert len(caught.value.description) == 4
    assert caught.value.description[3].startswith("xentpm[")


def test_the_same_answers_as_without_it(with_module):
    dom0, put = with_module
    calls = [
        ("tpm_get_attestation_identity", {}),
        ("tpm_set_asset_tag", {"tag": "a5" * 20}),
        ("tpm_clear_asset_tag", {}),
    ]
    without = [dom0.call(function, **arguments) for function, arguments in calls]
    put(STAND_IN)
    assert [dom0.call(function, **arguments) for function, arguments in calls] == without
    assert _used(dom0)


def test_unknown_function(with_module):
    dom0, put = with_module
    put(STAND_IN)
    with pytest.raises(PluginFailed) as caught:
        dom0.call("tpm_make_coffee")
    assert caught.value.description[:2] == ["UNKNOWN_XENAPI_PLUGIN_FUNCTION", "tpm_make_coffee"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["<methodCall>"],
        ["no XML"],
        [method_call("tpm_get_status", {}), "more"],
        ["<methodCall><methodName>tpm_get_status</methodName><params/></methodCall>"],
    ],
)
def test_a_call_that_is_none_ends_well_too(with_module, arguments):
    """A status other than 0 would make XAPI write the whole call into its log."""
    dom0, put = with_module
    put(STAND_IN)
    out, err, status = PluginProcess([dom0.plugin] + arguments).communicate()
    with pytest.raises(PluginFailed) as caught:
        outcome(out, err, status)
    assert caught.value.code == "XENTPM_BAD_ARGUMENT"
    assert b"OpaqueRef" not in out + err


def test_a_value_that_is_no_string(with_module):
    dom0, put = with_module
    put(STAND_IN)
    call = method_call("tpm_get_quote", {"nonce": "1"}).replace(
        "<value>1</value>", "<value><int>1</int></value>"
    )
    with pytest.raises(PluginFailed) as caught:
        outcome(*PluginProcess([dom0.plugin, call]).communicate())
    assert caught.value.code == "XENTPM_BAD_ARGUMENT"


@pytest.mark.parametrize("kind", sorted(UNUSABLE))
def test_a_module_that_cannot_be_used(with_module, kind):
    dom0, put = with_module
    put(UNUSABLE[kind])
    out, err, status = dom0.start("tpm_get_quote", nonce=NONCE).communicate()
    assert out.startswith(b"<?xml")
    assert json.loads(outcome(out, err, status))["version"] == 1


FAILING = STAND_IN.replace(
    "    params, name =", "    raise OSError('no such socket: OpaqueRef')\n    params, name ="
)


def test_a_module_that_fails_when_it_is_used(with_module):
    """Before it has written anything: ours answers in its place."""
    dom0, put = with_module
    put(FAILING)
    out, err, status = dom0.start("tpm_get_quote", nonce=NONCE).communicate()
    assert _used(dom0)
    assert json.loads(outcome(out, err, status))["version"] == 1
