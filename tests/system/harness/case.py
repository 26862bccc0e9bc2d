"""What every system test case inherits: one internet for all, a folder and a daemon for each class."""

import atexit
import os
import shutil
import tempfile
import unittest

from . import client
from .daemon import Daemon
from .nsd import Internet
from .wait import until
from .zones import World

_shared = {}


def root_folder():
    """A folder that goes when the run ends (kept with SINKHOLE_KEEP=1)."""
    if "folder" not in _shared:
        _shared["folder"] = tempfile.mkdtemp(prefix="sinkhole-test-")
        if os.environ.get("SINKHOLE_KEEP") == "1":
            print("keeping", _shared["folder"])
        else:
            atexit.register(shutil.rmtree, _shared["folder"], True)
    return _shared["folder"]


def world():
    """Zones, written and signed once a run."""
    if "world" not in _shared:
        _shared["world"] = World(os.path.join(root_folder(), "zones"))
    return _shared["world"]


def internet():
    """Name servers for them, started once a run."""
    if "internet" not in _shared:
        _shared["internet"] = Internet(root_folder(), world())
        atexit.register(_shared["internet"].stop)
    return _shared["internet"]


class Case(unittest.TestCase):
    """A test case. Its names are sentences; `daemon` is started by the classes that want one."""

    maxDiff = None
    daemon = None

    @classmethod
    def setUpClass(cls):
        internet()
        cls.folder = tempfile.mkdtemp(prefix=cls.__name__ + "-", dir=root_folder())
        cls.started = []

    @classmethod
    def tearDownClass(cls):
        failures = []
        for thing in reversed(cls.started):
            try:
                thing.stop()
            except AssertionError as failure:
                failures.append(str(failure))
        assert not failures, "\n".join(failures)

    @classmethod
    def run_daemon(cls, **options):
        """A daemon that is stopped, and whose end is checked, with the class."""
        daemon = Daemon(cls.folder, world(), start=False, **options)
        cls.started.append(daemon)
        daemon.start()
        return daemon

    @classmethod
    def write(cls, name, text):
        """A file in the class's folder. Returns its path."""
        path = os.path.join(cls.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    @classmethod
    def list_file(cls, feed, text, **properties):
        """An entry of list.files with its file written."""
        return {"feed": feed, "path": cls.write(feed + ".txt", text), **properties}

    def ask(self, name, kind="A", **options):
        options.setdefault("port", self.daemon.port)
        return client.ask(name, kind, **options)

    def assert_sinkholed(self, answer, message=None):
        """The sinkhole's addresses and nothing of the real answer."""
        self.assertEqual(client.rcode(answer), "NOERROR", message)
        self.assertEqual([code for code, _ in client.errors(answer)][:1], [client.BLOCKED],
                         message or answer.to_text())
        self.assertFalse(client.has_flag(answer, "AD"), message)

    def assert_resolved(self, answer, kind, expected):
        """The real answer, and no word of blocking."""
        self.assertEqual(client.rcode(answer), "NOERROR", answer.to_text())
        self.assertEqual(client.records(answer, kind), sorted(expected), answer.to_text())
        self.assertNotIn(client.BLOCKED, [code for code, _ in client.errors(answer)])

    def until(self, condition, what, seconds=5.0):
        return until(condition, what, seconds)
