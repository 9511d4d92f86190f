# The first process of a machine: a root of its own over the host's, then systemd as pid 1.
# Arguments: an empty directory, the checkout, the environment's packages, the base interpreter.
# Run in new pid, mount, cgroup, uts, ipc and network namespaces; nothing here reaches the host.
set -e
top=$1 checkout=$2 packages=$3 python=$4

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" overlay "$top/root"
cd "$top/root"

mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
for name in null zero full random urandom tty; do
    : > "dev/$name"
    mount --bind "/dev/$name" "dev/$name"
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd

# Of the host's services only the journal, without the kernel's audit records, which are the host's.
rm -rf lib/systemd/system/*.wants etc/systemd/system/* etc/tmpfiles.d/*
mkdir -p etc/systemd/system/sysinit.target.wants
ln -s /lib/systemd/system/systemd-journald.service etc/systemd/system/sysinit.target.wants/
ln -s /dev/null etc/systemd/system/systemd-journald-audit.socket
od -An -N16 -tx1 /dev/urandom | tr -d ' \n' > etc/machine-id

# toril, installed where a service can see it, and not as a link to the checkout.
site=opt/toril/lib/$(basename "$(dirname "$packages")")/site-packages
mkdir -p opt/toril/bin "$site"
ln -s "$python" opt/toril/bin/python
printf 'home = %s\n' "$(dirname "$python")" > opt/toril/pyvenv.cfg
mount --bind ".$packages" "$site"
rm -rf "$site/toril"
cp -r "$checkout/toril" "$site/"
cp -r "$checkout/systemd" "$site/toril/systemd_units"

mkdir old
pivot_root . old
umount -l /old
mount --make-rshared /
exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --unit=basic.target --log-target=journal --show-status=0
