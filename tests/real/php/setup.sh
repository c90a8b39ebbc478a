#!/bin/sh
# Fetch Composer for the test of this folder: the files of Debian's packages, unpacked below build and not installed, since
# they would bring Debian's PHP. Ends with 0 where that cannot be done, too: the test then says why it is skipped.
set -eu

folder="$(cd "$(dirname "$0")/../../.." && pwd)/build/tests/composer"
reason="$folder/not-fetched.txt"
mkdir -p "$folder"
rm -f "$reason"

skip() {
  echo "tests/real/php: $1" | tee "$reason"
  exit 0
}

[ ! -d "$folder/usr" ] || exit 0
for command in apt-get apt-cache dpkg; do
  command -v "$command" >/dev/null 2>&1 || skip "there is no $command to fetch Composer with"
done

# Composer and what it needs that is written in PHP: not PHP itself, nor its extensions.
packages() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances composer |
    grep -E '^(composer|jsonlint|php-(composer|json|psr|react|seld|symfony)-.*)$' | sort -u
}

echo "tests/real/php: fetching Composer with apt-get"
log="$folder/apt-get.log"
: >"$log"
if [ "$(id -u)" = 0 ]; then
  apt-get update >>"$log" 2>&1 || skip "apt-get could not update its lists (see $log)"
fi
names="$(packages 2>>"$log")"
[ -n "$names" ] || skip "apt-get knows no package composer (only root can update its lists)"
unpacked="$folder/unfinished"
rm -rf "$unpacked"
mkdir -p "$unpacked/packages"
# shellcheck disable=SC2086 - one word for each
(cd "$unpacked/packages" && apt-get download $names) >>"$log" 2>&1 || skip "apt-get could not fetch Composer (see $log)"
for package in "$unpacked"/packages/*.deb; do
  dpkg -x "$package" "$unpacked"
done
mv "$unpacked/usr" "$folder/usr"
rm -rf "$unpacked"
