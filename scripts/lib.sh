# shellcheck shell=bash
# Shared by the scripts beside it: messages, the state directory, apt. Sourced, not run.

me=${0##*/}
say()  { printf '%s: %s\n' "$me" "$*" >&2; }
die()  { say "$*"; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }
is_root() { [ "$(id -u)" -eq 0 ]; }

# A minimal shell (cron, CI, su) often lacks the directories that hold dockerd and its helpers.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

# Where what these scripts started is remembered, with its logs: outside the clone, so that a clone can be deleted.
state_dir() {
    local dir=${PGFLEX_STATE_DIR:-}
    if [ -z "$dir" ]; then
        if is_root; then dir=/var/lib/pgflex-dev
        else dir=${XDG_STATE_HOME:-${HOME:?}/.local/state}/pgflex-dev; fi
    fi
    mkdir -p "$dir" 2>/dev/null || die "cannot create $dir: is the disk full or read-only? Set PGFLEX_STATE_DIR to a directory that can be written."
    printf '%s\n' "$dir"
}

# Says in plain words what the last lines of a log show, and what to do.
explain() {
    local log=$1
    if grep -qi 'no space left on device\|not enough free disk space\|not have enough free space' "$log"; then
        say "a disk is full ('df -h' shows which): make room and run this again"
    elif grep -qi 'temporary failure resolving\|could not resolve\|could not connect\|unable to connect\|network is unreachable\|connection timed out\|failed to fetch\|EAI_AGAIN\|ECONNREFUSED\|ENOTFOUND' "$log"; then
        say "the package server cannot be reached: check the network, the proxy settings and the package sources, then run this again"
    elif grep -qi 'self-signed certificate\|SELF_SIGNED_CERT\|certificate verif\|unable to get local issuer' "$log"; then
        say "the certificate of the package server is not trusted here: a proxy's own authority has to be made known (for npm by NODE_EXTRA_CA_CERTS)"
    elif grep -qi 'unable to locate package\|has no installation candidate' "$log"; then
        say "the package sources of this machine do not have it: 'apt-get update' and the sources in /etc/apt tell why"
    elif grep -qi 'could not get lock\|unable to acquire the dpkg' "$log"; then
        say "another package manager is running: wait for it to end and run this again"
    elif grep -qi 'dpkg --configure -a\|fix-broken' "$log"; then
        say "an earlier installation broke off: run 'dpkg --configure -a' and 'apt-get --fix-broken install', then this again"
    fi
}

# apt_install PACKAGE...: installs what is named, quietly; on failure shows the end of the log and returns 1.
apt_install() {
    if ! have apt-get; then
        say "this is not a Debian machine: install by hand: $*"; return 1
    fi
    if ! is_root; then
        say "not root, nothing installed; as root: apt-get install --no-install-recommends $*"; return 1
    fi
    local log; log=$(state_dir)/apt.log || return 1
    say "installing from Debian's packages: $*"
    # A source of somebody else's that fails must not stop us: what counts is whether the install works.
    local opt='-o DPkg::Lock::Timeout=300 -o Acquire::Retries=3'
    # shellcheck disable=SC2086
    { DEBIAN_FRONTEND=noninteractive apt-get $opt --quiet update || true
      DEBIAN_FRONTEND=noninteractive apt-get $opt --quiet --yes --no-install-recommends install "$@"
    } </dev/null >"$log" 2>&1 && return 0
    tail -n 8 "$log" >&2
    explain "$log"
    say "could not install: $* (whole log: $log)"
    return 1
}

# Does a Docker Engine answer at the address that the portal would use?
engine_answers() {
    local url=${DOCKER_HOST:-unix:///var/run/docker.sock}
    case $url in
        unix://*) [ -S "${url#unix://}" ] || return 1 ;;
    esac
    if have docker; then
        DOCKER_HOST=$url timeout 15 docker version --format '{{.Server.Version}}' >/dev/null 2>&1
    elif have curl && [ "${url#unix://}" != "$url" ]; then
        timeout 15 curl --silent --fail --output /dev/null --unix-socket "${url#unix://}" http://engine/_ping
    else
        return 1
    fi
}

# Is process $1 alive and really the program $2? A number left in a file may belong to another process by now,
# and a dead one that nobody has collected yet still has a name but no command line.
runs() {
    [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] && [ -n "$(tr -d '\0' 2>/dev/null <"/proc/$1/cmdline")" ]
}
