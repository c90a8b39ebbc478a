# Debian's packages for tests, for the setup.sh of their folders, which source this file.

# apt_install LOG PACKAGE...: install packages; where that cannot be done, print why and return 1.
apt_install() {
  log="$1"
  shift
  command -v apt-get >/dev/null 2>&1 || { echo "there is no apt-get to install $* with"; return 1; }
  [ "$(id -u)" = 0 ] || { echo "only root can install $* with apt-get"; return 1; }
  mkdir -p "$(dirname "$log")"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 ||
    { echo "apt-get could not install $* (see $log)"; return 1; }
}

# install_missing FOLDER PACKAGE...: install those packages whose command, of the same name, is missing. Returns 0 where that
# cannot be done, too, and says why: the tests of the folder then say why they are skipped.
install_missing() {
  folder="$1"
  shift
  for package in "$@"; do
    shift
    command -v "$package" >/dev/null 2>&1 || set -- "$@" "$package"
  done
  [ $# != 0 ] || return 0
  echo "$folder: installing $* with apt-get"
  log="$(cd "$(dirname "$0")/../.." && pwd)/build/$1-apt-get.log"
  reason="$(apt_install "$log" "$@")" || echo "$folder: $reason"
}
