"""N hosts in one process: keys of `cryptography` instead of TPMs, real XAPI over TLS in front of them.

Their evidence is what the plugin sends, signed anew for each nonce. All of a host follows from its number, so
that the process that asks knows what to expect without being told. A pool has at most 64 hosts.

    python software_attesters.py --hosts 1000      prints one line of JSON when ready; ends with its stdin
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import gc
import hashlib
import json
import os
import re
import signal
import ssl
import struct
import sys
import tempfile
import time
import uuid
import xmlrpc.client
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from cryptography.hazmat.primitives import hashes  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature  # noqa: E402

from support.evidence_maker import AK_ATTRIBUTES, SoftwareAttester, public_of  # noqa: E402
from xentpm_lib.evidence import tpm_structures as ts  # noqa: E402
from xentpm_lib.evidence.identity import Identity  # noqa: E402
from xentpm_lib.evidence.pcr import PcrSelection, PcrValues, composite_digest  # noqa: E402
from xentpm_lib.simulator.certificates import make_certificate, server_context  # noqa: E402
from xentpm_lib.simulator.xml_values import dump_response  # noqa: E402

__all__ = ["PASSWORD", "POOL_SIZE", "USERNAME", "Attester", "attesters", "pool_of"]

POOL_SIZE = 64
USERNAME, PASSWORD = "root", "benchmark"

_EK_ATTRIBUTES = (
    ts.FIXED_TPM
    | ts.FIXED_PARENT
    | ts.SENSITIVE_DATA_ORIGIN
    | ts.ADMIN_WITH_POLICY
    | ts.RESTRICTED
    | ts.DECRYPT
)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_NAMESPACE = uuid.UUID("7d7c2b7e-6a43-4d6c-9b7f-2f5d1f8f0a11")
_CALL = re.compile(
    rb"<methodName>host\.call_plugin</methodName>.*?OpaqueRef:(s-\d+).*?OpaqueRef:(h-\d+)"
    rb".*?>(tpm_\w+|quote)<(?:.*?>nonce</name>\s*<value>(?:<string>)?([A-Za-z0-9+/=]+)<)?",
    re.DOTALL,
)
_FIRMWARE = 0x0007005500010203
_FIRST_CLOCK_MS = 3_600_000
_MAX_BODY_BYTES = 300 * 1024


@dataclass(frozen=True)
class _Image:
    """What all hosts have in common: the PCRs, the selection of all of them, the event log."""

    pcrs: PcrValues
    selection: PcrSelection
    event_log: str | None


def _image(event_log: bool) -> _Image:
    one = SoftwareAttester(host_id=str(uuid.UUID(int=0)), system_uuid=str(uuid.UUID(int=0)))
    log = base64.b64encode(one.event_log()).decode() if event_log else None
    return _Image(one.pcrs, PcrSelection((("sha256", tuple(range(24))),)), log)


def _digest(*parts: object) -> bytes:
    return hashlib.sha256("/".join(map(str, parts)).encode()).digest()


@dataclass(frozen=True)
class Attester:
    """One host. number: from 0; everything else follows from it."""

    number: int
    image: _Image

    @property
    def uuid(self) -> str:
        """XAPI's UUID of the host."""
        return str(uuid.uuid5(_NAMESPACE, f"host {self.number}"))

    @property
    def name(self) -> str:
        """The name that people give it."""
        return f"host{self.number:05}"

    @property
    def pool(self) -> int:
        """The number of its pool."""
        return self.number // POOL_SIZE

    @cached_property
    def key(self) -> ec.EllipticCurvePrivateKey:
        """The attestation key."""
        secret = int.from_bytes(_digest("key", self.number), "big") % (_ORDER - 1) + 1
        return ec.derive_private_key(secret, ec.SECP256R1())

    @cached_property
    def ak(self) -> ts.Public:
        """The attestation key's public area."""
        return public_of(self.key, AK_ATTRIBUTES, ts.Scheme("ecdsa", "sha256"))

    @property
    def ek(self) -> ts.Public:
        """An RSA-2048 public area; nobody has its private half, as it is only compared here."""
        modulus = b"\xc0" + b"".join(_digest("ek", self.number, part) for part in range(8))[:254] + b"\x01"
        cipher, policy = ts.Symmetric("aes", 128, "cfb"), _digest("policy")
        return ts.Public(
            "rsa", "sha256", _EK_ATTRIBUTES, policy, cipher, None, key_bits=2048, modulus=modulus
        )

    @property
    def pcrs(self) -> PcrValues:
        """The image's values; PCR 1 carries the serial number."""
        return {"sha256": {**self.image.pcrs["sha256"], 1: _digest("serial", self.number)}}

    @cached_property
    def _parts(self) -> tuple[bytes, bytes]:
        """TPMS_ATTEST before the nonce, and behind the clock."""
        digest = composite_digest(self.pcrs, self.image.selection, "sha256")
        signer = ts.qualified_name(ts.ENDORSEMENT_HIERARCHY, self.ak.name())
        info = ts.QuoteInfo(self.image.selection, digest)
        whole = ts.Attest("quote", signer, bytes(32), 0, 7, 0, True, _FIRMWARE, quote=info).to_bytes()
        start = 4 + 2 + 2 + len(signer) + 2
        return whole[:start], whole[start + 32 + 8 :]

    @cached_property
    def _frame(self) -> tuple[str, str, str]:
        """The evidence document around attest and signature."""
        values = {str(index): value.hex() for index, value in self.pcrs["sha256"].items()}
        log = "null" if self.image.event_log is None else f'"{self.image.event_log}"'
        head = (
            f'{{"version":1,"host_uuid":"{self.uuid}","created":"2026-01-31T23:59:59Z","ak":{{"name":"'
            f'{self.ak.name().hex()}","public":"{base64.b64encode(self.ak.to_tpm2b()).decode()}"}},'
            '"quote":{"attest":"'
        )
        tail = json.dumps({"sha256": values}, separators=(",", ":"))
        return (
            head,
            '","signature":"',
            f'","pcrs":{tail}}},"asset_tag":null,"event_log":{log},"boot_log":null}}',
        )

    def quote(self, nonce: bytes, clock_ms: int) -> str:
        """What ``tpm_get_quote`` answers."""
        before, behind = self._parts
        attest = before + nonce + struct.pack(">Q", clock_ms) + behind
        r, s = decode_dss_signature(self.key.sign(attest, ec.ECDSA(hashes.SHA256())))
        signature = b"\x00\x18\x00\x0b\x00\x20" + r.to_bytes(32, "big") + b"\x00\x20" + s.to_bytes(32, "big")
        head, middle, tail = self._frame
        return head + base64.b64encode(attest).decode() + middle + base64.b64encode(signature).decode() + tail

    def identity(self) -> str:
        """What ``tpm_get_attestation_identity`` answers."""
        return Identity(None, self.ek, self.ak, self.uuid).to_xml()


def attesters(count: int, event_log: bool = False) -> Iterator[Attester]:
    """The first ``count`` hosts."""
    image = _image(event_log)
    return (Attester(number, image) for number in range(count))


def pool_of(number: int) -> str:
    """XAPI's UUID of a pool."""
    return str(uuid.uuid5(_NAMESPACE, f"pool {number}"))


class _Pool:
    """One pool's API."""

    def __init__(self, number: int, hosts: list[Attester], certificate: str, options: _Options) -> None:
        self.uuid = pool_of(number)
        self._hosts = {f"OpaqueRef:h-{host.number}": host for host in hosts}
        self._master = next(iter(self._hosts))
        self._certificate = certificate
        self._options = options
        self._sessions: set[str] = set()
        self._logins = 0
        self.hangs = number < options.hanging

    async def answer(self, body: bytes) -> bytes:
        """The answer to a call."""
        found = _CALL.search(body)
        if found is not None:
            if self.hangs:
                await asyncio.sleep(3600)
            await asyncio.sleep(self._options.latency_s)
            return self._plugin(*found.groups())
        values, method = xmlrpc.client.loads(body)
        return dump_response(self._other(str(method), list(values)))

    def _plugin(self, session: bytes, host: bytes, function: bytes, nonce: bytes | None) -> bytes:
        if "OpaqueRef:" + session.decode() not in self._sessions:
            return dump_response({"Status": "Failure", "ErrorDescription": ["SESSION_INVALID", "x"]})
        attester = self._hosts["OpaqueRef:" + host.decode()]
        if function == b"tpm_get_attestation_identity":
            text = attester.identity()
        else:
            clock = _FIRST_CLOCK_MS + int((time.time() - self._options.started_at) * 1000)
            text = attester.quote(base64.b64decode(nonce or b""), clock)
        return dump_response({"Status": "Success", "Value": text})

    def _other(self, method: str, values: list[Any]) -> dict[str, Any]:
        if method == "session.login_with_password":
            self._logins += 1
            if values[:2] != [USERNAME, PASSWORD]:
                return {"Status": "Failure", "ErrorDescription": ["SESSION_AUTHENTICATION_FAILED", "", ""]}
            session = f"OpaqueRef:s-{self._logins}"
            self._sessions.add(session)
            return {"Status": "Success", "Value": session}
        if not values or values[0] not in self._sessions:
            return {"Status": "Failure", "ErrorDescription": ["SESSION_INVALID", "x"]}
        if method == "session.logout":
            self._sessions.discard(values[0])
        return {"Status": "Success", "Value": self._value(method, values[1:])}

    def _value(self, method: str, args: list[Any]) -> Any:
        cls, _, name = method.partition(".")
        if method == "session.get_this_host":
            return self._master
        if method == "host.get_server_certificate":
            return self._certificate
        if method == "host.get_by_uuid":
            return next(ref for ref, host in self._hosts.items() if host.uuid == args[0])
        records = {"host": self._host_records, "pool": self._pool_records, "host_metrics": self._metrics}
        if cls not in records:
            return ""
        found = records[cls]()
        if name == "get_all_records":
            return found
        if name == "get_all":
            return list(found)
        if name == "get_record":
            return found[args[0]]
        return found[args[0]].get(name.removeprefix("get_"), "") if args else ""

    def _host_records(self) -> dict[str, dict[str, Any]]:
        return {
            ref: {
                "uuid": host.uuid,
                "name_label": host.name,
                "hostname": host.name,
                "address": "127.0.0.1",
                "enabled": True,
                "metrics": ref.replace(":h-", ":m-"),
                "tags": [],
                "other_config": {},
                "software_version": {},
            }
            for ref, host in self._hosts.items()
        }

    def _metrics(self) -> dict[str, dict[str, Any]]:
        return {
            ref.replace(":h-", ":m-"): {"uuid": host.uuid, "live": True} for ref, host in self._hosts.items()
        }

    def _pool_records(self) -> dict[str, dict[str, Any]]:
        record = {"uuid": self.uuid, "name_label": f"pool {self.uuid[:8]}", "master": self._master}
        return {"OpaqueRef:pool": record}


@dataclass(frozen=True)
class _Options:
    hosts: int
    hanging: int
    latency_s: float
    event_log: bool
    started_at: float


async def _connection(pool: _Pool, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/1.1 with the connection kept open."""
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            found = re.search(rb"\r\ncontent-length: *(\d{1,7})\r\n", head)
            size = int(found.group(1)) if found else _MAX_BODY_BYTES + 1
            if size > _MAX_BODY_BYTES:
                break
            answer = await pool.answer(await reader.readexactly(size))
            start = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(answer)}\r\n\r\n"
            writer.write(start.encode() + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
        pass
    finally:
        writer.close()


async def _serve(options: _Options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder) / "server.pem", Path(folder) / "server.key"
        pem = make_certificate(certificate, key, "software attesters")
        tls = server_context(certificate, key)
    pools = _pools(options, pem)
    urls = {pool.uuid: await _listen(pool, tls) for pool in pools}
    gc.collect()
    gc.freeze()
    print(json.dumps({"pid": os.getpid(), "certificate": pem, "pools": urls}), flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin.fileno(), lambda: os.read(0, 4096) or ended.set())
    await ended.wait()


def _pools(options: _Options, certificate: str) -> list[_Pool]:
    members: dict[int, list[Attester]] = {}
    for host in attesters(options.hosts, options.event_log):
        members.setdefault(host.pool, []).append(host)
        host.quote(bytes(32), 0)  # what is made once is made before anybody waits for it
    return [_Pool(number, hosts, certificate, options) for number, hosts in members.items()]


async def _listen(pool: _Pool, tls: ssl.SSLContext) -> str:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _connection(pool, reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls, backlog=64)
    return f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def main() -> int:
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument(
        "--hanging", type=int, default=0, help="the first pools whose hosts never answer a quote"
    )
    parser.add_argument("--latency-ms", type=float, default=0, help="how long a host takes to answer")
    parser.add_argument("--event-log", action="store_true", help="send one with each quote")
    args = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    options = _Options(args.hosts, args.hanging, args.latency_ms / 1000, args.event_log, time.time())
    asyncio.run(_serve(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
