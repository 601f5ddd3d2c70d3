#!/bin/sh
# As the official image does: own the data, stop being root, make the system's tables and the database the first time.
set -e
[ "$1" = mariadbd ] || exec "$@"
data=/var/lib/mysql
if [ "$(id -u)" = 0 ]; then
	mkdir -p "$data" /run/mysqld
	find "$data" \! -user mysql -exec chown mysql:mysql '{}' +
	chown mysql:mysql /run/mysqld
	exec gosu mysql "$0" "$@"
fi
[ ! -d "$data/mysql" ] || exec "$@"

if [ -z "$MARIADB_ROOT_PASSWORD" ]; then
	echo "error: database is uninitialized and MARIADB_ROOT_PASSWORD is not set" >&2
	exit 1
fi
mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal --skip-test-db --cross-bootstrap >/dev/null

# Nobody else may get in before the password is set.
"$@" --skip-networking &
until mariadb -uroot -e 'select 1' >/dev/null 2>&1; do
	kill -0 $! || exit 1
	sleep 0.1
done
mariadb -uroot <<SQL
ALTER USER 'root'@'localhost' IDENTIFIED BY '$MARIADB_ROOT_PASSWORD';
DELETE FROM mysql.global_priv WHERE user = '' OR user = 'root' AND host <> 'localhost';
${MARIADB_DATABASE:+CREATE DATABASE IF NOT EXISTS \`$MARIADB_DATABASE\`;}
FLUSH PRIVILEGES;
SQL
MYSQL_PWD="$MARIADB_ROOT_PASSWORD" mariadb-admin -uroot shutdown
wait $!
exec "$@"
