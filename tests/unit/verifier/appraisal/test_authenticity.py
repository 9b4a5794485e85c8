"""verifier/appraisal/authenticity.py: what is beside the signed values is nobody's."""

import pytest

from support.evidence_maker import SoftwareAttester
from xentpm_lib.evidence.pcr import PcrSelection, composite_digest
from xentpm_lib.evidence.tpm_structures import QuoteInfo
from xentpm_lib.verifier.appraisal.authenticity import Refusal, check_pcr_values, check_selection

ATTESTER = SoftwareAttester(banks=("sha256", "sha384"))


@pytest.mark.parametrize(
    "asked", ["sha256:all", "sha256:0,7,23", "sha384:1+sha256:2,3", "sha256:all+sha384:all"]
)
def test_values_are_those_of_the_selection_alone(asked):
    selection = PcrSelection.from_text(asked)
    quote = QuoteInfo(selection, composite_digest(ATTESTER.pcrs, selection, "sha256"))
    values = check_pcr_values(ATTESTER.pcrs, quote, "sha256")
    assert {bank: tuple(of_bank) for bank, of_bank in values.items()} == dict(selection.banks)
    for bank, of_bank in values.items():
        assert all(ATTESTER.pcrs[bank][pcr] == value for pcr, value in of_bank.items())


def test_the_order_of_the_banks_is_part_of_the_selection():
    attest = ATTESTER.attest(bytes(32), quote=QuoteInfo(PcrSelection.from_text("sha384:0+sha256:0"), b""))
    with pytest.raises(Refusal) as caught:
        check_selection(attest, PcrSelection.from_text("sha256:0+sha384:0"))
    assert caught.value.found.code == "PCR_SELECTION"


def test_a_statement_that_is_no_quote_has_no_selection():
    with pytest.raises(Refusal) as caught:
        check_selection(ATTESTER.attest(bytes(32)), PcrSelection.from_text("sha256:0"))
    assert caught.value.found.actual == ""
