"""A network namespace of our own: port 53 of 127/8 and ::1 is ours, and nothing leaves the machine."""

import ctypes
import os
import signal
import subprocess
import sys

# Clients with a place in the databases of tests/data, and one that is outside access.allow.
CLIENTS = ["192.0.2.1", "198.51.100.1", "203.0.113.1"]
CLIENTS6 = ["2001:db8:1::1", "2001:db8:2::1"]

INSIDE = "SINKHOLE_TEST_NAMESPACE"
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def enter():
    """Runs this program again inside a namespace, and ends when that has ended."""
    if os.environ.get(INSIDE) != "1":
        for unshare in (["unshare", "-rn"], ["unshare", "-n"]):
            tried = subprocess.run(unshare + ["true"], capture_output=True, text=True, check=False)
            if tried.returncode == 0:
                os.environ[INSIDE] = "1"
                os.execvp("unshare", unshare + [sys.executable] + sys.argv)
        sys.exit(
            "the system tests need a network namespace, and `unshare -rn` is not permitted here: "
            f"{tried.stderr.strip()}\nRun them as root, or allow user namespaces "
            "(sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0)."
        )
    _ip("link", "set", "lo", "up")
    for address in CLIENTS:
        _ip("addr", "replace", f"{address}/32", "dev", "lo")
    for address in CLIENTS6:
        _ip("-6", "addr", "replace", f"{address}/128", "dev", "lo", "nodad")


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests may ignore it


def start(command, log_path, **options):
    """Starts a program that ends when we do. Its output goes to `log_path`."""
    with open(log_path, "ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,
            **options,
        )
