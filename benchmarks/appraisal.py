"""What an appraisal costs, beside the bare signature verification and tpm2_checkquote; README.md explains it.

Everything is measured in CPU time of one thread, in turns, so that a machine that is busy for a moment is so
for all of it; the numbers are medians of many short rounds.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from measuring import Program, run

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.evidence_maker import SoftwareAttester, make_policy  # noqa: E402
from xentpm_lib.evidence.quote import QuoteEvidence  # noqa: E402
from xentpm_lib.evidence.tpm_structures import Signature  # noqa: E402
from xentpm_lib.verifier.appraisal import appraise  # noqa: E402
from xentpm_lib.verifier.challenge import ChallengeBook  # noqa: E402
from xentpm_lib.verifier.result import Verdict  # noqa: E402

ROUNDS = 60
CALLS = 50  # of one kind in a round
HOSTS = 100  # different ones, as in a fleet
MAX_RATIO = 3.0  # a full appraisal in bare verifications
MIN_RATE = 5_000.0  # appraisals a second with P-256
NOW = 1_800_000_000.0
KINDS = {"ecc": "P-256", "rsa": "RSA-2048"}

_Work = Callable[[int], object]


@dataclass
class Row:
    """One kind of work; ``bare`` is the row that it is compared with."""

    name: str
    work: _Work
    bare: Row | None = None
    target: bool = False
    samples: list[float] = field(default_factory=list)

    @property
    def microseconds(self) -> float:
        """The median for one call."""
        return statistics.median(self.samples)

    @property
    def rate(self) -> float:
        """Calls a second."""
        return 1e6 / self.microseconds

    @property
    def ratio(self) -> float:
        """The median of the ratios to ``bare`` in the same round; 1 without one."""
        if self.bare is None:
            return 1.0
        return statistics.median(a / b for a, b in zip(self.samples, self.bare.samples, strict=True))


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 0 whatever the numbers are."""
    options = _parser().parse_args(argv)
    rows = [row for kind in KINDS for row in _rows(kind, options.hosts)]
    _measure(rows, options.rounds)
    checkquote = _checkquote_ms(options.rounds)
    if options.json:
        print(json.dumps(_document(rows, checkquote, options), indent=1))
    else:
        _print(rows, checkquote, options)
    return 0


def _rows(kind: str, count: int) -> list[Row]:
    """Bare verification, reading alone, and appraisals of ``count`` hosts of one kind of key."""
    made = [_Made(kind, log=False) for _ in range(count)]
    logged = [_Made(kind, log=True) for _ in range(count)]
    tagged = [_Made(kind, log=False, tag=bytes(range(32))) for _ in range(count)]
    name = KINDS[kind]
    bare = Row(f"{name}: the signature alone", lambda n: made[n % count].verify())
    return [
        bare,
        Row("  reading the evidence alone", lambda n: QuoteEvidence.from_json(made[n % count].text), bare),
        Row("  full appraisal", lambda n: made[n % count].appraise(), bare, target=True),
        Row("  … with an event log", lambda n: logged[n % count].appraise(), bare),
        Row("  … with an asset tag", lambda n: tagged[n % count].appraise(), bare),
    ]


class _Made:
    """A host with its answer, and all that the verifier knows of it."""

    _keys: dict[str, Any] = {}

    def __init__(self, kind: str, log: bool, tag: bytes | None = None) -> None:
        key = self._keys.get(kind) if kind == "rsa" else None  # to make an RSA key takes a tenth of a second
        host = SoftwareAttester(kind, key=key, ek_key=self._keys.get("ek"), send_log=log, tag=tag)
        self._keys.setdefault(kind, host.key)
        self._keys.setdefault("ek", host.ek_key)
        self.policy, self.record, self.references = make_policy(), host.record(), [host.reference()]
        book = ChallengeBook(lambda: NOW)
        challenge = book.issue(self.record, self.policy)
        self.text, self.redeemed = host.text(challenge.nonce), book.redeem(challenge)
        evidence = QuoteEvidence.from_json(self.text)
        signature, key = Signature.from_bytes(evidence.signature).der(), host.key.public_key()
        parameters: Any = (
            (padding.PKCS1v15(), hashes.SHA256()) if kind == "rsa" else (ec.ECDSA(hashes.SHA256()),)
        )
        self.verify = lambda: key.verify(signature, evidence.attest, *parameters)
        if self.appraise() is not Verdict.TRUSTED:
            raise RuntimeError("the benchmark's evidence is not trusted")

    def appraise(self) -> Verdict:
        """From text to verdict."""
        appraisal = appraise(self.text, self.redeemed, self.record, self.references, self.policy, None, NOW)
        return appraisal.result.verdict


def _measure(rows: Sequence[Row], rounds: int) -> None:
    for number in range(rounds):
        gc.collect()
        for row in rows:
            first = number * CALLS
            begin = time.thread_time()
            for call in range(first, first + CALLS):
                row.work(call)
            row.samples.append(1e6 * (time.thread_time() - begin) / CALLS)


def _checkquote_ms(rounds: int) -> float | None:
    """The CPU time of one ``tpm2_checkquote`` process, median, in milliseconds; None where there is none."""
    made, tool = _Made("ecc", log=False), Path("/usr/bin/tpm2_checkquote")
    if not tool.exists():
        return None
    evidence = QuoteEvidence.from_json(made.text)
    with tempfile.TemporaryDirectory(prefix="xentpm-bench-") as folder:
        files = {
            "ak.pem": made.record.ak.pem().encode(),
            "attest": evidence.attest,
            "signature": evidence.signature,
        }
        for name, data in files.items():
            Path(folder, name).write_bytes(data)
        nonce = made.redeemed.challenge.nonce.hex()
        words = [str(tool), "-u", f"{folder}/ak.pem", "-m", f"{folder}/attest", "-s", f"{folder}/signature"]
        program = Program(
            "tpm2_checkquote", [[*words, "-q", nonce]], {"PATH": "/usr/bin", "TSS2_LOG": "all+none"}
        )
        return statistics.median(run(program).cpu_ms for _ in range(min(rounds, 20)))


def _print(rows: Sequence[Row], checkquote: float | None, options: argparse.Namespace) -> None:
    version = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {version}, one core, {options.hosts} hosts of each kind, 24 PCRs; medians of CPU time\n")
    print(f"{'':34}{'µs':>9}{'a second':>11}{'bare':>8}")
    for row in rows:
        print(f"{row.name:34}{row.microseconds:9.1f}{row.rate:11,.0f}{row.ratio:7.2f}x")
    if checkquote is not None:
        print(f"{'one tpm2_checkquote process':34}{1000 * checkquote:9.1f}{1000 / checkquote:11,.0f}")
    print("\nTargets")
    for text, reached in _targets(rows):
        print(f"  {text}: {'yes' if reached else 'no'}")


def _targets(rows: Sequence[Row]) -> list[tuple[str, bool]]:
    full = [row for row in rows if row.target]
    found = []
    for row, name in zip(full, KINDS.values(), strict=True):
        text = f"{name}, full appraisal: at most {MAX_RATIO:g} bare verifications ({row.ratio:.2f})"
        found.append((text, row.ratio <= MAX_RATIO))
    text = f"P-256, full appraisal: at least {MIN_RATE:,.0f} a second ({full[0].rate:,.0f})"
    return [*found, (text, full[0].rate >= MIN_RATE)]


def _document(rows: Sequence[Row], checkquote: float | None, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "hosts": options.hosts,
        "rows": [
            {
                "name": row.name.strip(" …"),
                "key": list(KINDS.values())[number // (len(rows) // len(KINDS))],
                "microseconds": round(row.microseconds, 2),
                "per_second": round(row.rate),
                "bare_verifications": round(row.ratio, 3),
            }
            for number, row in enumerate(rows)
        ],
        "checkquote_process_ms": None if checkquote is None else round(checkquote, 3),
        "targets": [{"target": text, "reached": reached} for text, reached in _targets(rows)],
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--hosts", type=int, default=HOSTS, help=f"of each kind, default {HOSTS}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
