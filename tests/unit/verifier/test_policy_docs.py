"""docs/policy.md keeps up with the code: its examples load, its keys, defaults and outputs are real."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from xentpm_lib.verifier.findings import FINDING_KINDS
from xentpm_lib.verifier.policy.loader import load_policy, policy_mistakes, shipped_names, shipped_text
from xentpm_lib.verifier.policy.schema import BANKS, read_policy
from xentpm_lib.verifier.toml_reader import parse_toml

TEXT = (Path(__file__).resolve().parents[3] / "docs/policy.md").read_text("utf-8")
EXAMPLES = re.findall(r"^```toml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
REFERENCE = TEXT.partition("## Every key")[2].partition("## More examples")[0]
KEYS = dict(re.findall(r"^\| `([a-z_0-9.]+)` \| (.*?) \|", REFERENCE, re.MULTILINE))
SMALL = 'version = 1\nname = "small"\nboot = "firmware"\n[pcrs.sha256]\nshared = [0]\n'


@pytest.mark.parametrize("text", EXAMPLES, ids=[re.search('name = "(.*)"', one)[1] for one in EXAMPLES])
def test_every_example_loads(text):
    assert load_policy(text).title


def test_there_are_examples_and_the_first_is_the_shipped_one():
    assert len(EXAMPLES) >= 5
    assert EXAMPLES[0] == shipped_text("uefi-grub")


def test_every_key_is_in_the_table_and_no_other():
    root = parse_toml('[pcrs.sha256]\n[findings]\nCODE = "info"\n')
    read_policy(root, "")
    asked = set()
    for key, children in root._asked.items():
        asked |= {key} if not children else set()
        for child in children:
            for name, further in child._asked.items():
                asked |= {f"{key}.{name}"} if not further else set()
                asked |= {f"{key}.{name}.{inner}" for one in further for inner in one._asked}
    assert asked == set(KEYS) | {"findings.CODE"}


@pytest.mark.parametrize("key", [key for key, default in KEYS.items() if default.startswith("`")])
def test_a_default_in_the_table_is_the_default(key):
    default = re.match(r"`(.*?)`", KEYS[key]).group(1)
    value = "false" if key == "dynamic_launch.required" else default
    table, _, name = key.rpartition(".")
    text = f"{SMALL}{name} = {value}\n" if table == "pcrs.sha256" else f"{SMALL}[{table}]\n{name} = {value}\n"
    if key == "pcrs.sha256.shared":
        text = SMALL.replace("shared", "per_host") + "shared = []\n"
        without = load_policy(text.replace("shared = []\n", ""))
    else:
        without = load_policy(SMALL)
    given = load_policy(text)
    assert replace(given, text="", digest="") == replace(without, text="", digest="")


def test_the_required_keys_are_those_that_the_loader_misses():
    required = {key for key, default in KEYS.items() if default == "required"}
    assert {mistake.path for mistake in policy_mistakes("")} == required | {"pcrs"}


def test_the_findings_that_can_be_weighed_are_listed():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (\w+) \| (.*) \|$", TEXT, re.MULTILINE)
    assert rows == [
        (code, kind.severity.value, kind.title) for code, kind in FINDING_KINDS.items() if kind.adjustable
    ]


def test_the_mistakes_that_are_shown_are_the_real_ones():
    text = EXAMPLES[0].replace("shared = [0, 2, 3, 4, 7]", "shared = [0, 1, 2, 4, 7]")
    text = text.replace("per_host = [1, 8, 9]", "per_host = [8, 9]")
    text = text.replace('period = "5m"\nlease = "15m"', 'peroid = "1m"\nlease = "4m"')
    text += '\n[findings]\nPCR_CHANGED = "warning"\n'
    shown = "".join(f"rack7.toml: {mistake}\n    {mistake.hint}\n" for mistake in policy_mistakes(text))
    assert f"```\n{shown}```\n" in TEXT


def test_all_shipped_policies_and_all_banks_are_named():
    for name in (*shipped_names(), *BANKS):
        assert f"`{name}`" in TEXT
