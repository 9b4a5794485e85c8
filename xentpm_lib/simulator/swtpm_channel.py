"""One exchange with a swtpm over one of its Unix sockets, each on a connection of its own."""

import socket
import time
from typing import Callable, Optional

from xentpm_lib.errors import TpmError

__all__ = ["exchange_command", "exchange_control"]

MAX_RESPONSE = 1 << 16  # bytes
_HEADER = 6  # bytes of a TPM's answer up to the end of its size
_RESULT = 4  # bytes of the control channel's answer


def exchange_command(path: str, data: bytes, limit_s: float) -> bytes:
    """Send a TPM command to the data socket at ``path`` and return the TPM's whole answer.

    Raises: TpmError when nobody listens, or no whole answer came within ``limit_s`` seconds.
    """
    return _exchange(path, data, limit_s, _response_size)


def exchange_control(path: str, data: bytes, limit_s: float) -> int:
    """Send a message to the control socket at ``path`` and return the result code.

    Raises: TpmError as :func:`exchange_command`.
    """
    return int.from_bytes(_exchange(path, data, limit_s, lambda _: _RESULT), "big")


def _response_size(received: bytes) -> Optional[int]:
    return int.from_bytes(received[2:_HEADER], "big") if len(received) >= _HEADER else None


def _exchange(path: str, data: bytes, limit_s: float, size_of: Callable[[bytes], Optional[int]]) -> bytes:
    deadline = time.monotonic() + limit_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(limit_s)
            connection.connect(path)
            connection.sendall(data)
            return _receive(connection, deadline, size_of)
    except socket.timeout as error:
        raise TpmError(
            "the software TPM did not answer within {:g} s".format(limit_s),
            "another program may hold its connection: {}".format(path),
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise TpmError("the software TPM is off", "power its host on", code="XENTPM_NO_TPM") from error
    except OSError as error:
        raise TpmError("the connection to the software TPM failed: {}".format(error)) from error


def _receive(connection: socket.socket, deadline: float, size_of: Callable[[bytes], Optional[int]]) -> bytes:
    received = b""
    while True:
        size = size_of(received)
        if size is not None and len(received) >= size:
            return received
        if len(received) > MAX_RESPONSE:
            raise TpmError("the software TPM's answer has more than {} bytes".format(MAX_RESPONSE))
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise socket.timeout()
        connection.settimeout(remaining)
        chunk = connection.recv(MAX_RESPONSE)
        if not chunk:
            raise TpmError("the software TPM closed the connection without a whole answer")
        received += chunk
