#!/bin/sh
# Runs pjdfstest on a native folder and in a mount, as root, and prints what passes natively and fails in the mount.
#
#   cargo install pjdfstest --version 0.2.2 --root /tmp/pjdfstest
#   tests/mount/pjdfstest.sh REMOTE-URL CAIRN-FS PJDFSTEST [FOLDER]
#
# REMOTE-URL is any small repository over http(s). FOLDER is on the file system to compare with; all is made below it.
set -eu
url=$1 program=$2 judge=$3
work=$(mktemp -d "${4:-/var/tmp}/pjdfstest-XXXXXX")
chmod 755 "$work"
mkdir "$work/native"
export CAIRN_FS_CACHE="$work/cache"
cat > "$work/settings.toml" <<'SETTINGS'
[features]
posix_fallocate = {}
rename_ctime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.05
allow_remount = false
expected_failures = []
[dummy_auth]
entries = [["nobody", "nogroup"], ["daemon", "daemon"]]
SETTINGS
"$program" mount "$url" "$work/mount" --allow-other
trap '"$program" unmount "$work/mount"; rm -rf "$work"' EXIT
mkdir "$work/mount/area"
for side in native mount/area; do
  name=${side%/area}
  "$judge" -c "$work/settings.toml" -p "$work/$side" > "$work/$name.all" 2>&1 || true
  # One line for each case: its name and what came of it.
  grep -E '(ok|success|FAILED|failed|skipped|SKIPPED)' "$work/$name.all" | sort > "$work/$name.lines"
  grep -E '(ok|success)$' "$work/$name.lines" | sed 's/[[:space:]].*//' | sort -u > "$work/$name.passed"
  echo "$name: $(wc -l < "$work/$name.passed") passed"
done
echo "pass natively and not in the mount:"
comm -23 "$work/native.passed" "$work/mount.passed"
tail -n 4 "$work/native.all" "$work/mount.all"
