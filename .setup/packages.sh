# Debian packages, for the scripts beside this file. Sourced, not run.
#
#   provide COMMAND PACKAGE...   COMMAND exists afterwards, or 1 is returned
#
# As root the packages are installed; a service that they bring is neither started nor enabled, because ocsd starts what
# it needs by itself. Without root they are unpacked into .tools/, and .tools/bin/COMMAND runs them from there.

tools="$PWD/.tools"
export DEBIAN_FRONTEND=noninteractive PATH="$tools/bin:$PATH:/usr/sbin:/sbin"

have() { command -v "$1" >/dev/null 2>&1; }

provide() {
  local command=$1
  shift
  have "$command" && return 0
  have apt-get && have dpkg || return 1
  echo "setup: $command is missing, taking it from Debian's packages: $*"
  if [ "$(id -u)" = 0 ]; then install_packages "$@"; else unpack_packages "$@"; fi >"$(log_of "$command")" 2>&1
  if ! have "$command"; then
    echo "setup: that did not work; the last lines of $(log_of "$command"):" >&2
    tail -5 "$(log_of "$command")" >&2
    return 1
  fi
}

log_of() {
  mkdir -p "$tools/log"
  echo "$tools/log/$1.log"
}

install_packages() {
  local policy=/usr/sbin/policy-rc.d made='' package service fresh=''
  for package in "$@"; do dpkg -s "$package" >/dev/null 2>&1 || fresh="$fresh $package"; done
  if [ ! -e "$policy" ]; then
    # 101: "action forbidden by policy", the documented way to install a service without starting it.
    printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && made=$policy
  fi
  apt-get update -q || true
  apt-get install -q -y --no-install-recommends "$@" </dev/null
  local status=$?
  [ -z "$made" ] || rm -f "$made"
  if have systemctl; then
    for package in $fresh; do
      for service in $(dpkg -L "$package" 2>/dev/null | sed -n 's|^.*/systemd/system/\([^/@]*\.service\)$|\1|p'); do
        systemctl disable "$service" || true
      done
    done
  fi
  return $status
}

# apt's own state is often not there (containers) or not ours to change: lists and downloads live in .tools/apt.
private_apt() {
  local command=$1
  shift
  mkdir -p "$tools/apt/lists/partial" "$tools/apt/cache/archives/partial"
  "$command" -q -o Dir::State::Lists="$tools/apt/lists" -o Dir::Cache="$tools/apt/cache" -o Debug::NoLocking=1 "$@" </dev/null
}

unpack_packages() {
  local missing archive
  find "$tools/apt/lists" -maxdepth 1 -name '*_Packages*' -mmin -720 2>/dev/null | grep -q . || private_apt apt-get update
  # What an installation would bring, dependencies that this machine has already left out.
  missing=$(private_apt apt-get --simulate --no-install-recommends --reinstall install "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p')
  rm -rf "$tools/apt/new" && mkdir -p "$tools/apt/new"
  (cd "$tools/apt/new" && private_apt apt-get download ${missing:-"$@"}) || return 1
  for archive in "$tools"/apt/new/*.deb; do dpkg -x "$archive" "$tools/root" || return 1; done
  rm -rf "$tools/apt/new"
  write_launchers
}

# Libraries and data files are looked for in absolute places unless the environment says otherwise; Erlang's home is
# written into its start script.
write_launchers() {
  local binary name libraries erlang="$tools/root/usr/lib/erlang"
  [ ! -f "$erlang/bin/erl" ] || sed -i "s|ROOTDIR=/usr/lib/erlang\$|ROOTDIR='$erlang'|" "$erlang/bin/erl" "$erlang"/erts-*/bin/erl
  libraries=$(find "$tools/root" -name '*.so*' -printf '%h\n' | sort -u | grep -v /lib/erlang/ | paste -sd:)
  mkdir -p "$tools/bin"
  for binary in "$tools"/root/usr/bin/* "$tools"/root/usr/sbin/* "$tools"/root/bin/*; do
    [ -f "$binary" ] && [ -x "$binary" ] || continue
    name=${binary##*/}
    {
      echo '#!/bin/sh'
      echo "LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
      echo 'export LD_LIBRARY_PATH'
      [ ! -d "$tools/root/usr/share/wireshark" ] || echo "export WIRESHARK_DATA_DIR='$tools/root/usr/share/wireshark'"
      echo "exec '$binary' \"\$@\""
    } >"$tools/bin/$name"
    chmod 755 "$tools/bin/$name"
  done
}
