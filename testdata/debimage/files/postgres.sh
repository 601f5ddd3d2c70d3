#!/bin/sh
# As the official image does: own the data, stop being root, make the cluster the first time.
set -e
if [ "${1#-}" != "$1" ]; then
	set -- postgres "$@"
fi
[ "$1" = postgres ] || exec "$@"

if [ "$(id -u)" = 0 ]; then
	mkdir -p "$PGDATA" /run/postgresql
	chmod 700 "$PGDATA"
	find "$PGDATA" \! -user postgres -exec chown postgres:postgres '{}' +
	chown postgres:postgres /run/postgresql
	exec gosu postgres "$0" "$@"
fi
[ ! -s "$PGDATA/PG_VERSION" ] || exec "$@"

if [ -n "$POSTGRES_PASSWORD_FILE" ]; then
	POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
fi
if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
	echo "error: database is uninitialized and POSTGRES_PASSWORD is not set" >&2
	exit 1
fi
POSTGRES_USER=${POSTGRES_USER:-postgres}
POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}

pwfile=$(mktemp)
printf '%s\n' "$POSTGRES_PASSWORD" >"$pwfile"
initdb --username="$POSTGRES_USER" ${POSTGRES_PASSWORD:+--pwfile="$pwfile"} $POSTGRES_INITDB_ARGS
rm -f "$pwfile"
printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"

# Nobody else may get in before the initial scripts have run.
PGUSER=$POSTGRES_USER pg_ctl -w start -o "-c listen_addresses=''"
sql() { psql -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --no-psqlrc "$@"; }
if [ "$POSTGRES_DB" != postgres ]; then
	printf 'CREATE DATABASE :"db";\n' | sql --dbname postgres --set db="$POSTGRES_DB"
fi
for f in /docker-entrypoint-initdb.d/*; do
	case "$f" in
	*.sh) if [ -x "$f" ]; then "$f"; else . "$f"; fi ;;
	*.sql) sql --dbname "$POSTGRES_DB" -f "$f" ;;
	*.sql.gz) gunzip -c "$f" | sql --dbname "$POSTGRES_DB" ;;
	esac
done
PGUSER=$POSTGRES_USER pg_ctl -m fast -w stop
unset POSTGRES_PASSWORD
echo "PostgreSQL init process complete; ready for start up."
exec "$@"
