"""``xentpm-boot predict`` and ``tpm_predict_boot``: a prediction for people, and for programs."""

from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from xentpm_lib.errors import XenTpmError
from xentpm_lib.evidence.boot_log import boot_log_to_json
from xentpm_lib.evidence.pcr import PcrSelection, PcrValues
from xentpm_lib.host.boot.grub_state import COMMANDS_PCR, FILES_PCR
from xentpm_lib.host.boot.prediction import Prediction, predict
from xentpm_lib.host.host import Host
from xentpm_lib.host.paths import Paths

__all__ = ["PredictionReport", "banks_and_values", "predict_command"]

_PCRS = (COMMANDS_PCR, FILES_PCR)
_BANK_WITHOUT_TPM = "sha256"


class PredictionReport(NamedTuple):
    """What the command prints: a text, or data as JSON."""

    text: str
    data: Dict[str, Any]
    exit_status: int = 0


def predict_command(paths: Paths) -> PredictionReport:
    """Predict the next boot in the banks that the TPM has active, SHA-256 where no TPM can be asked.

    Raises:
        XenTpmError: as ``predict``.
    """
    banks, known = banks_and_values(Host(paths), "xentpm-boot predict")
    prediction = predict(paths, banks, known)
    return PredictionReport(_text(prediction, banks, known), _data(prediction, banks))


def banks_and_values(host: Host, operation: str) -> Tuple[Tuple[str, ...], PcrValues]:
    """The active banks, and what PCR 8 and 9 hold now; SHA-256 and nothing where no TPM can be asked."""
    from xentpm_lib.tpm.capabilities import active_banks
    from xentpm_lib.tpm.quoting import read_pcrs

    try:
        with host.tpm(operation) as tpm:
            banks = active_banks(tpm.esys)
            values = read_pcrs(tpm.esys, PcrSelection(tuple((bank, _PCRS) for bank in banks)))
    except XenTpmError:
        return (_BANK_WITHOUT_TPM,), {}
    return banks or (_BANK_WITHOUT_TPM,), values


def _data(prediction: Prediction, banks: Sequence[str]) -> Dict[str, Any]:
    return {
        "entry": prediction.entry,
        "boot_log": boot_log_to_json(prediction.events),
        "pcrs": {bank: _hex_values(prediction, bank) for bank in banks},
        "notes": list(prediction.notes),
    }


def _hex_values(prediction: Prediction, bank: str) -> Dict[str, str]:
    return {str(pcr): value.hex() for pcr, value in sorted(prediction.values(bank).items())}


def _text(prediction: Prediction, banks: Sequence[str], known: PcrValues) -> str:
    lines = ["The next boot, if nothing changes any more: {}".format(prediction.entry), ""]
    for event in prediction.events:
        lines.append("PCR {}  {}".format(event.pcr, event.description.replace("\n", "\n       ")))
        lines.extend("       {}:{}".format(bank, event.digests[bank].hex()) for bank in banks)
    lines += ["", "After it:"]
    for bank in banks:
        lines.extend(
            "PCR {}  {}:{}".format(pcr, bank, value) for pcr, value in _hex_values(prediction, bank).items()
        )
    lines += ["", _comparison(prediction, known)] + _notes(prediction)
    return "\n".join(line for line in lines if line is not None).rstrip("\n")


def _comparison(prediction: Prediction, known: PcrValues) -> str:
    if not known:
        return "The TPM could not be asked what they hold now."
    if all(prediction.values(bank) == values for bank, values in known.items()):
        return "They hold the same now: this is how the host was booted."
    if not any(any(value) for values in known.values() for value in values.values()):
        return "They were not extended in this boot: its GRUB measured nothing."
    return "They hold something else now: files were changed after this boot, so the next one will differ."


def _notes(prediction: Prediction) -> List[str]:
    if not prediction.notes:
        return []
    return ["", "What is assumed:"] + ["- " + note for note in prediction.notes]
