umask 077
cd /var/lib/pgflex
clock() { date +%s%6N; }
ask() { psql -XqAt -v ON_ERROR_STOP=1 "$@"; }
: > log
trap 'tail -n 60 log >&2' EXIT
echo stage=restore
echo "archive=$(pgbackrest --config=/var/lib/pgflex/config/backup.conf "$1" --log-level-console=off --output=json info)"
rm -rf data
mkdir data
begun=$(clock)
pgbackrest --config=/var/lib/pgflex/config/backup.conf "$1" "$2" --pg1-path=/var/lib/pgflex/data --type=none restore >&2
echo "restore_micros=$(($(clock) - begun))"
echo "bytes=$(du -sb data | cut -f1)"
echo stage=replay
rm -f data/standby.signal
: > data/recovery.signal
: > data/postgresql.auto.conf
begun=$(clock)
postgres -D /var/lib/pgflex/data -c config_file=/var/lib/pgflex/config/postgresql.conf >>log 2>&1 &
server=$!
export PGHOST=/run/postgresql PGUSER=pgflex_control PGDATABASE=postgres
export PGOPTIONS='-c search_path=pg_catalog -c session_replication_role=replica'
until [ "$(ask -c 'SELECT pg_is_in_recovery()' 2>/dev/null)" = f ]; do
  kill -0 "$server"
  sleep 0.2
done
echo "replay_micros=$(($(clock) - begun))"
echo "last_commit=$(ask -c 'SELECT coalesce((extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint, 0)')"
echo "asked=$(grep -oE 'unable to find [0-9A-F]{24} in the archive' log | tail -n 1 | cut -d ' ' -f 4)"
echo stage=count
until=$(($(date +%s) + 900))
databases=0 counted=0 uncounted=0 rows=0
tables="FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
for database in $(ask -c 'SELECT oid FROM pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY oid'); do
  name=$(ask -c "SELECT 'dbname=''' || replace(replace(datname, '\\', '\\\\'), '''', '\\''') || '''' FROM pg_database WHERE oid = $database")
  databases=$((databases + 1))
  for table in $(ask -d "$name" -c "SELECT c.oid $tables ORDER BY c.relpages, c.oid"); do
    left=$((until - $(date +%s)))
    count=
    if [ "$left" -gt 0 ]; then
      count=$(printf '%s\n' "SET statement_timeout = '${left}s';" \
        "SELECT format('SELECT count(*) FROM ONLY %I.%I', n.nspname, c.relname) $tables AND c.oid = $table \\gexec" | ask -d "$name" -f -) || count=
    fi
    case "$count" in
      '' | *[!0-9]*) uncounted=$((uncounted + 1)) ;;
      *) counted=$((counted + 1)); rows=$((rows + count)) ;;
    esac
  done
done
echo "databases=$databases"
echo "tables=$counted"
echo "rows=$rows"
echo "uncounted=$uncounted"
echo stage=check
if pg_amcheck --all --install-missing --no-password --verbose >check 2>&1; then damaged=0; else damaged=$?; fi
echo "checked=$(grep -cE '^pg_amcheck: checking (heap table|btree index) ' check || true)"
if [ "$damaged" -ne 0 ]; then
  grep -vE '^pg_amcheck: (checking|including|in database|skipping)' check | head -n 20 >>log
  exit 3
fi
kill -INT "$server"
wait "$server"
echo stage=done
