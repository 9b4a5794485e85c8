"""A relay in front of a TCP server that can reset its connections, or fall silent."""

import contextlib
import select
import socket
import struct
import threading


class ResettingRelay:
    """Listens at ``port`` of 127.0.0.1 until `close`; each connection is passed on to the server."""

    def __init__(self, server_port):
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._silent = threading.Event()
        self._clients = []
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        """Reset all connections: their next read fails with ECONNRESET."""
        for client in self._clients:
            with contextlib.suppress(OSError):  # it is closed already
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it; it closes the socket
        self._clients = []

    def fall_silent(self):
        """Take what clients send and never answer again."""
        self._silent.set()

    def close(self):
        """Stop listening, and reset what is open."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._clients.append(client)
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client):
        with client, socket.create_connection(("127.0.0.1", self._server_port)) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        server.sendall(data)
                    elif not self._silent.is_set():
                        client.sendall(data)
