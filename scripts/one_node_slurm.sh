#!/usr/bin/env bash
# A Slurm of one node, this machine, for tests: starts munge, slurmctld and slurmd in a folder of their own and runs a command with
# them. Ends with 77 and a word if they cannot start here.
#
#   scripts/one_node_slurm.sh FOLDER COMMAND...
#
# Needs the packages munge, slurmctld, slurmd and slurm-client, and root, as which all of them run.
source "$(dirname "$0")/setup.sh"
[ $# -ge 2 ] || die "say which folder and which command"
folder=$(mkdir -p "$1" && realpath "$1")
shift
cannot() {
    say "Slurm cannot start here: $*" >&2
    exit 77
}
[ "$(id -u)" = 0 ] || cannot "it needs root"
for program in munged slurmctld slurmd sbatch; do
    PATH=$PATH:/usr/sbin command -v "$program" >/dev/null || cannot "there is no $program (packages munge, slurmctld, slurmd, slurm-client)"
done
PATH=$PATH:/usr/sbin
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}
host=$(hostname -s)
mkdir -p "$folder"/{state,spool,munge}
chmod 755 "$folder/munge"
head -c 1024 /dev/urandom >"$folder/munge/key"
chmod 400 "$folder/munge/key"
cat >"$folder/slurm.conf" <<EOF
ClusterName=one
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MinJobAge=3600
MpiDefault=none
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
EOF
export SLURM_CONF=$folder/slurm.conf
stop() {
    local status=$?
    if [ $status != 0 ] && [ $status != 77 ]; then
        { squeue --format '%i %j %T %r' && sinfo --format '%n %T %E' && tail -n 5 "$folder"/slurm{ctld,d}.log; } >&2 || true
    fi
    for program in slurmd slurmctld; do
        [ ! -e "$folder/$program.pid" ] || kill "$(cat "$folder/$program.pid")" 2>/dev/null || true
    done
    [ ! -e "$folder/munge/pid" ] || kill "$(cat "$folder/munge/pid")" 2>/dev/null || true
}
trap stop EXIT
munged --force --socket="$folder/munge/socket" --key-file="$folder/munge/key" --log-file="$folder/munge/log" \
    --pid-file="$folder/munge/pid" --seed-file="$folder/munge/seed" >"$folder/munge/printed" 2>&1 || cannot "$(tail -n 1 "$folder/munge/printed")"
slurmctld >"$folder/slurmctld.printed" 2>&1 || cannot "$(tail -n 1 "$folder/slurmctld.printed")"
slurmd >"$folder/slurmd.printed" 2>&1 || cannot "$(tail -n 1 "$folder/slurmd.printed")"
for i in $(seq 100); do
    [ "$(sinfo --noheader --format %T 2>/dev/null)" != idle ] || break
    [ "$i" != 100 ] || cannot "the node is $(sinfo --noheader --format %T 2>&1): see $folder"
    sleep 0.1
done
# A node that is idle may still start no job, where slurmstepd may not do what it does to start one.
timeout 60 sbatch --wait --output="$folder/first.out" --wrap true >"$folder/first.printed" 2>&1 ||
    cannot "a first job did not run: $(squeue --noheader --format '%T %r' 2>&1 | head -n 1); $(tail -n 1 "$folder/slurmd.log" 2>&1)"
"$@"
