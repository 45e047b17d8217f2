"""Prints the changes in a directory, as the kernel tells of them.

The text of this file runs in a VM, by the VM's own Python, of whatever version: it uses nothing but old modules.
Records are printed: the kind, whether it is a directory, and the path below the directory; each ended by NUL.
"""

import array
import ast
import ctypes
import errno
import os
import select
import socket
import struct
import sys
import time

MODIFY, FROM, TO, CREATE, DELETE, GONE, MOVED = 0x2, 0x40, 0x80, 0x100, 0x200, 0x400, 0x800
OVERFLOW, IGNORED, IS_DIR = 0x4000, 0x8000, 0x40000000
WANTED = MODIFY | FROM | TO | CREATE | DELETE | GONE | MOVED | 0x01000000  # directories only
NO_LINK = 0x02000000
HANDED_OVER = 7  # the exit code
SPENT = (errno.ENOSPC, errno.ENOMEM)  # no more can be watched
HEAD = struct.Struct("iIII")
KINDS = ((CREATE | TO, b"created"), (DELETE | FROM, b"deleted"), (MODIFY, b"modified"))


def tell(records: "list[tuple[bytes, bytes, bytes]]") -> None:
    """Print records, without what is the same as the one before."""
    last = None
    text = b""
    for record in records:
        if record != last:
            text += b"".join(field + b"\0" for field in record)
        last = record
    while text:
        text = text[os.write(1, text) :]


class Watch:
    """The watches of a directory, and of those below it."""

    def __init__(self, root: bytes, deep: bool, former: str = "") -> None:
        self.root, self.deep = root, deep
        self.libc = ctypes.CDLL(None, use_errno=True)
        if former:
            self.take_over(former)
            return
        self.fd = self.libc.inotify_init()
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "inotify_init")
        self.paths: dict[int, bytes] = {}
        self.found: set[bytes] = set()
        self.add(b"", [])

    def add(self, path: bytes, records: "list[tuple[bytes, bytes, bytes]]") -> None:
        """Watch a directory, and what is below it; note what is there already."""
        left = [path]
        while left:
            path = left.pop()
            where = os.path.join(self.root, path) if path else self.root
            number = self.libc.inotify_add_watch(self.fd, where, WANTED | NO_LINK if path else WANTED)
            if number < 0:
                # What cannot be watched must not go unnoticed, unless it has gone or is closed to this user.
                if not path or ctypes.get_errno() in SPENT:
                    raise OSError(ctypes.get_errno(), "inotify_add_watch")
                continue
            self.paths[number] = path
            if not self.deep and not path:
                continue
            try:
                names = os.listdir(where)
            except OSError:
                continue
            for name in names:
                below = os.path.join(path, name)
                inner = os.path.join(where, name)
                is_dir = os.path.isdir(inner) and not os.path.islink(inner)
                records.append((b"created", b"1" if is_dir else b"0", below))
                self.found.add(below)
                if is_dir and self.deep:
                    left.append(below)

    def forget(self, path: bytes) -> None:
        """Watch a directory no longer that has been moved away, nor those below it."""
        below = path + b"/"
        for number in [each for each, at in self.paths.items() if at == path or at.startswith(below)]:
            del self.paths[number]
            self.libc.inotify_rm_watch(self.fd, number)
        self.found = {each for each in self.found if not each.startswith(below)}

    def add_again(self) -> None:
        """Watch everything again: lost events may have been of new directories, or of some that were moved away."""
        before, self.paths = self.paths, {}
        self.add(b"", [])
        self.found.clear()
        for number in before:
            if number not in self.paths:
                self.libc.inotify_rm_watch(self.fd, number)

    def take_over(self, former: str) -> None:
        """Go on where another program of this kind is, which ends."""
        with socket.socket(socket.AF_UNIX) as line:
            line.connect("\0" + former)
            fds = array.array("i")
            _, control, _, _ = line.recvmsg(1, socket.CMSG_LEN(fds.itemsize))
            fds.frombytes(control[0][2][: fds.itemsize])
            self.fd = fds[0]
            with line.makefile("rb") as file:
                self.paths, self.found = ast.literal_eval(file.read().decode("ascii"))

    def hand_over(self, line: socket.socket) -> None:
        """Let another program of this kind go on from here."""
        line.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [self.fd]))])
        found = self.found or {b""}  # an empty set is no literal
        line.sendall(ascii((self.paths, found)).encode("ascii"))

    def read(self) -> "tuple[list[tuple[bytes, bytes, bytes]], bool]":
        """Return the next changes, and whether the directory is still there."""
        data = os.read(self.fd, 1 << 16)
        records: list[tuple[bytes, bytes, bytes]] = []
        at = 0
        while at < len(data):
            number, mask, _, length = HEAD.unpack_from(data, at)
            name = data[at + HEAD.size : at + HEAD.size + length].rstrip(b"\0")
            at += HEAD.size + length
            if mask & OVERFLOW:
                self.add_again()
                records.append((b"overflow", b"1", b""))
                continue
            above = self.paths.get(number)
            if above is None:
                continue
            if mask & (GONE | MOVED | IGNORED):
                if mask & IGNORED:  # it has been removed, or unmounted
                    del self.paths[number]
                if not above:
                    return [*records, (b"deleted", b"1", b"")], False
                continue
            path = os.path.join(above, name)
            if mask & MODIFY and name[:1] == b"#" and not os.path.lexists(os.path.join(self.root, path)):
                continue  # a file that has no name yet: the kernel makes one up
            is_dir = bool(mask & IS_DIR)
            for bits, kind in KINDS:
                if mask & bits:
                    # It may have been told already; but what is moved there takes the place of what was.
                    if not (mask & CREATE and path in self.found):
                        records.append((kind, b"1" if is_dir else b"0", path))
                    if kind != b"modified":
                        self.found.discard(path)
                    if mask & FROM and is_dir:
                        self.forget(path)
                    if kind == b"created" and is_dir and self.deep:
                        self.add(path, records)
        return records, True


def main() -> int:
    """Print the changes in a directory, until another program takes over.

    Its arguments: the directory; whether those below it are watched too; a name by which another one can take over; and
    the name of the one to take over from, if any.
    """
    root, deep, name, former = sys.argv[1:5]
    door = None
    try:
        door = socket.socket(socket.AF_UNIX)
        door.bind("\0" + name)
        door.listen(1)
    except OSError:
        door = None  # no other program can take over
    watch = Watch(os.fsencode(root), deep == "1", former)
    if not former:
        watch.found.clear()
    tell([(b"ready", b"1", b"")])
    there = True
    while there:
        if door is not None and door in select.select([door, watch.fd], [], [])[0]:
            line, _ = door.accept()
            watch.hand_over(line)
            return HANDED_OVER
        records, there = watch.read()
        tell(records)
        time.sleep(0.05)  # what follows at once is told together
    return 0


if __name__ == "__main__":
    sys.exit(main())
