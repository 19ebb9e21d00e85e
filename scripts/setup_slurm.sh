#!/usr/bin/env bash
# A real Slurm of one machine, on loopback, for tests/slurm: Debian or Ubuntu, as root, with or without systemd, also in a
# container. `scripts/setup_slurm.sh` starts it, or does nothing where it runs; `scripts/setup_slurm.sh stop` ends it.
# It keeps accounts (slurmdbd, on a MariaDB of its own): submitit learns from `sacct` that a job was killed, and without
# accounts waits for it for ever. Configuration in /etc/slurm, state in /var/lib/harmonic-slurm, logs in its log/.
set -euo pipefail

state=/var/lib/harmonic-slurm
log=$state/log
run=/run/harmonic-slurm
port=33068
mark="# Written by HARMONIC's scripts/setup_slurm.sh."
export SLURM_CONF=/etc/slurm/slurm.conf

fail() {
    echo "setup_slurm.sh: $1" >&2
    exit 1
}

wait_for() { # what, then a command that succeeds once it is there
    for _ in $(seq 60); do
        "${@:2}" >/dev/null 2>&1 && return
        sleep 0.5
    done
    fail "$1 did not come up within 30 seconds: see $log."
}

running() { [ -s "$run/$1.pid" ] && kill -0 "$(cat "$run/$1.pid" 2>/dev/null)" 2>/dev/null; }

idle() { running slurmctld && sinfo --noheader --format=%t 2>/dev/null | grep -qE '^(idle|mix|alloc)$'; }

stop() {
    for daemon in slurmd slurmctld slurmdbd mariadbd munged; do
        if running "$daemon"; then
            kill "$(cat "$run/$daemon.pid")"
            for _ in $(seq 60); do running "$daemon" || break; sleep 0.5; done
        fi
        rm -f "$run/$daemon.pid"
    done
    rm -f "$SLURM_CONF" /etc/slurm/slurmdbd.conf # or systemd would start what is left of it with the machine
}

[ "$(id -u)" = 0 ] || fail "it must run as root, but runs as $(id -un): use sudo."
case "${1:-start}" in
    start) ;;
    stop) stop; exit ;;
    *) fail "it takes nothing or 'stop', but was given '$1'." ;;
esac
if [ -e "$SLURM_CONF" ] && ! grep -qF "$mark" "$SLURM_CONF"; then
    fail "$SLURM_CONF is another Slurm's, which is left alone: run tests/slurm against that one."
fi
idle && exit
stop # what is left of one that broke

packages=(munge slurm-wlm slurmdbd mariadb-server-core mariadb-client-core)
if ! type munged slurmctld slurmd slurmdbd sacct mariadbd my_print_defaults >/dev/null 2>&1; then
    export DEBIAN_FRONTEND=noninteractive
    { apt-get -q update && apt-get -qy install --no-install-recommends "${packages[@]}"; } >/dev/null ||
        fail "apt-get could not install ${packages[*]}."
fi
node=$(slurmd -C | grep -m 1 '^NodeName=') # name, cores, memory as slurmd will find them
name=$(echo "$node" | sed -E 's/^NodeName=(\S+).*/\1/')
install -d -m 755 "$state" "$run" /etc/slurm
install -d -m 755 -o slurm -g slurm "$log" "$state/slurmctld" "$state/slurmd"
chown slurm:slurm "$run"

if ! munge -n >/dev/null 2>&1; then
    [ -s /etc/munge/munge.key ] || (umask 077 && head -c 128 /dev/urandom >/etc/munge/munge.key)
    chown munge:munge /etc/munge/munge.key
    install -d -m 755 -o munge -g munge /run/munge
    runuser -u munge -- munged
    ln -sf /run/munge/munged.pid "$run/munged.pid"
    wait_for munged munge -n
fi

if [ ! -d "$state/accounts/mysql" ]; then
    install -d -m 700 -o slurm -g slurm "$state/accounts"
    mariadb-install-db --no-defaults --user=slurm --datadir="$state/accounts" >"$log/mariadb-install-db.log" 2>&1 ||
        fail "the accounts' database could not be made: see $log/mariadb-install-db.log."
fi
password=$(head -c 16 /dev/urandom | od -An -tx1 | tr -d ' \n')
(umask 077 && cat >"$state/accounts.sql") <<SQL
CREATE DATABASE IF NOT EXISTS slurm_acct_db;
CREATE OR REPLACE USER slurm@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL ON slurm_acct_db.* TO slurm@'127.0.0.1';
SQL
chown slurm "$state/accounts.sql"
mariadbd --no-defaults --user=slurm --datadir="$state/accounts" --bind-address=127.0.0.1 --port=$port --skip-name-resolve \
    --socket="$run/mariadbd.sock" --pid-file="$run/mariadbd.pid" --init-file="$state/accounts.sql" \
    >"$log/mariadbd.log" 2>&1 </dev/null &
wait_for MariaDB bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"

(umask 077 && cat >/etc/slurm/slurmdbd.conf) <<CONF
$mark
DbdHost=localhost
SlurmUser=slurm
PidFile=$run/slurmdbd.pid
LogFile=$log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=$port
StorageUser=slurm
StoragePass=$password
CONF
chown slurm /etc/slurm/slurmdbd.conf
cat >"$SLURM_CONF" <<CONF
$mark
ClusterName=harmonic
SlurmctldHost=$name(127.0.0.1)
SlurmUser=slurm
SlurmctldPidFile=$run/slurmctld.pid
SlurmctldLogFile=$log/slurmctld.log
StateSaveLocation=$state/slurmctld
SlurmdPidFile=$run/slurmd.pid
SlurmdLogFile=$log/slurmd.log
SlurmdSpoolDir=$state/slurmd
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
ReturnToService=2
KillWait=5
MpiDefault=none
$node NodeAddr=127.0.0.1
PartitionName=main Nodes=$name Default=YES MaxTime=INFINITE
CONF
slurmdbd
wait_for slurmdbd sacctmgr --noheader list cluster
sacctmgr --noheader list cluster format=Cluster%20 | grep -qw harmonic || sacctmgr -iQ add cluster harmonic >/dev/null
slurmctld
slurmd
wait_for Slurm idle
