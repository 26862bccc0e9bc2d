"""The daemon: its configuration is written, it is started, waited for, asked things, and ended."""

import copy
import json
import os
import re
import shutil
import signal
import socket
import subprocess

from . import network
from .metrics import Metrics, get
from .wait import PATIENCE, until

BUILD = os.environ.get("SINKHOLE_BUILD", "build")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
SANITIZED = os.environ.get("SINKHOLE_SANITIZED", "")
SINKHOLED = os.path.join(BUILD, "resolver", "sinkholed")
RECURSOR = os.path.join(BUILD, "resolver", "recursor", "sinkhole-recursor")
SINKHOLECTL = os.path.join(BUILD, "resolver", "ctl", "sinkholectl")

SINKHOLE4 = "192.0.2.254"
SINKHOLE6 = "2001:db8:ffff::254"

_SANITIZER_SAID = re.compile(
    r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|SUMMARY: \w+Sanitizer"
    r"|Assertion .* failed"
)


def _merged(base, changes):
    """`base` with `changes` laid over it, section by section; a value of None removes the key."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = _merged(result[key], value)
        else:
            result[key] = value
    return result


def to_yaml(config):
    """One line a section: JSON is YAML too."""
    return "".join(f"{section}: {json.dumps(value)}\n" for section, value in config.items())


class Daemon:
    """One sinkholed with three workers. `world` gives root hints and anchor; `changes` the rest."""

    def __init__(self, folder, world, *, name="node1", port=5300, http=9353, lists=(), redis=None,
                 changes=None, start=True):
        self.home = os.path.join(folder, name)
        os.makedirs(self.home, exist_ok=True)
        self.name, self.port, self.http = name, port, http
        self.config_path = os.path.join(self.home, "sinkholed.yaml")
        self.control = os.path.join(self.home, "control.sock")
        self.state_dir = os.path.join(self.home, "state")
        self.hits_path = os.path.join(self.home, "hits.jsonl")
        self.log_path = os.path.join(self.home, "log")
        os.makedirs(self.state_dir, exist_ok=True)
        self.process = None
        base = {
            "node": {"name": name, "workers": 3, "state_dir": self.state_dir,
                     "control": self.control},
            "log": {"level": "info"},
            "listen": [{"address": f"{address}@{port}", "protocols": ["udp", "tcp"]}
                       for address in ("127.0.0.1", "::1")],
            "sinkhole": {"action": "address", "ipv4": [SINKHOLE4], "ipv6": [SINKHOLE6]},
            "list": {"files": list(lists)},
            "recursion": {"processes": 2, "query_localhost": True, "rebinding_protection": False,
                          "sandbox": not SANITIZED},
            "cache": {"size": "16M"},
            "hits": {"client": "full", "outputs": [{"type": "file", "path": self.hits_path}]},
            "http": {"listen": [f"127.0.0.1@{http}"]},
        }
        if world is not None:
            base["recursion"]["root_hints"] = world.hints_path
            base["recursion"]["trust_anchor"] = world.anchor_path
        if redis is not None:
            base["redis"] = {
                "servers": ["unix:" + redis.path], "username": "node",
                "password_file": redis.password_file("node", "node-secret"),
            }
        self.config = _merged(base, changes or {})
        self.write_config()
        if start:
            self.start()

    def write_config(self, changes=None):
        """Writes the configuration, with `changes` laid over it from here on."""
        self.config = _merged(self.config, changes or {})
        # By rename: a reload under way must see the old file or the new one, and half of one is valid.
        with open(self.config_path + ".new", "w", encoding="utf-8") as file:
            file.write(to_yaml(self.config))
        os.rename(self.config_path + ".new", self.config_path)

    def start(self, ready=True):
        """Starts it; waits until it is ready unless told otherwise."""
        with socket.socket() as door:
            assert door.connect_ex(("127.0.0.1", self.http)) != 0, "another daemon is still running"
        self.process = network.start([SINKHOLED, "-c", self.config_path], self.log_path,
                                     env=environment())
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds=15):
        def ready():
            assert self.process.poll() is None, "sinkholed ended: " + self.log()[-1500:]
            return get("/readyz", self.http)[0] == 200

        until(ready, f"{self.name} is ready", seconds)

    def metrics(self):
        return Metrics(self.http)

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def hits(self):
        """Hit lines so far, as dictionaries."""
        if not os.path.exists(self.hits_path):
            return []
        with open(self.hits_path, encoding="utf-8") as file:
            text = file.read()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def recursors(self):
        """Process ids of its recursors, from the kernel."""
        found = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="latin-1") as file:
                    stat = file.read()
            except OSError:
                continue
            state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
            if int(parent) == self.process.pid and state != "Z":
                found.append(int(entry))
        return found

    def ctl(self, *words, status=0, operator=None):
        """Runs sinkholectl --json and returns what it printed, parsed; checks its exit status."""
        done = self.ctl_run("--json", *words, operator=operator)
        assert done.returncode == status, (
            f"sinkholectl {' '.join(words)}: status {done.returncode}, {done.stdout}{done.stderr}"
        )
        return json.loads(done.stdout) if done.stdout.strip() else None

    def ctl_run(self, *words, operator=None, control=None):
        """Runs sinkholectl with this node's configuration, or that of the file `operator`."""
        return subprocess.run(
            [SINKHOLECTL, "-c", operator or self.config_path, "-s", control or self.control, *words],
            capture_output=True, text=True, timeout=60 * PATIENCE, env=environment(), check=False,
        )

    def reload(self):
        """SIGHUP."""
        self.process.send_signal(signal.SIGHUP)

    def kill(self):
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; it must end with status 0, and no sanitizer may have said anything."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(15 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("sinkholed did not end within 15 s of SIGTERM: "
                                 + self.log()[-1500:]) from None
        finally:
            said = _SANITIZER_SAID.search(self.log())
            if said:
                keep = os.path.join(BUILD, "sanitizer-" + os.path.basename(os.path.dirname(self.home))
                                    + ".log")
                shutil.copy(self.log_path, keep)
        assert not said, f"{said.group(0)}: see {keep}\n{self.log()[said.start() :][:3000]}"
        assert status in (0, -signal.SIGKILL), f"status {status}: {self.log()[-1500:]}"


def environment():
    """For our programs: sanitizers speak once and end the program."""
    inherited = dict(os.environ)
    suppressions = os.path.join(SOURCE, "tests", "tsan.suppressions")
    inherited["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0:exitcode=99"
    inherited["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1:exitcode=99"
    inherited["TSAN_OPTIONS"] = "halt_on_error=0:exitcode=99" + (
        ":suppressions=" + suppressions if os.path.exists(suppressions) else ""
    )
    return inherited
