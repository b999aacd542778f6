#!/usr/bin/env python3
"""NAME: a program for Longshore, see longshore-exec(7). This skeleton works with the folder of the
setting `path`: it dumps the folder as a tar, and stores objects there. Keep the roles that you need,
and replace their functions."""
import hashlib, json, os, sys, tarfile
from datetime import datetime, timezone

CONTROL = os.fdopen(3, "rb")  # messages are lines of JSON; sys.stderr is for people


def send(**message):
    os.write(3, (json.dumps(message) + "\n").encode())


def receive():
    line = CONTROL.readline()
    if not line:
        sys.exit(1)  # Longshore has ended: nothing is published
    return json.loads(line)


def fail(kind, message):
    send(type="error", kind=kind, message=message)
    sys.exit(1)


class Counted:
    """Standard output, with the number of bytes written."""

    bytes = 0

    def write(self, data):
        self.bytes += len(data)
        return sys.stdout.buffer.write(data)


def dump(path, start):
    out = Counted()
    with tarfile.open(fileobj=out, mode="w|") as tar:
        tar.add(path, arcname=".")
    sys.stdout.buffer.flush()
    send(type="done", bytes_out=out.bytes)


def verify(path, start):  # fail("corrupt", ...) if the plaintext is damaged
    count = 0
    while chunk := sys.stdin.buffer.read(1 << 20):
        count += len(chunk)
    send(type="done", bytes_in=count)


def ship(path, start):
    temp = os.path.join(path, start["temp"])  # a hidden name that Longshore removes after a failure
    os.makedirs(os.path.dirname(temp), exist_ok=True)
    count, digest = 0, hashlib.sha256()
    with open(temp, "xb") as file:
        while chunk := sys.stdin.buffer.read(1 << 20):
            count += len(chunk)
            digest.update(chunk)
            file.write(chunk)
        commit = receive()  # the end of the input alone is no success
        if (commit["bytes"], commit["sha256"]) != (count, digest.hexdigest()):
            fail("corrupt", "the received bytes differ from those of the commit")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temp, os.path.join(path, start["key"]))  # never overwrites
    except FileExistsError:
        fail("already_exists", start["key"] + " exists")
    os.unlink(temp)
    folder = os.open(os.path.dirname(temp), os.O_RDONLY)
    os.fsync(folder)
    send(type="done", bytes_in=count)


def fetch(path, start):
    left = start["length"]
    try:
        with open(os.path.join(path, start["key"]), "rb") as file:
            file.seek(start["offset"])
            while left and (chunk := file.read(min(left, 1 << 20))):
                sys.stdout.buffer.write(chunk)
                left -= len(chunk)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        fail("not_found", start["key"] + " does not exist")
    sys.stdout.buffer.flush()
    send(type="done", bytes_out=start["length"] - left)


def entry(path, file):
    found = os.stat(file)
    modified = datetime.fromtimestamp(found.st_mtime, timezone.utc).isoformat()
    send(type="entry", key=os.path.relpath(file, path), bytes=found.st_size, modified=modified)


def list_objects(path, start):
    for folder, _, names in os.walk(os.path.join(path, start["under"])):
        for name in names:
            try:
                entry(path, os.path.join(folder, name))
            except FileNotFoundError:
                pass  # removed meanwhile
    send(type="done")


def stat(path, start):
    file = os.path.join(path, start["key"])
    if os.path.isfile(file):
        entry(path, file)
    send(type="done")


def remove(path, start):  # of a key, of a temporary file, or of an empty folder
    file = os.path.join(path, start["key"])
    if os.path.isfile(file):
        os.unlink(file)
    elif os.path.isdir(file) and not os.listdir(file):
        os.rmdir(file)
    send(type="done")


def check(path, start):
    if not os.access(path, os.W_OK):
        fail("denied", path + " is not writable")
    send(type="done", note="the folder is writable")


ROLES = {"dump": dump, "verify": verify, "ship": ship, "fetch": fetch, "list": list_objects,
         "stat": stat, "remove": remove, "check": check}

receive()  # the message `hello` of Longshore
send(type="hello", protocol="longshore-exec/1", name="NAME", version="1", roles=list(ROLES))
start = receive()
path = start["settings"].get("path", "")
if not os.path.isdir(path):
    fail("unavailable", "the setting path names no folder")
ROLES[start["role"]](path, start)
