"""A real Redis of the test's own, with the users that the documentation tells operators to make."""

import os
import re
import signal
import socket

from . import network
from .wait import PATIENCE, until

NODE_PASSWORD = "node-secret"
OPERATOR_PASSWORD = "operator-secret"
ADMIN_PASSWORD = "admin-secret"


LISTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "blocklist")


def rules(user):
    """A user's rights, as blocklist/PROTOCOL.md gives them to operators."""
    with open(os.path.join(LISTS, "PROTOCOL.md"), encoding="utf-8") as file:
        return re.search(rf"^    user {user} +on >SECRET (.+)$", file.read(), re.MULTILINE).group(1)


def script():
    """The text of the only writer."""
    with open(os.path.join(LISTS, "change.lua"), encoding="utf-8") as file:
        return file.read()


class RedisError(Exception):
    """Redis answered with an error."""


class Connection:
    """A few lines of RESP2."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10 * PATIENCE)
        self.socket.connect(path)
        self.file = self.socket.makefile("rb")

    def close(self):
        self.file.close()
        self.socket.close()

    def call(self, *words):
        """Sends one command and returns its reply; RedisError for an error."""
        parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.socket.sendall(
            b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)
        )
        return self._reply()

    def _reply(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self.file.read(size + 2)[:-2]
        if kind == b"*":
            return None if int(rest) < 0 else [self._reply() for _ in range(int(rest))]
        return rest


class Redis:
    """redis-server on a Unix socket; its data outlives a kill (appendonly, every write synced)."""

    def __init__(self, folder):
        self.home = os.path.join(folder, "redis")
        os.makedirs(self.home)
        self.path = os.path.join(self.home, "socket")
        self.log_path = os.path.join(self.home, "log")
        acl = os.path.join(self.home, "users.acl")
        with open(acl, "w", encoding="ascii") as file:
            file.write(
                f"user default on >{ADMIN_PASSWORD} ~* &* +@all\n"
                f"user node on >{NODE_PASSWORD} {rules('node')}\n"
                f"user operator on >{OPERATOR_PASSWORD} {rules('operator')}\n"
            )
        self.config = os.path.join(self.home, "redis.conf")
        with open(self.config, "w", encoding="ascii") as file:
            file.write(
                f"port 0\nunixsocket {self.path}\nunixsocketperm 700\ndir {self.home}\n"
                f"aclfile {acl}\nappendonly yes\nappendfsync always\nsave \"\"\ndaemonize no\n"
            )
        self.process = None
        self.start()

    def start(self):
        """Starts it, or starts it again on the same data."""
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.process = network.start(["redis-server", self.config], self.log_path)
        until(self._answers, "Redis answers", 10)

    def _answers(self):
        assert self.process.poll() is None, "redis-server ended: see " + self.log_path
        try:
            return self.call("PING") == b"PONG"
        except RedisError:
            return False

    def call(self, *words):
        """One command as the all-powerful user, on a connection of its own."""
        connection = Connection(self.path)
        try:
            connection.call("AUTH", ADMIN_PASSWORD)
            return connection.call(*words)
        finally:
            connection.close()

    def kill(self):
        """SIGKILL: connections break at once."""
        self.process.kill()
        self.process.wait()

    def freeze(self):
        """SIGSTOP: connections stay open and nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.thaw()
            self.kill()

    def password_file(self, name, password):
        """Writes a password where only we can read it. Returns the path."""
        path = os.path.join(self.home, name + ".password")
        with open(path, "w", encoding="ascii", opener=lambda p, f: os.open(p, f, 0o600)) as file:
            file.write(password + "\n")
        return path

    def write(self, operation, feed, *items, lineage="11111111-2222-3333-4444-555555555555"):
        """One call of the writers' script, as the operator's user. Returns the revision."""
        connection = Connection(self.path)
        try:
            connection.call("AUTH", "operator", OPERATOR_PASSWORD)
            return connection.call(
                "EVAL", script(), 5, "{sh}:meta", "{sh}:feeds", "{sh}:log", "{sh}:feed:" + feed,
                "{sh}:f:" + feed, operation, feed, "test", "", lineage, *items)[0]
        finally:
            connection.close()

    def revision(self):
        """The list's revision in Redis; 0 if there is none."""
        return int(self.call("HGET", "{sh}:meta", "revision") or 0)
