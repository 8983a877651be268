"""Calls of sluice fail, one by one or from one on: tests/tools/faults.c, preloaded, does as the test says."""
import mmap
import struct
import subprocess

from gateway import BINARY

GATE = struct.Struct("BBBxIIi112s")  # as tests/tools/faults.c has it
FULL = "pwrite64,fsync,fdatasync,ftruncate64,file_write,rename"  # what takes room on a disk, or may
DISK = FULL + ",open"  # all that writes to a file


def preloaded(library, gate, what="*:1:1:0"):
    """The environment of a sluice whose calls fail as the file `gate` says, or `what`."""
    gate.write_bytes(bytes(GATE.size))
    linked = subprocess.run(["ldd", str(BINARY)], capture_output=True, text=True, check=True).stdout
    sanitizer = [line.split("=>")[1].split()[0] for line in linked.splitlines() if "libasan" in line or "libtsan" in line]
    return {"LD_PRELOAD": ":".join([*sanitizer, str(library)]), "SLUICE_FAULT": what, "SLUICE_FAULT_GATE": str(gate)}


class Gate:
    """The n-th of some calls fails, in a process that runs on: once, or with all behind it."""

    def __init__(self, path):
        self.file = open(path, "r+b", buffering=0)
        self.map = mmap.mmap(self.file.fileno(), GATE.size)

    def arm(self, calls, n, number, goes_on=False):
        """number: an errno; below 0: milliseconds to wait instead of failing."""
        self.map[0] = 0
        self.map[:] = GATE.pack(0, 0, goes_on, n, 0, number, calls.encode())
        self.map[0] = 1

    def disarm(self):
        """Whether anything failed."""
        self.map[0] = 0
        return self.map[1] == 1

    def has_failed(self):
        return self.map[1] == 1
