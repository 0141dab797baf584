"""What the tools share that start the real program, do it harm and look at what is left: the process, a producer that
sends numbered records, somebody who changes the layout, and the checks.

Two pipelines read the records: `copy` hands each one on, `count` counts per user and window behind a re-key. What must come
out is worked out here, from the numbers that were sent, by nothing of the program's.
"""
import collections
import http.client
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
USERS = 50
STEP_MS = 10  # between the event times of two records
WINDOW_MS = 10_000
START_MS = 1_700_000_000_000 // WINDOW_MS * WINDOW_MS
READY_SECONDS = 60
DRAIN_SECONDS = 90
GROUPS = 4096
FINAL = {"checked", "done", "undone", "needs_operator"}  # states in which an operation stays
CRASH_BINARY = ROOT / "build" / "release" / "test" / "integ" / "shadowcast_crash"  # test/integ/crash_arm.c

CONFIG = """version: 1
data: ./data
listen: 127.0.0.1:0
sync: {sync}
nodes: {{count: 2, max: 3, lanes: 1}}
streams:
  input: {{shards: 3, time: {{ingest_field: ts, out_of_order: 0s, idle_after: 1h}}}}
  copied: {{shards: 2}}
  counted: {{shards: 2}}
pipelines:
  copy:
    commit: {commit}
    stages:
      - {{name: hand, from: input, partitions: 2, chain: [{{parse: {{name: p, format: json, fields: {{n: int}}}}}}, {{filter: {{name: f, where: "n >= 0"}}}}], to: copied}}
  count:
    commit: {commit}
    stages:
      - {{name: read, from: input, partitions: 2, chain: [{{parse: {{name: p, format: json, fields: {{user: string}}}}}}, {{key_by: {{name: k, key: user, shards: 3}}}}]}}
      - {{name: sum, partitions: 2, chain: [{{window: {{name: w, tumbling: 10s, out: {{n: count}}}}}}], to: counted}}
"""


def config(commit="20ms", sync="always"):
    return CONFIG.format(commit=commit, sync=sync)


class Process:
    """The program under test: started, killed, started again, on one data folder."""

    def __init__(self, binary, folder, environment=None):
        self.binary, self.folder = binary, folder
        self.environment = dict(environment or {})
        self.process = None
        self.address = None
        self.starts = 0
        self.slowest_start = 0.0

    def start(self, **environment):
        """Starts it; `environment` is added for this time."""
        api = self.folder / "data" / "api"
        if api.exists():
            api.unlink()  # left by the one that was killed
        with open(self.folder / "stderr.log", "ab") as log:
            self.process = subprocess.Popen([str(self.binary), "run", "app.yaml"], cwd=self.folder, stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env={**os.environ, **self.environment, **environment})
        self.starts += 1

    def dead(self):
        return self.process.poll() is not None

    def wait_ready(self, may_end=False, seconds=READY_SECONDS):
        """True once it answers that it is ready; False if it was killed meanwhile, or has ended and may."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.dead():
                if self.process.returncode == -signal.SIGKILL or may_end:
                    return False
                raise SystemExit(f"the program ended by itself with {self.process.returncode}:\n{self.tail()}")
            try:
                text = (self.folder / "data" / "api").read_text().strip()
                self.address = text.split("//")[-1].rstrip("/")
                if self.call("GET", "/readyz", timeout=2)[0] == 200:
                    self.slowest_start = max(self.slowest_start, time.monotonic() - began)
                    return True
            except (OSError, http.client.HTTPException, IndexError, ValueError):
                pass
            time.sleep(0.005)
        if may_end:
            return False
        raise SystemExit(f"the program is not ready after {seconds} s:\n{self.tail()}")

    def call(self, method, path, body=None, headers=None, timeout=60):
        host, port = self.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        try:
            headers = dict(headers or {})
            if not path.startswith("/readyz"):
                headers["Authorization"] = "Bearer " + (self.folder / "data" / "token").read_text().strip()
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def kill(self):
        """Killed and reaped, if it is not gone already."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def tail(self):
        return (self.folder / "stderr.log").read_text(errors="replace")[-2000:] or "(it said nothing)"


class Producer:
    """Sends numbered records; a batch is sent again, unchanged, until it is acknowledged."""

    def __init__(self, rng, batch, pad=0):
        self.rng, self.batch = rng, batch
        self.pad = f',"pad":"{"x" * pad}"' if pad > 0 else ""
        self.identity = None
        self.acknowledged = 0
        self.resent = 0
        self.body = None  # of the batch in flight
        self.answer = (0, b"")  # to the last batch
        self.busy = {429, 503}  # answers that say: try again
        self.users = []

    def user_of(self, number):
        while len(self.users) <= number:
            self.users.append(min(int(self.rng.expovariate(0.1)), USERS - 1))
        return self.users[number]

    def send(self, process):
        """One batch; True once it is acknowledged. Raises what the connection raises."""
        if self.identity is None:
            status, text = process.call("POST", "/api/v1/producers")
            if status in self.busy:
                time.sleep(0.005)
                return False
            if status != 201:
                raise SystemExit(f"POST /api/v1/producers: {status} {text[:300]}")
            self.identity = json.loads(text)
        if self.body is None:
            lines = []
            for number in range(self.acknowledged, self.acknowledged + self.batch):
                lines.append('{"n":%d,"user":"u%d","ts":%d%s}\n' % (number, self.user_of(number), START_MS + number * STEP_MS, self.pad))
            self.body = "".join(lines).encode()
        else:
            self.resent += 1
        headers = {"X-Producer-Id": str(self.identity["id"]), "X-Producer-Epoch": str(self.identity["epoch"]),
                   "X-Producer-Sequence": str(self.acknowledged), "Content-Type": "application/x-ndjson"}
        status, text = process.call("POST", "/api/v1/streams/input/records?key_field=user", self.body, headers)
        self.answer = (status, text)
        if status in self.busy:
            time.sleep(0.005)  # try again
            return False
        if status != 200:
            raise SystemExit(f"records from {self.acknowledged} on: {status} {text[:500]}")
        self.acknowledged += self.batch
        self.body = None
        return True


def feed(process, producer, until):
    """Sends until then (monotonic), or until the process is gone."""
    while not process.dead() and time.monotonic() < until:
        try:
            producer.send(process)
        except (OSError, http.client.HTTPException):
            time.sleep(0.001)


def read_stream(process, name, shards):
    """All records of a stream: (key, time, value)."""
    records = []
    for shard in range(shards):
        offset = 0
        while True:
            status, text = process.call("GET", f"/api/v1/streams/{name}/records?shard={shard}&offset={offset}&limit=10000",
                                        timeout=30)
            if status != 200:
                raise SystemExit(f"reading {name}/{shard} at {offset}: {status} {text[:300]}")
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            if not rows:
                break
            for row in rows:
                value = row["value"]
                records.append((row.get("key"), row["timestamp_ms"], json.loads(value) if isinstance(value, str) else value))
            offset = rows[-1]["offset"] + 1
    return records


def differences(expected, found, what):
    """Compares two multisets; tells the first differences."""
    missing, surplus = expected - found, found - expected
    if not missing and not surplus:
        return True
    print(f"  {what}: {sum(missing.values())} missing {list(missing)[:5]}, {sum(surplus.values())} too many {list(surplus)[:5]}")
    return False


def rows_of(text):
    """The rows of a list that the API answered."""
    rows = json.loads(text)
    if isinstance(rows, list):
        return rows
    return next(value for value in rows.values() if isinstance(value, list))


class Changer(threading.Thread):
    """Orders changes of every kind until it is told to stop or nobody answers."""

    def __init__(self, process, rng):
        super().__init__(daemon=True)
        self.process, self.rng = process, rng
        self.stopped = False
        self.kinds = collections.Counter()

    def order(self, method, path):
        status, _ = self.process.call(method, path, timeout=5)
        return status == 202

    def one(self):
        status, text = self.process.call("GET", "/api/v1/partitions", timeout=5)
        if status != 200:
            return
        parts = rows_of(text)
        part = self.rng.choice(parts)
        base = "/api/v1/partitions/" + part["id"]
        stage, groups = part["id"].rsplit("/", 1)
        lo, hi = (int(n) for n in groups.split("-"))
        kind = self.rng.choice(("split", "merge", "merge", "migrate", "cancel", "node"))
        if kind == "split" and hi - lo > 1 and len(parts) < 60:
            border = self.rng.randrange(lo + 1, hi)
            self.kinds[kind] += self.order("POST", f"{base}/split?apply=true&border={border}&to=n{self.rng.randrange(2)}")
        elif kind == "merge":
            above = [p["id"] for p in parts if p["id"].rsplit("/", 1)[0] == stage and
                     int(p["id"].rsplit("/", 1)[1].split("-")[0]) == hi]
            if above:
                self.kinds[kind] += self.order("POST", f"{base}/merge?apply=true&with={above[0]}")
        elif kind == "migrate":
            self.kinds[kind] += self.order("POST", f"{base}/migrate?apply=true&to=n{self.rng.randrange(2)}")
        elif kind == "node":
            what = self.rng.choice(("add", "drain"))
            self.kinds[kind] += self.order("POST", f"/api/v1/nodes/n2/{what}?apply=true")
        elif kind == "cancel":
            status, text = self.process.call("GET", "/api/v1/operations", timeout=5)
            rows = rows_of(text)
            for row in rows:
                if row["state"] not in FINAL:
                    self.order("POST", f"/api/v1/operations/{row['id']}/cancel")

    def run(self):
        while not self.stopped and not self.process.dead():
            try:
                self.one()
            except (OSError, http.client.HTTPException, ValueError):
                time.sleep(0.002)


def covered(process):
    """Whether the layout is whole; and no operation is half done, once those that go on have ended."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        status, text = process.call("GET", "/api/v1/operations")
        rows = rows_of(text)
        left = [row for row in rows if row["state"] not in FINAL]
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    bad = [row for row in rows if row["state"] == "needs_operator"]
    if left or bad:
        print(f"  operations left half done: {left[:2]} {bad[:2]}")
        return False
    status, text = process.call("GET", "/api/v1/partitions")
    parts = rows_of(text)
    ranges = collections.defaultdict(list)
    for part in parts:
        stage, groups = part["id"].rsplit("/", 1)
        ranges[stage].append(tuple(int(n) for n in groups.split("-")))
    if len(ranges) != 9:  # three stages of three shards
        print(f"  {len(ranges)} shards of stages have partitions, not 9")
        return False
    for stage, list_of in ranges.items():
        at = 0
        for lo, hi in sorted(list_of):
            if lo != at:
                print(f"  {stage}: a partition begins at {lo}, expected {at}")
                return False
            at = hi
        if at != GROUPS:
            print(f"  {stage}: covered up to {at}")
            return False
    return True


def wait_for(process, stream, shards, count):
    """Waits until the stream has as many records; more never come late by more than a moment."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        status, text = process.call("GET", f"/api/v1/streams/{stream}")
        if status == 200 and json.loads(text)["records"] >= count:
            break
        time.sleep(0.05)
    time.sleep(0.5)  # what would be doubled shows up now
    return read_stream(process, stream, shards)


def expectation(producer):
    """What must be in input and copied (numbers), and in counted (user, window, count)."""
    windows = collections.Counter()
    for number in range(producer.acknowledged):
        windows[(f"u{producer.user_of(number)}", number * STEP_MS // WINDOW_MS)] += 1
    return (collections.Counter(range(producer.acknowledged)),
            collections.Counter({(user, window, count): 1 for (user, window), count in windows.items()}))


def numbers_in(records):
    return collections.Counter(value["n"] for _, _, value in records)


def windows_in(records):
    return collections.Counter((key, (time_ms + 1 - START_MS) // WINDOW_MS - 1, value["n"]) for key, time_ms, value in records)


def verify(process, producer):
    status, text = process.call("POST", "/api/v1/streams/input/end")
    if status != 200:
        raise SystemExit(f"end of input: {status} {text[:300]}")
    numbers, windows = expectation(producer)
    return [
        differences(numbers, numbers_in(read_stream(process, "input", 3)), "input"),
        differences(numbers, numbers_in(wait_for(process, "copied", 2, producer.acknowledged)), "copied"),
        differences(windows, windows_in(wait_for(process, "counted", 2, len(windows))), "counted"),
    ]
