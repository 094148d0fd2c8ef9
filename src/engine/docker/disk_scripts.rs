//! What the helper containers of a disk run. No text of a person gets in: the arguments are a number of ours, a
//! size and a UUID.

/// No loop device is to be had here: an answer, not a failure.
pub(super) const IMPOSSIBLE: i64 = 71;
/// The loop device belongs to another image, or the image is another member's.
pub(super) const NOT_OURS: i64 = 72;

/// The image file of a disk that is not new is not there.
pub(super) const LOST: i64 = 73;

/// Makes the image file of a new disk, or leaves the one that is there, and puts it behind its loop device. `$1` number of the
/// device, `$2` bytes, `$3` identity of the file system, `$4` "new" where it may be made.
///
/// The file is formatted under another name and renamed when it is whole: what is called `image` is never
/// formatted again, whenever a run is cut off. The device's node lies beside it, so that nothing depends on how
/// the host fills its own `/dev`. Whether the device is ours is read from the kernel, by the file's inode.
pub(super) const ATTACH: &str = r#"
umask 077
cd /disk
[ -c control ] || mknod control c 10 237 2>/dev/null || { echo 'device nodes are not allowed'; exit 71; }
if ! perl -e 'open(my $f, "+<", "control") or die "$!\n"; exit 0 if defined ioctl($f, 0x4C80, $ARGV[0] + 0) || $! == 17; die "$!\n"' "$1" 2>why; then
  echo "loop devices are not to be had: $(cat why)"; exit 71
fi
[ "$(cat "/sys/block/loop$1/dev" 2>/dev/null)" = "7:$1" ] || { echo "there is no loop device number $1"; exit 71; }
rm -f why device.new
mknod device.new b 7 "$1" 2>/dev/null || { echo 'device nodes are not allowed'; exit 71; }
mv device.new device
seen() { losetup --noheadings --raw -O BACK-INO,BACK-MAJ:MIN /disk/device 2>/dev/null | tr -d ' ' || true; }
if [ ! -e image ]; then
  [ "$4" = new ] || { echo 'the image file with the data is gone'; exit 73; }
  command -v mkfs.xfs >/dev/null || { echo 'the image has no tools for XFS'; exit 71; }
  rm -f image.new
  truncate -s "$2" image.new
  printf '/\n0 0\nd--700 5432 5432\n$\n' > /tmp/root
  mkfs.xfs -q -f -m "uuid=$3,reflink=0,rmapbt=0" -p /tmp/root image.new
  sync image.new
  mv image.new image
  sync .
fi
[ "$(blkid -p -o value -s UUID image)" = "$3" ] || { echo 'the image file holds the file system of another member'; exit 72; }
wanted="$(stat -c '%i%Hd:%Ld' image)"
if [ -z "$(seen)" ]; then losetup /disk/device image || true; fi
[ "$(seen)" = "$wanted" ] || { echo "loop device $1 is in use for another file"; exit 72; }
"#;

/// Frees the loop device if it is this very image's; a device that somebody else has is not touched.
pub(super) const DETACH: &str = r#"
cd /disk
[ -b device ] && [ -e image ] || exit 0
seen="$(losetup --noheadings --raw -O BACK-INO,BACK-MAJ:MIN /disk/device 2>/dev/null | tr -d ' ' || true)"
[ "$seen" = "$(stat -c '%i%Hd:%Ld' image)" ] || exit 0
losetup -d /disk/device
"#;

/// Grows file, device and file system, each only when it is smaller. The mount table of the helper names the device
/// by a path of the host, so it is told by hand. `$1` bytes.
pub(super) const GROW: &str = r#"
[ "$(stat -c %s /disk/image)" -ge "$1" ] || truncate -s "$1" /disk/image
losetup -c /disk/device
echo '/disk/device /var/lib/pgflex xfs rw 0 0' > /tmp/mtab
xfs_growfs -t /tmp/mtab /var/lib/pgflex
"#;

/// `$1` bytes to set aside.
pub(super) const RELEASE: &str = r#"
cd /var/lib/pgflex
set -- "$1" $(stat -f -c '%S %a' .)
[ "$(($2 * $3))" -ge "$1" ] || rm -f reserve
"#;

/// `$1` bytes to set aside; as many again must stay free.
pub(super) const RESTORE: &str = r#"
cd /var/lib/pgflex
set -- "$1" $(stat -f -c '%S %a' .)
[ -e reserve ] || [ "$(($2 * $3))" -lt "$(($1 * 2))" ] || fallocate -l "$1" reserve
"#;
