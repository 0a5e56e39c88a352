"""Whether a watched path is still on the file system that it was on: `pcapdj.disk.same_disk`."""

import json

from support.rows import each_row

from pcapdj.disk.limits import Watch
from pcapdj.disk.measurements import NOT_THERE, FailedMeasurement, FileSystem, Memory, Sample, Samples
from pcapdj.disk.same_disk import SameDisks, is_same, same_disks_of

_DISK = FileSystem(device=17, boot="b1", uuid="u1", source="/dev/sdb1", mount="/data")
_ROOT = FileSystem(device=1, boot="b1", uuid="u0", source="/dev/sda1", mount="/")
_NFS = FileSystem(device=60, boot="b1", uuid="", source="server:/export", mount="/data")
_MEMORY = FileSystem(device=40, boot="b1", uuid="", source="tmpfs", mount="/data")


def measured(file_system: FileSystem, path: str = "/data/out", *, is_parent: bool = False) -> Samples:
    """Return one sample of a path, or of its parent, on this file system."""
    sample = Sample(file_system.device, 5, 10, 0, 0, file_system, is_parent=is_parent)
    return Samples(((Watch(path), sample),), Memory(1, 2))


@each_row(
    ("one", "other", "expected"),
    [
        (_DISK, _DISK, True),
        (_DISK, _ROOT, False),
        (_DISK, _DISK._replace(device=33, boot="b2", source="/dev/sdc1"), True),
        (_DISK, _DISK._replace(boot="b2", uuid="u2"), False),
        (_NFS, _NFS._replace(device=61), True),
        (_NFS, _NFS._replace(device=61, boot="b2", source="server:/other"), False),
        (_MEMORY, _MEMORY._replace(device=41), False),
        (_MEMORY, _MEMORY._replace(device=41, boot="b2"), True),
        (_MEMORY, _MEMORY._replace(device=40, boot="b2", mount="/"), False),
        (_DISK._replace(boot=""), _DISK._replace(boot="", device=5), True),
    ],
    ids=[
        *("unchanged", "unmounted", "USB after a reboot", "another disk in its place", "NFS mounted again"),
        *("another export", "another tmpfs", "tmpfs after a reboot", "not mounted after a reboot", "no boot"),
    ],
)
def test_what_counts_as_the_same_file_system(one: FileSystem, other: FileSystem, *, expected: bool) -> None:
    """The device within one boot; else the UUID, the source, the mount point, in this order."""
    assert is_same(one, other) is expected
    assert is_same(other, one) is expected


def test_another_file_system_counts_as_full_until_it_is_accepted() -> None:
    """The first one is taken as it is; a path that comes back to it is measured again."""
    first, disks = SameDisks({}).judge(measured(_DISK))
    assert first == measured(_DISK)

    unmounted, disks = disks.judge(measured(_ROOT))
    assert unmounted.failures == [
        (
            Watch("/data/out"),
            FailedMeasurement(
                "is not on the file system mounted at '/data' any more (if that is right: pcapdj gate accept)"
            ),
        )
    ]
    back, disks = disks.judge(measured(_DISK))
    assert back.failures == []

    exchanged, disks = disks.judge(measured(_DISK._replace(device=18, uuid="u9")))
    assert "has another file system mounted at '/data' than before" in exchanged.failures[0][1].reason
    accepted, disks = disks.accepting("1").judge(measured(_DISK._replace(device=18, uuid="u9")))
    assert accepted.failures == []
    assert disks.accepting("1") is disks


def test_a_parent_that_is_measured_in_place_of_a_path_decides_nothing() -> None:
    """The path does not exist yet: the disk on which it is made is the first one."""
    _, disks = SameDisks({}).judge(measured(_ROOT, is_parent=True))

    samples, _ = disks.judge(measured(_DISK))

    assert samples.failures == []


def test_the_parent_of_a_folder_that_went_with_its_disk_counts_as_full() -> None:
    """A controller that is restarted meanwhile finds no folder; one that was removed from its disk may be."""
    _, disks = SameDisks({}).judge(measured(_DISK))
    after = same_disks_of(disks.as_fields())

    unmounted, after = after.judge(measured(_ROOT, is_parent=True))
    assert "is not on the file system mounted at '/data' any more" in unmounted.failures[0][1].reason
    removed, after = after.judge(measured(_DISK, is_parent=True))
    assert removed.failures == []
    accepted, _ = after.accepting("1").judge(measured(_ROOT, is_parent=True))
    assert accepted.failures == []


def test_the_next_controller_goes_on_from_what_was_published() -> None:
    """What another program wrote in another form is left out."""
    _, disks = SameDisks({}, "7").judge(measured(_DISK))

    assert same_disks_of(disks.as_fields()) == disks
    assert same_disks_of({}) == same_disks_of({"file_systems": "[1]"}) == SameDisks({})
    wrong = [
        1,
        {},
        {**_DISK._asdict(), "device": "1"},
        {**_DISK._asdict(), "mount": None},
        {**_DISK._asdict(), "x": 1},
    ]
    for each in wrong:
        assert same_disks_of({"file_systems": json.dumps({"/a": each})}).known == {}, each


def test_a_path_that_is_gone_is_shown_with_where_its_disk_was_mounted() -> None:
    """Which disk to mount again; of a path on the root disk only the path is gone."""
    gone = Samples(((Watch("/data/out"), NOT_THERE),), Memory(1, 2))

    assert SameDisks({}).judge(gone)[0] == gone
    assert SameDisks({"/data/out": _ROOT}).judge(gone)[0] == gone
    assert [each.reason for _, each in SameDisks({"/data/out": _DISK}).judge(gone)[0].failures] == [
        "is not there (its disk was mounted at '/data')"
    ]
