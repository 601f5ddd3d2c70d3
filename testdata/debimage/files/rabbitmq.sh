#!/bin/sh
# As the official image does: own the data, then stop being root.
set -e
if [ "$1" = rabbitmq-server ] && [ "$(id -u)" = 0 ]; then
	find /var/lib/rabbitmq \! -user rabbitmq -exec chown rabbitmq:rabbitmq '{}' +
	exec gosu rabbitmq "$0" "$@"
fi
exec "$@"
