"""The daemon's HTTP: metrics as a dictionary, health, readiness."""

import re
import urllib.error
import urllib.request

from .wait import PATIENCE

_LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')


def get(path, port=9353):
    """GET over HTTP: status and text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5 * PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


class Metrics:
    """One scrape."""

    def __init__(self, port=9353):
        status, self.text = get("/metrics", port)
        assert status == 200, f"/metrics: {status}"
        self.samples = []
        for line in self.text.splitlines():
            match = _LINE.match(line)
            if match and not line.startswith("#"):
                labels = dict(_LABEL.findall(match.group(2) or ""))
                self.samples.append((match.group(1), labels, float(match.group(3))))

    def sum(self, metric, /, **labels):
        """Sum of the metric's samples that have these labels."""
        return sum(
            value
            for name, found, value in self.samples
            if name == metric and all(found.get(key) == text for key, text in labels.items())
        )

    def has(self, family):
        """Whether the family has any sample."""
        return any(name == family for name, _, _ in self.samples)

    def values(self, family, label):
        """All values of one label in a family."""
        return {found[label] for name, found, _ in self.samples if name == family and label in found}
