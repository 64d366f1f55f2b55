"""Which kind of file system a path lies on, as far as the kernel tells."""

from __future__ import annotations

import os
import re

from tau.signals import pass_on

NETWORK = frozenset(
    {
        "nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ncpfs", "coda", "9p", "virtiofs",
        "lustre", "gpfs", "mmfs", "beegfs", "ceph", "glusterfs", "pvfs2", "orangefs", "panfs", "ocfs2", "gfs", "gfs2",
        "acfs", "davfs", "wekafs", "cvmfs", "afpfs", "webdav",
        "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.davfs2", "fuse.beegfs", "fuse.s3fs",
        "fuse.gcsfuse", "fuse.rclone", "fuse.mount_s3", "fuse.cvmfs", "fuse.cvmfs2", "fuse.juicefs", "fuse.smbnetfs",
        "fuse.goofys", "fuse.blobfuse", "fuse.blobfuse2", "fuse.seaweedfs", "fuse.moosefs", "fuse.mfs",
    }
)  # fmt: skip
"""File systems shared between machines: locks and memory maps of one host mean nothing to another there."""


def kind_of(path: str, table: str = "/proc/self/mountinfo") -> str:
    """The file-system type of the nearest existing parent of ``path``, as in ``mount``; empty where unknown."""
    path = os.path.realpath(path)
    try:
        with open(table, encoding="utf-8", errors="surrogateescape") as file:
            lines = file.readlines()
    except OSError as error:
        pass_on(error)
        return ""
    best, kind = -1, ""
    for line in lines:
        left, _, right = line.partition(" - ")
        fields = left.split(maxsplit=5)
        if len(fields) < 5 or not right:
            continue
        mount = fields[4]
        if "\\" in mount:
            mount = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), mount)
        inside = path == mount or path.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= best:  # the later of two equal mount points hides the earlier
            best, kind = len(mount), right.split()[0]
    return kind
