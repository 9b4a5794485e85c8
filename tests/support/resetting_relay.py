"""A relay in front of a TCP server that can reset its connections, or answer something else."""

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
        self._instead = None
        self._clients = {}  # to the thread of each
        self._doomed = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self):
        """Reset all connections: their next read fails with ECONNRESET. Returns when they are."""
        with self._lock:
            clients = list(self._clients.items())
        for client, thread in clients:
            with contextlib.suppress(OSError):  # it is closed already
                _reset_at_its_end(client)
                client.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it; it closes the socket
            thread.join()

    def reset_when_asked(self):
        """Reset each of the connections that there are as soon as the client sends something."""
        with self._lock:
            self._doomed = set(self._clients)

    def answer(self, data):
        """Take what clients send and answer with ``data``, always; None: what the server answers."""
        self._instead = data

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
            thread = threading.Thread(target=self._pass_on, args=(client,), daemon=True)
            with self._lock:
                self._clients[client] = thread
                thread.start()

    def _pass_on(self, client):
        address = ("127.0.0.1", self._server_port)
        # Whoever is gone first ends it.
        with client, contextlib.suppress(OSError), socket.create_connection(address) as server:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client and client in self._doomed:
                        return _reset_at_its_end(client)
                    if source is client:
                        server.sendall(data)
                    else:
                        client.sendall(data if self._instead is None else self._instead)


def _reset_at_its_end(client):
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
